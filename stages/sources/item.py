"""What every source of images gives: a list of items, each read only when it is its turn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class UnreadableImage(ValueError):
    """A file that gives no picture; its message is the reason, without path or address."""


class RawImage(NamedTuple):
    """One image as the source has it.

    Attributes:
        content: bytes of an encoded image file (PNG, JPEG, ...).
        truth: (H, W) uint8 bit mask of a phantom, in the pixels of the decoded image; None where
            the truth is not known (every real image).
    """

    content: bytes
    truth: NDArray[np.uint8] | None = None


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
    """

    source_path: str
    label: str
    split: str | None
    patient_id: str | None
    subgroup: str
    read: Callable[[], RawImage]
    fold: str | None = None
