"""NIfTI files: volumes, and how their voxels lie in the patient."""

import gzip
import io
import math
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder, FileHolderError
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from stages.sources.formats import GZIP
from stages.sources.item import UnreadableImage
from stages.sources.silence import reading_quietly

DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError),
    *(OSError, RuntimeError, zlib.error, ImageFileError, FileHolderError, WrapStructError),
    *(HeaderDataError, HeaderTypeError),
)
DAMAGED = "damaged NIfTI: data cut short or corrupt"
# Unpacked and as stored: 500 slices of 512 x 512 as float64.
MAX_VOLUME_BYTES = 2**30
# A NIfTI-2 file begins with the length of its header, 540, in either order of bytes.
SECOND = (b"\x1c\2\0\0", b"\0\0\2\x1c")
# Axes of the patient in nibabel: to the right, the front, the head.
RIGHT, FRONT, HEAD = 0, 1, 2


class Axis(NamedTuple):
    """Which axis of the array goes along one of the patient, and 1, or -1 for the other way."""

    number: int
    sign: int


class NiftiFile(NamedTuple):
    """An opened volume, its voxels not read.

    Attributes:
        image: of nibabel, of 2 or 3 dimensions, and others of length 1.
        axes: of the array, along those of the patient.
    """

    image: nibabel.Nifti1Image
    axes: tuple[Axis, Axis, Axis]

    @property
    def slices(self) -> int:
        """How many axial slices there are."""
        return self.shape[self.axes[HEAD].number]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the array; a flat one has a third side of 1."""
        first, second, third = (*self.image.shape, 1)[:3]
        return int(first), int(second), int(third)


def reading_nifti() -> AbstractContextManager[None]:
    """Without a word of nibabel, and without what it raises on damaged files.

    Raises:
        UnreadableImage: in the place of these.
    """
    return reading_quietly("nibabel", "nibabel.global", damage=DAMAGE, reason=DAMAGED)


def open_nifti(stream: io.IOBase) -> NiftiFile:
    """Read the header of a NIfTI file, packed by gzip or not; voxels are read when asked for.

    Raises:
        UnreadableImage: it is damaged, too large, or no volume of numbers.
    """
    with reading_nifti():
        is_packed = stream.read(len(GZIP)) == GZIP
        stream.seek(0)
        plain = gzip.GzipFile(fileobj=stream) if is_packed else stream
        is_second = plain.read(4) in SECOND
        plain.seek(0)
        kind = nibabel.Nifti2Image if is_second else nibabel.Nifti1Image
        image = kind.from_file_map({"image": FileHolder(fileobj=plain)})
        _check(image)
        return NiftiFile(image, _axes(image))


def count_slices(file: Path) -> int:
    """How many axial slices a file has; 1 where that cannot be told, which reading will say."""
    try:
        with file.open("rb") as stream:
            return open_nifti(stream).slices
    except (OSError, UnreadableImage):
        return 1


def _check(image: nibabel.Nifti1Image) -> None:
    """Refuse what is no volume of numbers of a size that can be held."""
    kind = image.get_data_dtype()
    shape = image.shape
    if kind.kind not in "iuf":
        raise UnreadableImage("NIfTI of colours or complex numbers: save it as grey")
    if len(shape) < 2 or math.prod(shape[3:]) != 1:
        raise UnreadableImage(f"NIfTI of {len(shape)} dimensions: save each volume as its own")
    if min(shape) < 1 or math.prod(shape) * kind.itemsize > MAX_VOLUME_BYTES:
        raise UnreadableImage(f"a volume of over {MAX_VOLUME_BYTES // 2**20} MiB, or of nothing")


def _axes(image: nibabel.Nifti1Image) -> tuple[Axis, Axis, Axis]:
    """Of each axis of the patient, which one of the array lies along it."""
    found = io_orientation(image.affine)
    if not np.isfinite(found).all():
        raise UnreadableImage("NIfTI whose axes are no directions in space")
    along = {int(axis): Axis(number, int(sign)) for number, (axis, sign) in enumerate(found)}
    return along[RIGHT], along[FRONT], along[HEAD]
