"""Pictures as a few cells that keep what is small and bright, or small and dark.

A mean over a cell thins a letter of a side marker down to nothing; the brightest pixel keeps it.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

CELLS = 16  # along each side of a picture; a side marker of a tenth of it covers one or two
BORDER_CELLS = 2  # of the frame, on each side: side markers lie within an eighth of the side


def frame_cells() -> BoolArray:
    """(CELLS, CELLS) those of the frame."""
    frame = np.ones((CELLS, CELLS), bool)
    frame[BORDER_CELLS:-BORDER_CELLS, BORDER_CELLS:-BORDER_CELLS] = False
    return frame


def describe_cells(
    images: NDArray[np.uint8], boxes: pd.DataFrame, hidden: BoolArray, cells: BoolArray
) -> FloatArray:
    """(N, 3 F): mean, brightest and darkest level of F cells, of what is not hidden.

    Cells are of the picture without its padding: how that lies is for the geometry probe to tell.
    A cell that is all hidden is black.

    Args:
        images: (N, S, S).
        boxes: N rows with `view_x0` to `view_y1`, where the picture lies in the view.
        hidden: (S, S), the same for all images.
        cells: (CELLS, CELLS), True on those to describe.
    """
    edges = boxes[["view_x0", "view_y0", "view_x1", "view_y1"]].to_numpy(np.int64)
    rows = []
    for image, (x0, y0, x1, y1) in zip(images, edges, strict=True):
        inside = (slice(y0, y1), slice(x0, x1))
        rows.append(_describe(np.asarray(image)[inside], ~hidden[inside])[:, cells].ravel())
    return np.stack(rows)


def _describe(picture: NDArray[np.uint8], seen: BoolArray) -> FloatArray:
    """(3, CELLS, CELLS) of a picture (H, W)."""
    counts = _reduce(np.add, seen.astype(np.int64))
    levels = picture.astype(np.int64)
    total = _reduce(np.add, np.where(seen, levels, 0))
    brightest = _reduce(np.maximum, np.where(seen, levels, 0))
    darkest = _reduce(np.minimum, np.where(seen, levels, 255))
    return np.stack((total / np.maximum(counts, 1), brightest, np.where(counts, darkest, 0)))


def _reduce(function: np.ufunc, array: NDArray[np.int64]) -> NDArray[np.int64]:
    """(CELLS, CELLS) of (H, W); of fewer pixels than cells some stand in two."""
    for axis, side in enumerate(array.shape):
        array = function.reduceat(array, np.arange(CELLS) * side // CELLS, axis=axis)
    return array
