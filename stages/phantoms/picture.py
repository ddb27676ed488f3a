"""What a drawing gives: the grey image and the truth about it."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Phantom(NamedTuple):
    """One drawn image.

    Attributes:
        image: (H, W) uint8 grey.
        truth: (H, W) uint8 bit mask of lungs, lesions and markers (`stages.dataset.truth`).
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    def to_png(self) -> bytes:
        """The image as a file, without the truth."""
        buffer = io.BytesIO()
        Image.fromarray(self.image).save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()


def to_grey(display: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(H, W) uint8 of a picture in [0, 1]; values outside are clipped, as a viewer does."""
    grey: NDArray[np.uint8] = (np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)
    return grey
