"""From the bytes of an image file to grey pixels.

Whatever cannot be read safely is refused with a short reason that is the same on every machine, so
that lists of refused files can be compared.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Raster formats that Pillow decodes in process. Its EPS reader would start Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Smaller pictures are icons: no chest can be judged on them.
MIN_SIDE_PX = 16
# Modes of more than 8 bits; Pillow's own conversion to "L" clips them at 255.
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
# TIFF 6.0, tag 262: 0 means that the largest value is black, as in MONOCHROME1 of DICOM.
PHOTOMETRIC_TAG = 262
MIN_IS_WHITE = 0
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


class UnreadableImage(ValueError):
    """A file that gives no picture; its message is the reason, without path or address."""


class DecodedImage(NamedTuple):
    """One picture, upright and grey.

    Attributes:
        pixels: (H, W) uint8, 0 is black, 255 white; upright, because boxes and overlays are drawn
            on what viewers show.
        mode: Pillow's name of the stored colour mode, such as L, RGB, P, I;16.
        format: Pillow's name of the file format, such as PNG, JPEG.
    """

    pixels: NDArray[np.uint8]
    mode: str
    format: str


def decode(content: bytes) -> DecodedImage:
    """Read one image file as upright grey pixels.

    Colours become luma (ITU-R BT.601). Transparent pixels are laid on black, the grey of air in CT
    and of the padding, so that no bright frame appears. Pictures of more than 8 bits are scaled
    from their own lowest and highest value to 0..255, because the files do not say which window
    they were meant for; a constant one becomes 0. An EXIF orientation is applied; one that cannot
    be parsed counts as upright, as in viewers. Files of several frames are refused, since no frame
    is more right than the other; the previews inside a camera's JPEG (MPO) do not count.

    Args:
        content: the bytes of the file.

    Raises:
        UnreadableImage: with the reason.
    """
    if not content:
        raise UnreadableImage("empty file")
    with _refusing(_unknown_format(content)):
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    mode, file_format = image.mode, image.format or ""
    with _refusing(f"damaged {file_format}: data cut short or corrupt"):
        _check_shape(image)
        # Spares the colours of a JPEG, whose luma the file holds as its own channel; other
        # formats stay as they are.
        image.draft("L", image.size)
        image.load()
        grey = _grey(image)
    turn = UPRIGHT.get(_orientation(image))
    if turn is not None:
        grey = grey.transpose(turn)
    return DecodedImage(np.array(grey, dtype=np.uint8), mode, file_format)


@contextmanager
def _refusing(damage: str) -> Iterator[None]:
    """Turn what Pillow raises into `UnreadableImage`, with `damage` as the general reason."""
    try:
        yield
    except UnreadableImage:
        raise
    except Image.DecompressionBombError:
        # Pillow warns at MAX_IMAGE_PIXELS and refuses at twice as many.
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UnreadableImage(f"over {limit} pixels: refused as a decompression bomb") from None
    except DAMAGE:
        raise UnreadableImage(damage) from None


def _unknown_format(content: bytes) -> str:
    """Why the header could not be read."""
    if content[128:132] == b"DICM":  # DICOM PS3.10, 7.1: 128 bytes of preamble, then the prefix
        return "DICOM file, not an image: convert it to PNG first"
    return f"not an image, or a damaged header; formats that can be read: {', '.join(FORMATS)}"


def _check_shape(image: Image.Image) -> None:
    """Refuse icons and files of several frames.

    Raises:
        UnreadableImage: for either.
    """
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
    """8-bit grey of a loaded picture.

    Raises:
        UnreadableImage: for a colour mode without a way to grey, or values that are not finite.
    """
    if image.mode in DEEP_MODES:
        return Image.fromarray(_scale_deep(image))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, coloured).convert("L")
    try:
        return image.convert("L")
    except ValueError:
        raise UnreadableImage(f"colour mode {image.mode} cannot be turned into grey") from None


def _scale_deep(image: Image.Image) -> NDArray[np.uint8]:
    """Scale (H, W) values of any range linearly so that the lowest is 0 and the highest 255."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage("pixel values that are not finite")
    lowest, highest = float(values.min()), float(values.max())
    if highest == lowest:
        return np.zeros(values.shape, dtype=np.uint8)
    values -= lowest  # in place: the largest pictures allowed take over 1 GB as float64
    values *= 255 / (highest - lowest)
    grey = np.rint(values, out=values).astype(np.uint8)
    return np.subtract(255, grey) if _is_inverted(image) else grey


def _is_inverted(image: Image.Image) -> bool:
    """Whether a deep TIFF stores black as its largest value; Pillow inverts only 8-bit ones."""
    return getattr(image, "tag_v2", {}).get(PHOTOMETRIC_TAG) == MIN_IS_WHITE
