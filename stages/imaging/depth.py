"""Pictures of more than 8 bits: all their bits, and which of them become 8 bits of grey.

How many bits a picture has is a matter of its values: 12 bits in a container of 16 are the rule,
and one hot pixel must not decide what is white.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from stages.config.params import Grey, WindowGrey
from stages.imaging.opencv import cv2
from stages.sources.item import UnreadableImage

# Modes of more than 8 bits; Pillow's own conversion to "L" clips them at 255. Colours of more than
# 8 bits have no mode: Pillow keeps the upper 8 of them.
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
# TIFF 6.0: bits of each sample; 0: the largest value is black, as in MONOCHROME1 of DICOM; colours
# apart from each other; alpha that the colours are multiplied by; whole, signed or other numbers.
BITS_TAG, PHOTOMETRIC_TAG, PLANAR_TAG, EXTRA_TAG, NUMBERS_TAG = 258, 262, 284, 338, 339
MIN_IS_WHITE, APART, ASSOCIATED, UNSIGNED = 0, 2, 1, 1
# ISO/IEC 15444-1, A.5.1: start of codestream and size marker; behind 36 bytes of sizes, a byte for
# each component: its bits less 1, and above these whether it is signed.
J2K_SIZES, J2K_BITS_AT = b"\xff\x4f\xff\x51", 4 + 38
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow
FULL = 65535
TRANSPARENT = "fully transparent: nothing of it shows"


Window = tuple[float, float]


class Values(NamedTuple):
    """A picture with all its bits.

    Attributes:
        grey: (H, W) numbers of any range.
        opacity: (H, W) 0 to 1, by which grey is to be multiplied, or None.
        shown: (H, W) bool, where something is seen, or None where all is.
        is_inverted: whether the largest value is black.
        window: the values that become black and white, where the file says so.
    """

    grey: NDArray[Any]
    opacity: NDArray[np.floating] | None
    shown: NDArray[np.bool_] | None
    is_inverted: bool
    window: Window | None = None


def stored_bits(image: ImageFile.ImageFile, content: bytes) -> int:
    """Bits of a sample of an opened file; 8 for fewer."""
    if image.mode in DEEP_MODES:
        return 32 if image.mode in ("I", "F") else 16
    match image.format:
        case "TIFF":
            return max(8, *_tags(image).get(BITS_TAG, (1,)))
        case "PNG":
            return 16 if str(image.tile[0].args).endswith(";16B") else 8
        case "PPM":
            return max(8, _largest_of_ppm(image).bit_length())
        case "JPEG2000":
            start = content.find(J2K_SIZES)
            return max(8, (content[start + J2K_BITS_AT] & 0x7F) + 1)
    return 8


def _largest_of_ppm(image: ImageFile.ImageFile) -> int:
    """The value of white that a PPM names."""
    coder, _, _, arguments = image.tile[0]
    is_named = coder in ("ppm", "ppm_plain") and isinstance(arguments, tuple)
    return int(arguments[-1]) if is_named and arguments else 255


def read_values(image: Image.Image, content: bytes) -> Values:
    """All bits of a loaded picture of more than 8.

    Raises:
        UnreadableImage: there is no way to all of them.
    """
    tags = _tags(image)
    if image.mode in DEEP_MODES:
        grey = np.asarray(image)
        if tags.get(BITS_TAG) == (32,) and tags.get(NUMBERS_TAG, (UNSIGNED,)) == (UNSIGNED,):
            grey = grey.view(np.uint32)  # Pillow has no mode for these
        key = image.info.get("transparency")
        shown = grey != key if isinstance(key, int) else None
        return Values(grey, None, shown, tags.get(PHOTOMETRIC_TAG) == MIN_IS_WHITE)
    colours = _read_colours(image, content)
    grey = to_luma(colours[..., 2::-1])
    if image.mode == "RGBA" and colours.shape[2] == 4:
        opacity = colours[..., 3] / FULL
        is_multiplied = tags.get(EXTRA_TAG) == (ASSOCIATED,)
        return Values(grey, None if is_multiplied else opacity, opacity > 0, is_inverted=False)
    key = image.info.get("transparency")
    shown = (colours[..., :3][..., ::-1] != key).any(-1) if isinstance(key, tuple) else None
    return Values(grey, None, shown, is_inverted=False)


def to_luma(colours: NDArray[Any]) -> NDArray[np.float64]:
    """(H, W) of red, green and blue (H, W, 3).

    Term by term, since BLAS rounds differently from processor to processor.
    """
    red, green, blue = np.moveaxis(colours, -1, 0)
    luma: NDArray[np.float64] = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma


def to_grey_levels(values: Values, grey: Grey) -> NDArray[np.uint8]:
    """8 bits of grey, (H, W); what is not shown is black.

    Raises:
        UnreadableImage: values that are not finite, or nothing that is shown.
    """
    stored = values.grey
    if values.shown is not None and not values.shown.any():
        raise UnreadableImage(TRANSPARENT)
    if not np.isfinite(stored).all():
        raise UnreadableImage("pixel values that are not finite")
    shown = stored if values.shown is None else stored[values.shown]
    low, high = values.window or _limits(shown, grey)
    if high <= low:
        return np.zeros(stored.shape, dtype=np.uint8)
    scaled = stored.astype(np.float64)
    scaled -= low  # in place: the largest pictures allowed take 0.5 GB as float64
    scaled *= 255 / (high - low)
    np.clip(scaled, 0, 255, out=scaled)
    if values.is_inverted:
        np.subtract(255, scaled, out=scaled)
    if values.opacity is not None:
        scaled *= values.opacity
    if values.shown is not None:
        scaled[~values.shown] = 0
    return np.rint(scaled, out=scaled).astype(np.uint8)


def _limits(shown: NDArray[Any], grey: Grey) -> Window:
    """The values that become black and white.

    Percentiles are values that occur, since a mean with a hot pixel would not be robust. A picture
    of hardly more than one value is scaled from its lowest to its highest.
    """
    if isinstance(grey, WindowGrey):
        return grey.low, grey.high
    low = float(np.percentile(shown, grey.low, method="higher"))
    high = float(np.percentile(shown, grey.high, method="lower"))
    return (low, high) if high > low else (float(shown.min()), float(shown.max()))


def _read_colours(image: Image.Image, content: bytes) -> NDArray[np.uint16]:
    """(H, W, 3 or 4) blue, green, red and alpha."""
    colours = None
    if image.mode in ("RGB", "RGBA") and _tags(image).get(PLANAR_TAG) != APART:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # on stderr
        colours = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if colours is None or colours.dtype != np.uint16 or colours.shape[:2] != image.size[::-1]:
        raise UnreadableImage(
            f"{image.mode} of more than 8 bits in a way that is not read: save it as 16-bit grey"
        )
    return np.asarray(colours, dtype=np.uint16)


def _tags(image: Image.Image) -> dict[int, Any]:
    """The tags of a TIFF; none of other formats."""
    return dict(getattr(image, "tag_v2", {}))
