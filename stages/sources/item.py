"""What every source of images gives: a list of items, each read only when it is its turn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class UnreadableImage(ValueError):
    """A file that gives no picture; its message is the reason, without path or address."""


class RawImage(NamedTuple):
    """One image as the source has it.

    Attributes:
        content: bytes of an encoded image file (PNG, JPEG, ...).
        truth: (H, W) uint8 bit mask of a phantom, in the pixels of the decoded image; None of every
            real image, which at most has files of truth.
    """

    content: bytes
    truth: NDArray[np.uint8] | None = None


class RelativeBox(NamedTuple):
    """A box in shares, 0 to 1, of the width and the height of a picture; x0 < x1, y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float


class ImageTruth(NamedTuple):
    """Files of truth about one image; nothing in either says that this is not known."""

    lung_masks: tuple[Path, ...]
    boxes: tuple[RelativeBox, ...]


@dataclass(frozen=True)
class SourceItem:
    """One image of a source, before it is read.

    Attributes:
        source_path: unique path inside the source, with forward slashes.
        label: class name as in `datasets.<name>.classes`.
        split: train, val or test where the source comes with that split, else None.
        patient_id: who is shown, where the source knows it, else None.
        subgroup: a known stratum of the image to report apart (phantoms: marker, no-marker), or "".
        read: reads the file; called once, when the image is decoded; raises `UnreadableImage`.
        fold: the ready-made fold that the source puts the image into, else None.
        truth: files of truth; None where the data set names none.
        frame: which picture of a file of several, from 0; None: its only one.
        volume: the volume or series whose slices belong together, else None.
    """

    source_path: str
    label: str
    split: str | None
    patient_id: str | None
    subgroup: str
    read: Callable[[], RawImage]
    fold: str | None = None
    truth: ImageTruth | None = None
    frame: int | None = None
    volume: str | None = None
