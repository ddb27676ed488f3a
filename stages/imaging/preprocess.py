"""From a decoded picture to one row of a view, in the two steps that `prepare` and `crop` make."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.params import View
from stages.dataset.preprocessing import Preprocessing
from stages.imaging.cropping import CroppedImage, crop_image
from stages.imaging.square import Square, fit_square


def prepare_picture(pixels: NDArray[np.uint8], picture_px: int) -> Square:
    """What `prepare` keeps of a decoded picture (H, W)."""
    return fit_square(pixels, picture_px, "smooth")


def cut_view(
    picture: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    known: int,
    *,
    view: View,
    modality: str,
) -> CroppedImage:
    """What `crop` makes of a prepared picture without its padding; see `crop_image`."""
    return crop_image(
        picture,
        truth,
        known,
        crop=view.crop,
        modality=modality,
        size_px=view.size_px,
        fit=view.fit,
    )


class Preprocessed(NamedTuple):
    """What both stages make of a picture.

    Attributes:
        picture: (H, W) uint8, as `prepare` keeps it, without padding.
        row: what `crop` makes of that.
    """

    picture: NDArray[np.uint8]
    row: CroppedImage


def preprocess(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, modality: str
) -> Preprocessed:
    """The row of a view that both stages together make of a decoded picture (H, W).

    Args:
        pixels: as `decode` gives them with the grey of `preprocessing`.
        preprocessing: of a view.
        modality: of its data set.
    """
    assert preprocessing.view is not None  # a prepared set has none
    square, (x0, y0, x1, y1) = prepare_picture(pixels, preprocessing.picture_px)
    picture = np.array(square[y0:y1, x0:x1])
    return Preprocessed(
        picture, cut_view(picture, None, 0, view=preprocessing.view, modality=modality)
    )
