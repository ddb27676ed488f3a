"""DICOM files opened without a word: pydicom's warnings quote what is in a file, and who."""

import io
import math
import struct
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from stages.sources.formats import START_BYTES
from stages.sources.item import UnreadableImage
from stages.sources.silence import reading_quietly

# What pydicom and its decoders raise on damaged files; RuntimeError: a decoder gave up.
DAMAGE = (
    *(ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, AssertionError),
    *(EOFError, OSError, RuntimeError, NotImplementedError, ZeroDivisionError),
    *(struct.error, zlib.error, InvalidDicomError, BytesLengthException),
)
DAMAGED = "damaged DICOM: data cut short or corrupt"
# Of the elements with pixels, one of which an image has (DICOM PS3.3, C.7.6.3).
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# A slice of a chest that is packed best, one grey, takes more.
LEAST_FRAME_BYTES = 8
MAX_FRAMES = 10_000
# DICOM PS3.10, 7.1: behind preamble and prefix comes the length of the meta header, an element of
# 12 bytes whose last 4 are the value. PS3.5, A.5: what is deflated begins behind that header.
META_LENGTH_AT = 140
DEFLATED = DeflatedExplicitVRLittleEndian.encode()
MAX_DEFLATED_BYTES = 2**28


def reading_dicom() -> AbstractContextManager[None]:
    """Without a word of pydicom, and without what it raises on damaged files.

    Raises:
        UnreadableImage: in the place of these.
    """
    return reading_quietly("pydicom", "pylibjpeg", damage=DAMAGE, reason=DAMAGED)


def open_dicom(source: bytes | Path, keywords: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM file, with or without the 128 bytes of preamble.

    Args:
        source: its bytes, or where it is.
        keywords: of the elements to read, without pixels; None: all.

    Raises:
        UnreadableImage: it is damaged.
    """
    with reading_dicom():
        _check_deflated(source)
        found = pydicom.dcmread(
            io.BytesIO(source) if isinstance(source, bytes) else source,
            force=True,
            stop_before_pixels=keywords is not None,
            specific_tags=None if keywords is None else [*keywords],
        )
        if not len(found) and not len(found.file_meta):
            raise UnreadableImage(DAMAGED)
        if not found.file_meta.get("TransferSyntaxUID"):
            found.file_meta.TransferSyntaxUID = _native_syntax(found)
        return found


def _check_deflated(source: bytes | Path) -> None:
    """Refuse a deflated file that would fill the memory: pydicom unpacks it whole, at once."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        start = stream.read(START_BYTES)
        if DEFLATED not in start:
            return
        length = int.from_bytes(start[META_LENGTH_AT : META_LENGTH_AT + 4], "little")
        stream.seek(META_LENGTH_AT + 4 + length)
        packed, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not packed.eof and (part := packed.unconsumed_tail or stream.read(START_BYTES)):
            unpacked += len(packed.decompress(part, MAX_DEFLATED_BYTES))
            if unpacked > MAX_DEFLATED_BYTES:
                raise UnreadableImage("a deflated DICOM that is too large unpacked")


def _native_syntax(found: Dataset) -> UID:
    """How a file without a meta header was read: it does not say, and is not compressed."""
    is_implicit, is_little_endian = found.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian


def text_of(data: Dataset, keyword: str) -> str:
    """An element as trimmed text; the first of several values; empty where there is none."""
    try:
        value = data.get(keyword)
        if isinstance(value, MultiValue):
            value = value[0] if value else None
        return "" if value is None else str(value).replace("\0", "").strip()
    except DAMAGE:
        return ""


def numbers_of(data: Dataset, keyword: str) -> list[float]:
    """An element as finite numbers; none where one of them is no such number."""
    try:
        value = data.get(keyword)
        values = value if isinstance(value, MultiValue | list | tuple) else [value]
        numbers = [float(one) for one in values]
    except DAMAGE:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def number_of(data: Dataset, keyword: str) -> float | None:
    """The first of these numbers."""
    return next(iter(numbers_of(data, keyword)), None)


def count_frames(data: Dataset, file_bytes: int) -> int:
    """How many frames a file has.

    Raises:
        UnreadableImage: more than a file of that size can hold, or no number.
    """
    if not text_of(data, "NumberOfFrames"):
        return 1
    frames = number_of(data, "NumberOfFrames")
    if frames is None or not frames.is_integer() or frames < 1:
        raise UnreadableImage("a number of frames that is none")
    least = LEAST_FRAME_BYTES
    if not data.file_meta.TransferSyntaxUID.is_compressed:
        sides = (number_of(data, name) or 0 for name in ("Rows", "Columns", "BitsAllocated"))
        least = max(least, int(math.prod(sides)) // 8)
    if frames > MAX_FRAMES or frames * least > file_bytes:
        raise UnreadableImage(f"{frames:.0f} frames, more than a file of its size can hold")
    return int(frames)
