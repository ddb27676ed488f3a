"""What is seen outside the lungs, as a few cells that keep what is small: letters, wires, dates.

A mean over a cell thins a side marker down to nothing, and its brightest pixel may be of a bone
that is wider than the cell. A top-hat (Serra 1982) keeps only what is narrower than its window.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import grey_closing, grey_opening

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

CELLS = 16  # along each side of a picture; a side marker of a tenth of it covers one or two
BORDER_CELLS = 2  # of the frame, on each side: side markers lie within an eighth of the side
MARK_SHARE = 0.07  # of the side of the view: strokes of a marker are narrower than that, ribs not
MARKS = 8  # so many of the brightest and of the darkest: letters lie in several cells


def describe_cells(
    images: NDArray[np.uint8], boxes: pd.DataFrame, hidden: BoolArray
) -> NDArray[np.float64]:
    """(N, 3, CELLS, CELLS): mean level, brightest and darkest small thing of what is not hidden.

    Cells are of the picture without its padding: how that lies is for the geometry probe to tell.
    A cell that is all hidden has zeros. A small thing stands out by so many levels from what is
    around it: the white and the black top-hat with a square of MARK_SHARE.

    Args:
        images: (N, S, S).
        boxes: N rows with `view_x0` to `view_y1`, where the picture lies in the view.
        hidden: (S, S), the same for all images.
    """
    # One grey in all images: hidden pixels are next to some that are seen.
    seen_levels = [image[~hidden].mean() for image in images] if not hidden.all() else [0.0]
    grey = np.uint8(round(float(np.mean(seen_levels))))
    window = 1 + 2 * round(MARK_SHARE * len(hidden) / 2)
    edges = boxes[["view_x0", "view_y0", "view_x1", "view_y1"]].to_numpy(np.int64)
    rows = []
    for image, (x0, y0, x1, y1) in zip(images, edges, strict=True):
        inside = (slice(y0, y1), slice(x0, x1))
        rows.append(_describe(np.where(hidden, grey, image)[inside], ~hidden[inside], window))
    return np.stack(rows)


def select_border(cells: FloatArray) -> FloatArray:
    """(N, F) of (N, 3, CELLS, CELLS), the cells of the frame alone."""
    frame = np.ones((CELLS, CELLS), bool)
    frame[BORDER_CELLS:-BORDER_CELLS, BORDER_CELLS:-BORDER_CELLS] = False
    return cells[:, :, frame].reshape(len(cells), -1)


def rank_marks(cells: FloatArray) -> FloatArray:
    """(N, 2 MARKS) of (N, 3, CELLS, CELLS): the strongest small things, wherever they lie."""
    strengths = np.sort(cells[:, 1:].reshape(len(cells), 2, -1), axis=-1)
    return strengths[..., ::-1][..., :MARKS].reshape(len(cells), -1)


def _describe(picture: NDArray[np.uint8], seen: BoolArray, window: int) -> FloatArray:
    """(3, CELLS, CELLS) of a picture (H, W)."""
    levels = picture.astype(np.int64)
    bright = levels - grey_opening(picture, (window, window))
    dark = grey_closing(picture, (window, window)) - levels
    counts, total = (_reduce(np.add, seen * what) for what in (np.ones_like(levels), levels))
    marks = [_reduce(np.maximum, seen * what) for what in (bright, dark)]
    return np.stack((total / np.maximum(counts, 1), *marks))


def _reduce(function: np.ufunc, array: NDArray[np.int64]) -> NDArray[np.int64]:
    """(CELLS, CELLS) of (H, W); of fewer pixels than cells some stand in two."""
    for axis, side in enumerate(array.shape):
        array = function.reduceat(array, np.arange(CELLS) * side // CELLS, axis=axis)
    return array
