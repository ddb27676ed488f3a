"""A picture read from a file of any format, and what no picture may be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.sources.item import UnreadableImage

# Smaller pictures are icons: no chest can be judged on them.
MIN_SIDE_PX = 16
# The largest detectors for chests have some 20 million; as float64 these are 0.5 GB.
MAX_PIXELS = 2**26


class DecodedImage(NamedTuple):
    """One picture, upright and grey.

    Attributes:
        pixels: (H, W) uint8, 0 is black, 255 white; upright, because boxes and overlays are drawn
            on what viewers show.
        mode: what is stored: Pillow's name of the colour mode, such as L, RGB, P, I;16, colours of
            more than 8 bits with these behind it, as in RGB;16; of DICOM the photometric
            interpretation and bits, as in MONOCHROME2;12; of NIfTI the type, as in int16.
        format: Pillow's name of the file format, such as PNG, JPEG; DICOM, NIfTI.
        complaints: what the decoders say of the file, which gave a picture all the same.
    """

    pixels: NDArray[np.uint8]
    mode: str
    format: str
    complaints: tuple[str, ...]


def bomb() -> str:
    """Why a picture of more than `MAX_PIXELS` is refused."""
    return f"over {MAX_PIXELS} pixels: refused as a decompression bomb"


def check_size(width: int, height: int) -> None:
    """Refuse icons and bombs, before their pixels are read.

    Raises:
        UnreadableImage: for either.
    """
    if width * height > MAX_PIXELS:
        raise UnreadableImage(bomb())
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableImage(f"{width}x{height} px: sides under {MIN_SIDE_PX} px")
