"""Crop boxes, and what lies in them laid into a square."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.imaging.square import FILTERS, Resample, fit_square

Box = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open, pixels


def center_box(height: int, width: int, fraction: float) -> Box:
    """The middle of a picture: `fraction` of its width and of its height, at least a pixel."""
    box_width, box_height = max(1, round(width * fraction)), max(1, round(height * fraction))
    x0, y0 = (width - box_width) // 2, (height - box_height) // 2
    return x0, y0, x0 + box_width, y0 + box_height


def lung_box(lung_mask: NDArray[np.bool_], margin: float) -> Box:
    """The mask's box, grown on each side by `margin` of its longer side, inside the picture."""
    height, width = lung_mask.shape
    rows, columns = np.flatnonzero(lung_mask.any(axis=1)), np.flatnonzero(lung_mask.any(axis=0))
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    grow = round(margin * max(x1 - x0, y1 - y0))
    return max(0, x0 - grow), max(0, y0 - grow), min(width, x1 + grow), min(height, y1 + grow)


def lay_into_square(
    array: NDArray[np.uint8], box: Box, size_px: int, fit: str, resample: Resample
) -> tuple[NDArray[np.uint8], Box]:
    """Cut `box` out of (H, W) and resize it into (size_px, size_px).

    `fit` letterbox keeps the aspect ratio and centres on zeros; stretch fills the square.
    Returns the square and the box that the crop takes in it.
    """
    x0, y0, x1, y1 = box
    cut = np.ascontiguousarray(array[y0:y1, x0:x1])
    if fit == "letterbox":
        return fit_square(cut, size_px, resample)
    stretched = Image.fromarray(cut).resize((size_px, size_px), FILTERS[resample])
    return np.asarray(stretched), (0, 0, size_px, size_px)
