"""From the bytes of an image file to grey pixels.

Whatever cannot be read safely is refused with a short reason that is the same on every machine, so
that lists of refused files can be compared.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from stages.config.params import Grey
from stages.imaging.damage import find_damage
from stages.imaging.depth import DEEP_MODES, TRANSPARENT, read_values, stored_bits, to_grey_levels
from stages.sources.item import UnreadableImage

# Raster formats that Pillow decodes in process. Its EPS reader would start Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Smaller pictures are icons: no chest can be judged on them.
MIN_SIDE_PX = 16
# The largest detectors for chests have some 20 million; as float64 these are 0.5 GB.
MAX_PIXELS = 2**26
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


class DecodedImage(NamedTuple):
    """One picture, upright and grey.

    Attributes:
        pixels: (H, W) uint8, 0 is black, 255 white; upright, because boxes and overlays are drawn
            on what viewers show.
        mode: Pillow's name of the stored colour mode, such as L, RGB, P, I;16; colours of more
            than 8 bits have them behind it, as in RGB;16.
        format: Pillow's name of the file format, such as PNG, JPEG.
        complaints: what the decoders say of the file, which gave a picture all the same.
    """

    pixels: NDArray[np.uint8]
    mode: str
    format: str
    complaints: tuple[str, ...]


def decode(content: bytes, grey: Grey) -> DecodedImage:
    """Read one image file as upright grey pixels.

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
    if not content:
        raise UnreadableImage("empty file")
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
        raise UnreadableImage(_bomb()) from None
    except MemoryError:
        raise UnreadableImage("takes more memory than there is") from None
    except DAMAGE:
        raise UnreadableImage(damage) from None


def _unknown_format(content: bytes) -> str:
    """Why the header could not be read."""
    if content[128:132] == b"DICM":  # DICOM PS3.10, 7.1: 128 bytes of preamble, then the prefix
        return "DICOM file, not an image: convert it to PNG first"
    if content.startswith(TIFF_STARTS):
        return (
            "a TIFF of a kind that cannot be read, or with a damaged header: save it as grey of 8 "
            "or 16 bits"
        )
    return f"not an image, or a damaged header; formats that can be read: {', '.join(FORMATS)}"


def _bomb() -> str:
    return f"over {MAX_PIXELS} pixels: refused as a decompression bomb"


def _check_shape(image: Image.Image) -> None:
    """Refuse icons, bombs, files of several frames, and numbers that Pillow misreads.

    Raises:
        UnreadableImage: for any of these.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(_bomb())
    numbers = getattr(image, "tag_v2", {}).get(NUMBERS_TAG, ())
    if image.mode not in DEEP_MODES and SIGNED in numbers:
        raise UnreadableImage("signed values of 8 bits: save it as grey of 8 or 16 bits")
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames != 1:
        raise UnreadableImage(f"{frames} frames in one file: save each as its own image")
    if min(image.size) < MIN_SIDE_PX:
        raise UnreadableImage(f"{image.width}x{image.height} px: sides under {MIN_SIDE_PX} px")


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
