"""Crop boxes, and the square views cut out by them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.config.params import CenterCrop, Crop, LungCrop, NoCrop
from stages.imaging.decode import FILTERS, Resample, fit_square
from stages.imaging.lungs import segment_lungs

Box = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open, pixels


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
    """

    image: NDArray[np.uint8]
    lung_mask: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    crop: str
    quality: str
    box: Box
    view_box: Box


def crop_image(
    picture: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    *,
    crop: Crop,
    modality: str,
    size: int,
    fit: str,
) -> CroppedImage:
    """Cut one picture (H, W), without padding, and lay it into a square of `size` pixels."""
    lungs = segment_lungs(picture, modality)
    mode, box = choose_box(crop, lungs.mask, lungs_trusted=lungs.quality == "ok")

    image, view_box = lay_into_square(picture, box, size, fit, "smooth")

    def place_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return lay_into_square(mask, box, size, fit, "nearest")[0]

    return CroppedImage(
        image=image,
        lung_mask=place_mask(lungs.mask.astype(np.uint8)),
        truth=None if truth is None else place_mask(truth),
        crop=mode,
        quality=lungs.quality,
        box=box,
        view_box=view_box,
    )


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
    array: NDArray[np.uint8], box: Box, size: int, fit: str, resample: Resample
) -> tuple[NDArray[np.uint8], Box]:
    """Cut `box` out of (H, W) and resize it into (size, size).

    `fit` letterbox keeps the aspect ratio and centres on zeros; stretch fills the square.
    Returns the square and the box that the crop takes in it.
    """
    x0, y0, x1, y1 = box
    cut = np.ascontiguousarray(array[y0:y1, x0:x1])
    if fit == "letterbox":
        return fit_square(cut, size, resample)
    stretched = Image.fromarray(cut).resize((size, size), FILTERS[resample])
    return np.asarray(stretched), (0, 0, size, size)
