"""One picture to one row of a view: find the lungs, choose the box, cut."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.params import CenterCrop, Crop, LungCrop, NoCrop
from stages.dataset.truth import LUNG_BIT
from stages.imaging.agreement import dice
from stages.imaging.boxes import Box, center_box, lay_into_square, lung_box
from stages.imaging.lungs import segment_lungs


class CroppedImage(NamedTuple):
    """One row of a view.

    Attributes:
        image: (S, S) uint8.
        lung_mask: (S, S) uint8, 0 or 1, in the geometry of the view.
        truth: (S, S) uint8 bit mask in the geometry of the view, or None.
        crop: what was done: none, center or lungs.
        quality: ok, or why the lungs were not trusted.
        box: the crop in pixels of the picture given.
        view_box: where the crop lies in the view.
        lung_dice: Dice of the lungs found with the true ones, in the whole picture; None where
            these are not known.
    """

    image: NDArray[np.uint8]
    lung_mask: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    crop: str
    quality: str
    box: Box
    view_box: Box
    lung_dice: float | None


def crop_image(
    picture: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    known: int,
    *,
    crop: Crop,
    modality: str,
    size_px: int,
    fit: str,
) -> CroppedImage:
    """Cut one picture (H, W), without padding, and lay it into a square of `size_px` pixels.

    `known` are the bits of `truth` (H, W) that are known of the picture.
    """
    lungs = segment_lungs(picture, modality)
    kind, box = choose_box(crop, lungs.mask, lungs_trusted=lungs.quality == "ok")
    image, view_box = lay_into_square(picture, box, size_px, fit, "smooth")

    def place_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return lay_into_square(mask, box, size_px, fit, "nearest")[0]

    return CroppedImage(
        image=image,
        lung_mask=place_mask(lungs.mask.astype(np.uint8)),
        truth=None if truth is None else place_mask(truth),
        crop=kind,
        quality=lungs.quality,
        box=box,
        view_box=view_box,
        lung_dice=_compare_lungs(lungs.mask, truth, known),
    )


def _compare_lungs(
    found: NDArray[np.bool_], truth: NDArray[np.uint8] | None, known: int
) -> float | None:
    if truth is None or not known & LUNG_BIT:
        return None
    return dice(found, (truth & LUNG_BIT) > 0)


def choose_box(crop: Crop, lung_mask: NDArray[np.bool_], *, lungs_trusted: bool) -> tuple[str, Box]:
    """What to cut from a picture of the mask's shape, and its name: none, center or lungs."""
    height, width = lung_mask.shape
    match crop:
        case NoCrop():
            return "none", (0, 0, width, height)
        case CenterCrop(fraction=fraction):
            return "center", center_box(height, width, fraction)
        case LungCrop(margin=margin) if lungs_trusted:
            return "lungs", lung_box(lung_mask, margin)
        case LungCrop(fallback_fraction=fraction):
            return "center", center_box(height, width, fraction)
    raise AssertionError(crop)
