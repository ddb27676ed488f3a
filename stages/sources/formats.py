"""Which files are no plain pictures but DICOM or NIfTI: by their first bytes, as names may lie."""

import re
import struct
import zlib
from pathlib import Path
from typing import Literal

MedicalFormat = Literal["DICOM", "NIfTI"]

START_BYTES = 4096
DIRECTORY_NAME = "DICOMDIR"  # of a file that lists others (DICOM PS3.10, 8.6)
# DICOM PS3.10, 7.1: 128 bytes of preamble, then the prefix.
PREFIX, PREFIX_AT = b"DICM", 128
# Older files begin with their first element: of group 2 or 8, little or big endian; then a value
# representation (PS3.5, 7.1.2) or, without one, a length, which is short there.
FIRST_ELEMENT = re.compile(rb"[\x02\x08]\0.\0|\0[\x02\x08]\0.", re.DOTALL)
REPRESENTATION = re.compile(rb"[A-Z]{2}")
LONGEST_FIRST_VALUE = 256
GZIP = b"\x1f\x8b"
# NIfTI-1 and -2: size of the header, then where the header says that it is one.
NIFTI_SIZES = {348: (344, (b"n+1\0", b"ni1\0")), 540: (4, (b"n+2\0", b"ni2\0"))}


def recognise(start: bytes) -> MedicalFormat | None:
    """What a file is by its first `START_BYTES` bytes; None: neither of these formats."""
    if start[PREFIX_AT : PREFIX_AT + len(PREFIX)] == PREFIX or _starts_with_an_element(start):
        return "DICOM"
    return "NIfTI" if _is_nifti(_unpack_start(start)) else None


def recognise_file(file: Path) -> MedicalFormat | None:
    """What a file is; None also of one that cannot be read, or is no regular file."""
    try:
        if not file.is_file():
            return None
        with file.open("rb") as stream:
            return recognise(stream.read(START_BYTES))
    except OSError:
        return None


def _starts_with_an_element(start: bytes) -> bool:
    if len(start) < 8 or not FIRST_ELEMENT.match(start):
        return False
    order = "<" if start[0] else ">"
    (length,) = struct.unpack(f"{order}I", start[4:8])
    return bool(REPRESENTATION.match(start[4:6])) or 0 < length <= LONGEST_FIRST_VALUE


def _unpack_start(start: bytes) -> bytes:
    """The first bytes, unpacked where they are packed by gzip."""
    if not start.startswith(GZIP):
        return start
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(start, START_BYTES)
    except zlib.error:
        return b""


def _is_nifti(start: bytes) -> bool:
    for order in ("<", ">"):
        if len(start) < 4:
            return False
        place = NIFTI_SIZES.get(struct.unpack(f"{order}i", start[:4])[0])
        if place and start[place[0] : place[0] + 4] in place[1]:
            return True
    return False
