"""From the bytes of an image file to grey pixels.

Whatever cannot be read safely is refused with a short reason that is the same on every machine, so
that lists of refused files can be compared.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from stages.config.params import Grey
from stages.imaging.damage import find_damage
from stages.imaging.decoded import DecodedImage, bomb, check_size
from stages.imaging.depth import DEEP_MODES, TRANSPARENT, read_values, stored_bits, to_grey_levels
from stages.sources.formats import START_BYTES, recognise
from stages.sources.item import UnreadableImage

# Raster formats that Pillow decodes in process. Its EPS reader would start Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# TIFF 6.0, tag 339 "SampleFormat".
NUMBERS_TAG, SIGNED = 339, 2
# EXIF 2.32, tag 274 "Orientation": how the stored picture is turned to stand upright.
ORIENTATION_TAG = 274
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise on damaged files. AttributeError, IndexError, KeyError, TypeError and
# ZeroDivisionError come from its TIFF, JPEG and GIF parsers when a tag is missing or out of range.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ZeroDivisionError,
)


class Frames(Protocol):
    """An opened file of one picture or several."""

    @property
    def count(self) -> int:
        """How many pictures there are."""

    def decode(self, frame: int, grey: Grey) -> DecodedImage:
        """Read one of them, from 0.

        Raises:
            UnreadableImage: with the reason.
        """


def decode(content: bytes, grey: Grey, frame: int | None = None) -> DecodedImage:
    """Read one picture of a file as upright grey pixels.

    Args:
        content: the bytes of the file.
        grey: of the data set.
        frame: which picture of a DICOM or NIfTI file, from 0; None: the only one.

    Raises:
        UnreadableImage: with the reason.
    """
    (found,) = decode_frames(content, grey, [frame])
    if isinstance(found, UnreadableImage):
        raise found
    return found


def decode_frames(
    content: bytes, grey: Grey, wanted: Sequence[int | None]
) -> Iterator[DecodedImage | UnreadableImage]:
    """As `decode`, of several pictures of one file, which is opened once; reasons in their place.

    One picture is held at a time.
    """
    try:
        file = _open(content)
    except UnreadableImage as error:
        yield from (error for _ in wanted)
        return
    for frame in wanted:
        yield _read(file, frame, grey)


class FrameNumber(NamedTuple):
    """Which of the pictures of a file one is, from 0."""

    number: int
    of: int


def decode_all(
    content: bytes, grey: Grey
) -> Iterator[tuple[FrameNumber, DecodedImage | UnreadableImage]]:
    """As `decode_frames`, every picture of a file."""
    try:
        file = _open(content)
    except UnreadableImage as error:
        yield FrameNumber(0, 1), error
        return
    for number in range(file.count):
        yield FrameNumber(number, file.count), _read(file, number, grey)


def _read(file: Frames, frame: int | None, grey: Grey) -> DecodedImage | UnreadableImage:
    if frame is None and file.count > 1:
        return UnreadableImage(f"{file.count} pictures in one file, and none is named")
    try:
        return file.decode(frame or 0, grey)
    except UnreadableImage as error:
        return error


def _open(content: bytes) -> Frames:
    """Open a file of any format.

    What reads DICOM and NIfTI takes a while to import, which sets without them need not wait for.
    """
    if not content:
        raise UnreadableImage("empty file")
    match recognise(content[:START_BYTES]):
        case "DICOM":
            from stages.imaging.dicom import DicomFrames

            return DicomFrames(content)
        case "NIfTI":
            from stages.imaging.nifti import NiftiFrames

            return NiftiFrames(content)
    return _Raster(content)


class _Raster:
    """A picture that Pillow reads."""

    count = 1

    def __init__(self, content: bytes) -> None:
        self._content = content

    def decode(self, frame: int, grey: Grey) -> DecodedImage:
        """Its only picture."""
        return decode_raster(self._content, grey)


def decode_raster(content: bytes, grey: Grey) -> DecodedImage:
    """Read one image file of Pillow's formats as upright grey pixels.

    Colours become luma (ITU-R BT.601). Transparent pixels are laid on black, the grey of air in CT
    and of the padding, so that no bright frame appears; a picture of nothing else is refused.
    Pictures of 8 bits keep their values; what becomes black and white in those of more is for
    `grey` to say, because the files do not say which window they were meant for; a constant one
    becomes 0. An EXIF orientation is applied; one that cannot be parsed counts as upright, as in
    viewers. Files of several frames are refused, since no frame is more right than the other; the
    previews inside a camera's JPEG (MPO) do not count. Files of which the decoders know that pixels
    are lost are refused, also where they would give a picture.

    Args:
        content: the bytes of the file.
        grey: of the data set.

    Raises:
        UnreadableImage: with the reason.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with _refusing(_unknown_format(content)):
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        file_format = image.format or ""
        with _refusing(f"damaged {file_format}: data cut short or corrupt"):
            _check_shape(image)
            complaints = find_damage(content, image)
            mode, upright = _load(image, content, grey)
    complaints += [" ".join(str(warning.message).split()) for warning in warned]
    return DecodedImage(upright, mode, file_format, tuple(dict.fromkeys(complaints)))


