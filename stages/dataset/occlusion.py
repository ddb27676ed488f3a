"""Test images with the lungs hidden, and with all but the lungs hidden.

A model that does as well without the lungs goes by something else than the disease (Maguolo and
Nanni 2021, "A critic evaluation of methods for COVID-19 automatic detection from X-ray images").
The outline of the lungs can still be seen; what they hold cannot. A flat patch is also nothing
that the model was trained on, so part of any loss is due to that.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

# Which pixels are hidden, of a mask that is True on lung.
OCCLUSIONS: Mapping[str, Callable[[BoolArray], BoolArray]] = {
    "lungs_hidden": lambda is_lung: is_lung,
    "lungs_only": lambda is_lung: ~is_lung,
}


def compute_mean_grey(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> int:
    """Mean grey level, 0 to 255, of some rows of (N, S, S); give it those trained on.

    Hidden pixels get this grey. Black is what air looks like on CT: a black lung is a healthy one.
    """
    return round(float(np.mean([images[row].mean() for row in rows])))


def select_with_lungs(lung_masks: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some rows of (N, S, S) in which any lung was found."""
    return rows[[bool(lung_masks[row].any()) for row in rows]]


def occlude(
    images: NDArray[np.uint8], lung_masks: NDArray[np.uint8], occlusion: str, *, grey: int
) -> NDArray[np.uint8]:
    """Fill what an occlusion hides with one grey level.

    Args:
        images: (n, S, S).
        lung_masks: (n, S, S), 0 or 1.
        occlusion: a key of OCCLUSIONS.
        grey: level of the hidden pixels, 0 to 255.

    Returns:
        (n, S, S) copies.
    """
    return np.where(OCCLUSIONS[occlusion](lung_masks > 0), np.uint8(grey), images)
