"""Images with the lungs hidden, and with all but the lungs hidden.

A model that does as well without the lungs goes by something else than the disease (Maguolo and
Nanni 2021, "A critic evaluation of methods for COVID-19 automatic detection from X-ray images").
Lungs are hidden where any image has them, in all images alike: an outline of each image's own lungs
would show, and lesions change it. A flat patch is also nothing that the model was trained on, so
part of any loss is due to that.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

# Share of the images that may have lung at a pixel that is not hidden: a few lungs are found wrong.
RARE_LUNG = 0.01
# Of the side, hidden around these pixels: the soft edge of a lung is darker where it is healthy.
# Without it probes of X-ray phantoms without a marker, cropped to their lungs, told the class.
EDGE_SHARE = 0.02

# Which pixels are hidden, of the lungs of some images (n, S, S) and of where any image has them.
OCCLUSIONS: Mapping[str, Callable[[BoolArray, BoolArray], BoolArray]] = {
    "lungs_hidden": lambda _, anywhere: anywhere,
    "lungs_only": lambda is_lung, _: ~is_lung,
}


def find_lungs_anywhere(lung_masks: Iterable[NDArray[np.uint8]]) -> BoolArray:
    """(S, S) where more than RARE_LUNG of the images (N, S, S) have lung, and a little around."""
    counts: NDArray[np.int64] = np.zeros((), np.int64)
    n = 0
    for lung_mask in lung_masks:  # one by one: they may be a file larger than the memory
        counts, n = counts + (np.asarray(lung_mask) > 0), n + 1
    common = np.asarray(counts > RARE_LUNG * n)
    edge = round(EDGE_SHARE * len(common))
    wide = np.pad(common, edge)
    for axis in (0, 1):  # a square is widened by rows and by columns; scipy is slow to import
        wide = np.asarray(sliding_window_view(wide, 1 + 2 * edge, axis=axis).any(axis=-1))
    return wide


def compute_mean_grey(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> int:
    """Mean grey level, 0 to 255, of some rows of (N, S, S); give it those trained on.

    Hidden pixels get this grey. Black is what air looks like on CT: a black lung is a healthy one.
    """
    return round(float(np.mean([images[row].mean() for row in rows])))


def select_with_lungs(lung_masks: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some rows of (N, S, S) in which any lung was found."""
    return rows[[bool(lung_masks[row].any()) for row in rows]]


def occlude(
    images: NDArray[np.uint8],
    lung_masks: NDArray[np.uint8],
    occlusion: str,
    *,
    anywhere: BoolArray,
    grey: int,
) -> NDArray[np.uint8]:
    """Fill what an occlusion hides with one grey level.

    Args:
        images: (n, S, S).
        lung_masks: (n, S, S), 0 or 1.
        occlusion: a key of OCCLUSIONS.
        anywhere: (S, S), `find_lungs_anywhere` of all images that are to be alike.
        grey: level of the hidden pixels, 0 to 255.

    Returns:
        (n, S, S) copies.
    """
    return np.where(OCCLUSIONS[occlusion](lung_masks > 0, anywhere), np.uint8(grey), images)