def _load(image: ImageFile.ImageFile, content: bytes, grey: Grey) -> tuple[str, NDArray[np.uint8]]:
    """The colour mode, and (H, W) grey, of an opened file."""
    mode, bits = image.mode, stored_bits(image, content)
    # Spares the colours of a JPEG, whose luma the file holds as its own channel; other formats
    # stay as they are.
    image.draft("L", image.size)
    image.load()
    if bits > 8:
        pixels = Image.fromarray(to_grey_levels(read_values(image, content), grey))
    else:
        pixels = _grey(image)
    turn = UPRIGHT.get(_orientation(image))
    upright = pixels if turn is None else pixels.transpose(turn)
    is_named = mode in DEEP_MODES or bits <= 8
    return mode if is_named else f"{mode};{bits}", np.array(upright, dtype=np.uint8)


@contextmanager
def _refusing(damage: str) -> Iterator[None]:
    """Turn what Pillow raises into `UnreadableImage`, with `damage` as the general reason."""
    try:
        yield
    except UnreadableImage:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, over this one
        raise UnreadableImage(bomb()) from None
    except MemoryError:
        raise UnreadableImage("takes more memory than there is") from None
    except DAMAGE:
        raise UnreadableImage(damage) from None


def _unknown_format(content: bytes) -> str:
    """Why the header could not be read."""
    if content.startswith(TIFF_STARTS):
        return (
            "a TIFF of a kind that cannot be read, or with a damaged header: save it as grey of 8 "
            "or 16 bits"
        )
    allowed = ", ".join((*FORMATS, "DICOM", "NIfTI"))
    return f"not an image, or a damaged header; formats that can be read: {allowed}"


def _check_shape(image: Image.Image) -> None:
    """Refuse icons, bombs, files of several frames, and numbers that Pillow misreads.

    Raises:
        UnreadableImage: for any of these.
    """
    check_size(image.width, image.height)
    numbers = getattr(image, "tag_v2", {}).get(NUMBERS_TAG, ())
    if image.mode not in DEEP_MODES and SIGNED in numbers:
        raise UnreadableImage("signed values of 8 bits: save it as grey of 8 or 16 bits")
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames != 1:
        raise UnreadableImage(f"{frames} frames in one file: save each as its own image")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none.

    Read after loading: a PNG may hold it behind the pixels, and Pillow has by then applied and
    removed that of a TIFF.
    """
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DAMAGE:
        return 1


def _grey(image: Image.Image) -> Image.Image:
    """8-bit grey of a loaded picture of no more.

    Raises:
        UnreadableImage: nothing of it shows, or its colour mode has no way to grey.
    """
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        if coloured.getchannel("A").getextrema()[1] == 0:
            raise UnreadableImage(TRANSPARENT)
        black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, coloured).convert("L")
    try:
        return image.convert("L")
    except ValueError:
        raise UnreadableImage(f"colour mode {image.mode} cannot be turned into grey") from None
