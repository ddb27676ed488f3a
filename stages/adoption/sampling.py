"""A seeded look at some pictures: sizes, depth, what cannot be read, CT slice or X-ray."""

import io
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stages.adoption.modality import Signs, find_signs
from stages.config.params import DicomGrey, PercentileGrey
from stages.config.progress import progress
from stages.imaging.decode import decode
from stages.imaging.depth import DEEP_MODES
from stages.sources.formats import START_BYTES, recognise
from stages.sources.item import SourceItem, UnreadableImage

MOST_PICTURES = 90  # of all classes: some 30 ms each
GREY = PercentileGrey(kind="percentiles", low=0.5, high=99.5)
# The usual lung window, in Hounsfield units, of which air is -1000.
DICOM_GREY = DicomGrey(kind="dicom", center=-600, width=1500, low=0.5, high=99.5)
LUNG_WINDOW = {"kind": "window", "low": -1350, "high": 150}  # the same
AIR_HU = -500
SMALLEST_PX, LARGEST_PX = 32, 256
STEP_PX = 16  # of the size that is proposed


class Sampled(NamedTuple):
    """What a look at one file gave.

    Attributes:
        path: inside the source.
        label: class.
        reason: why it gives no picture, or "".
        width: in pixels; 0 of no picture, and so below.
        height: in pixels.
        format: Pillow's name of it.
        is_deep: whether it has more than 8 bits.
        lowest: smallest value of a deep picture of one channel, else 0.
        signs: of CT or X-ray, or None.
    """

    path: str
    label: str
    reason: str
    width: int = 0
    height: int = 0
    format: str = ""
    is_deep: bool = False
    lowest: float = 0.0
    signs: Signs | None = None


def sample_pictures(items: Sequence[SourceItem], *, seed: int) -> list[Sampled]:
    """Look at pictures of all classes, drawn evenly with the seed."""
    of_label: Mapping[str, list[SourceItem]] = defaultdict(list)
    for item in items:
        of_label[item.label].append(item)
    each = max(1, MOST_PICTURES // max(1, len(of_label)))
    rng = random.Random(seed)
    drawn = [
        item
        for label in sorted(of_label)
        for item in rng.sample(of_label[label], min(each, len(of_label[label])))
    ]
    return [_look_at(item) for item in progress(drawn, "looking at pictures", len(drawn))]


def _look_at(item: SourceItem) -> Sampled:
    try:
        content = item.read().content
        image = decode(content, GREY, item.frame)
    except UnreadableImage as error:
        return Sampled(item.source_path, item.label, str(error))
    height, width = image.pixels.shape
    is_deep = ";" in image.mode or image.mode in DEEP_MODES
    return Sampled(
        path=item.source_path,
        label=item.label,
        reason="",
        width=width,
        height=height,
        format=image.format,
        is_deep=is_deep,
        lowest=_lowest(content) if is_raster(content) and image.mode in DEEP_MODES else 0.0,
        signs=find_signs(image.pixels),
    )


def is_raster(content: bytes) -> bool:
    """Whether a file is a plain picture, neither DICOM nor NIfTI."""
    return recognise(content[:START_BYTES]) is None


def _lowest(content: bytes) -> float:
    """The smallest stored value of a picture that could be decoded."""
    with Image.open(io.BytesIO(content)) as image:
        return float(np.min(np.asarray(image)))


def choose_grey(sampled: Sequence[Sampled], modality: str) -> tuple[dict[str, Any], str]:
    """What `grey` is to be, and why; "" where all pictures have 8 bits, which it leaves alone."""
    deep = [picture for picture in sampled if picture.is_deep]
    if not deep:
        return GREY.model_dump(), ""
    said = f"{len(deep)} of {len(sampled)} pictures have more than 8 bits"
    below = sum(picture.lowest < AIR_HU for picture in deep)
    if modality == "ct" and 2 * below > len(deep):
        return LUNG_WINDOW, f"{said} and values far below 0, as Hounsfield units: the lung window."
    return GREY.model_dump(), (
        f"{said}, and nothing says which window they were meant for: percentiles of each picture."
    )


def choose_size(sampled: Sequence[Sampled]) -> tuple[int, str]:
    """Pixels of the longest side to keep, and why."""
    longest = [max(p.width, p.height) for p in sampled if not p.reason]
    if not longest:
        return LARGEST_PX, "no picture could be read; a usual size"
    median = int(np.median(np.array(longest)))
    size = min(LARGEST_PX, max(SMALLEST_PX, median // STEP_PX * STEP_PX))
    said = f"the longest sides are {min(longest)} to {max(longest)} px, median {median}"
    if size < median - STEP_PX:
        said += f"; more than {LARGEST_PX} takes disk and time, and networks are given less"
    return size, said
