"""Masks and boxes of one image, read and drawn into a bit mask as large as the picture."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.imaging.decode import DAMAGE, FORMATS
from stages.imaging.decoded import MAX_PIXELS
from stages.sources.item import ImageTruth, RelativeBox

# Masks of other sides are scaled where these have the picture's ratio but for their rounding.
ASPECT_TOLERANCE = 0.01
# Of a mask of two values that was scaled or saved as JPEG, the outline has values between them,
# spread over many; a third value that means something has more pixels of its own.
EXTREME = 0.1  # of the largest value: so close to it, or to 0, is one of the two
MAX_BETWEEN, MAX_BETWEEN_EACH = 0.15, 0.02  # shares of the pixels
VALUES_SHOWN = 6


class UnusableMask(ValueError):
    """A mask that says nothing of the image; its message is the reason, without a path."""


class DrawnTruth(NamedTuple):
    """What is known of one picture.

    Attributes:
        bits: (H, W) uint8 bit mask.
        known: the bits that are known.
        unusable: path of a mask to why it cannot be used; one is enough for the lungs not to be
            known, as it may be that of the other lung.
    """

    bits: NDArray[np.uint8]
    known: int
    unusable: dict[str, str]


def draw_truth(
    given: ImageTruth, shape: tuple[int, int], lung_values: Collection[int]
) -> DrawnTruth:
    """Draw what files say of a picture of this shape (H, W).

    Args:
        given: files of masks, of which a pixel is lung if any says so, and boxes.
        shape: of the picture as decoded.
        lung_values: values of a mask that are lung; none: the larger one of two.
    """
    bits = np.zeros(shape, np.uint8)
    known, unusable = 0, {}
    for path in given.lung_masks:
        try:
            bits[_read_file(path, shape, lung_values)] |= LUNG_BIT
        except UnusableMask as error:
            unusable[str(path)] = str(error)
    if unusable:
        bits[:] = 0
    elif given.lung_masks:
        known |= LUNG_BIT
    for box in given.boxes:
        bits[pixels_of(box, shape)] |= LESION_BIT
    if given.boxes:
        known |= LESION_BIT
    return DrawnTruth(bits, known, unusable)


def pixels_of(box: RelativeBox, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box, to the nearest pixel and at least one."""
    height, width = shape
    return _extent(box.y0, box.y1, height), _extent(box.x0, box.x1, width)


def _extent(low: float, high: float, side: int) -> slice:
    start = min(round(low * side), side - 1)
    return slice(start, max(round(high * side), start + 1))


def _read_file(
    path: Path, shape: tuple[int, int], lung_values: Collection[int]
) -> NDArray[np.bool_]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnusableMask(f"cannot be read ({error.strerror})") from None
    return read_mask(content, shape, lung_values)


def read_mask(
    content: bytes, shape: tuple[int, int], lung_values: Collection[int]
) -> NDArray[np.bool_]:
    """(H, W) True on lung, of an image file.

    Args:
        content: bytes of the file; of colours that a palette gives, the numbers count.
        shape: of the picture, to which a mask of the same aspect ratio is scaled.
        lung_values: values that are lung; none: the larger one of two values.

    Raises:
        UnusableMask: with the reason.
    """
    values = _read_values(content)
    mask = _select(values, lung_values)
    if not mask.any():
        raise UnusableMask("shows no lung")
    height, width = mask.shape
    if abs(width * shape[0] / (height * shape[1]) - 1) > ASPECT_TOLERANCE:
        raise UnusableMask(f"{width}x{height} px, but the picture has {shape[1]}x{shape[0]} px")
    if mask.shape == shape:
        return mask
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _read_values(content: bytes) -> NDArray[Any]:
    """(H, W) values of a mask."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UnusableMask(f"over {MAX_PIXELS} pixels")
        image.load()
    except UnusableMask:
        raise
    except (Image.DecompressionBombError, MemoryError, *DAMAGE):
        raise UnusableMask("cannot be read as an image") from None
    values = np.asarray(image)
    if values.ndim == 2:
        return values
    colours = values[..., :1] if image.mode == "LA" else values[..., :3]
    if not (colours == colours[..., :1]).all():
        raise UnusableMask("is of colours; save it as grey values")
    return colours[..., 0]


def _select(values: NDArray[Any], lung_values: Collection[int]) -> NDArray[np.bool_]:
    """Which pixels are lung."""
    if lung_values:
        return np.isin(values, list(lung_values))
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= 2:
        return np.asarray(values == levels[-1]) & (levels[-1] > 0)
    top = float(levels[-1])
    is_between = (levels > EXTREME * top) & (levels < (1 - EXTREME) * top)
    between = counts[is_between] / values.size
    if between.sum() > MAX_BETWEEN or between.max(initial=0) > MAX_BETWEEN_EACH:
        shown = ", ".join(f"{level:g}" for level in levels[:VALUES_SHOWN])
        more = ", ..." if len(levels) > VALUES_SHOWN else ""
        raise UnusableMask(
            f"holds {len(levels)} values ({shown}{more}); say in truth.lung_values which are lung"
        )
    return np.asarray(values > top / 2)
