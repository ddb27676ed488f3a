"""A picture scaled into a square."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# "smooth" for pictures, "nearest" for bit masks, whose values must not be mixed. Smooth is
# Pillow's bilinear filter: its support grows with the reduction, so it does not alias; it has no
# negative lobes, so it draws no rims beside burned-in markers as Lanczos does; and it still
# interpolates where a small picture is enlarged, which a box filter does not.
Resample = Literal["smooth", "nearest"]
FILTERS = {"smooth": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}


class Square(NamedTuple):
    """A picture inside a black square.

    Attributes:
        pixels: (S, S) uint8, zero outside `box`.
        box: (x0, y0, x1, y1) of the picture in the square, half-open, in pixels.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]


def fit_square(pixels: NDArray[np.uint8], size_px: int, resample: Resample) -> Square:
    """Scale a picture to a longest side of `size_px` and centre it on a black square.

    The aspect ratio is kept, to whole pixels, and the short side is at least 1 px. Both kinds of
    resampling use the same geometry, so a mask stays on its picture.

    Args:
        pixels: (H, W) uint8.
        size_px: side S of the square, in pixels.
        resample: "smooth" for pictures, "nearest" for bit masks.
    """
    height, width = pixels.shape
    longest = max(width, height)
    new_width, new_height = (max(1, round(side * size_px / longest)) for side in (width, height))
    x0, y0 = (size_px - new_width) // 2, (size_px - new_height) // 2
    box = (x0, y0, x0 + new_width, y0 + new_height)
    scaled = Image.fromarray(pixels).resize((new_width, new_height), FILTERS[resample])
    square = np.zeros((size_px, size_px), dtype=np.uint8)
    square[box[1] : box[3], box[0] : box[2]] = np.asarray(scaled)
    return Square(square, box)
