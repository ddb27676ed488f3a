"""Pictures that can be read and may not be what they should: listed for a person, not changed.

Blank ones, those of which the lower part is one even grey, as where a file was cut short before it
was saved again, and those in which air is white, as in MONOCHROME1 of DICOM.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

BLANK = "blank: one grey level"
NEARLY_BLANK = "nearly blank"
EVEN_PART = "even lower part, as of a file cut short"
INVERTED = "likely inverted: air is white"

# Grey levels between the 1st and the 99th percentile; of 3,380 public pictures the least is 100.
MIN_CONTRAST = 16
# Rows of one grey at the bottom, as a share of the height. Black and white are padding.
MIN_EVEN_SHARE, EVEN_LEVELS, PADDING_LEVELS = 0.05, 2, (12, 243)

# Whether air is white is looked for in a reduced picture. Of 899 public X-rays and 2,481 public CT
# slices (Ozturk et al., Soares et al. 2020) none and 12 are taken for inverted, most of these
# below the lungs; turned into their negatives, 98 % and 93 % are found.
REDUCED_PX, PATTERN_PX = 64, 16
MIN_CORRELATION = 0.2  # with the pattern of the modality; noise alone reaches it once in 400
# Share of a CT slice that is air inside of the body, where air is around it: the lungs. More is
# asked for where that would make the picture an inverted one.
MIN_LUNGS, MIN_WHITE_LUNGS = 0.02, 0.06
MOSTLY = 0.85  # of the border is of one kind

Floats = NDArray[np.floating]


def find_suspicions(pixels: NDArray[np.uint8], modality: str) -> list[str]:
    """What a person should look at.

    Args:
        pixels: (H, W), upright and grey.
        modality: ct or xray.
    """
    low, high = np.percentile(pixels, (1, 99))
    if pixels.min() == pixels.max():
        return [BLANK]
    if high - low < MIN_CONTRAST:
        return [NEARLY_BLANK]
    found = [EVEN_PART] if _even_share(pixels) >= MIN_EVEN_SHARE else []
    if _is_inverted(pixels, modality):
        found.append(INVERTED)
    return found


def _even_share(pixels: NDArray[np.uint8]) -> float:
    """The share of rows at the bottom that are of one grey which is not that of padding."""
    grey = int(pixels[-1, -1])
    if not PADDING_LEVELS[0] < grey < PADDING_LEVELS[1]:
        return 0.0
    is_even = (np.abs(pixels.astype(np.int16) - grey) <= EVEN_LEVELS).all(axis=1)
    others = np.flatnonzero(~is_even)
    last = int(others[-1]) if len(others) else -1
    return 1 - (last + 1) / len(pixels)


def _is_inverted(pixels: NDArray[np.uint8], modality: str) -> bool:
    reduced = _trim(_resize(pixels.astype(np.float32), REDUCED_PX))
    if min(reduced.shape) < PATTERN_PX:
        return False
    if modality == "ct" and (air := _find_air_around(_resize(reduced, REDUCED_PX))):
        return air == "white"
    return _correlate(reduced, *PATTERNS[modality]) < -MIN_CORRELATION


def _trim(reduced: Floats) -> Floats:
    """Without frames and padding: rows and columns at the rim that are of one grey.

    Where some are cut off so is the next one, in which the padding is mixed with the picture.
    """
    for _ in range(2):
        others = np.flatnonzero(np.ptp(reduced, axis=1) > EVEN_LEVELS)
        if not len(others):
            return reduced[:0]
        first, last = int(others[0]), int(others[-1])
        first += first > 0
        last -= last < len(reduced) - 1
        reduced = reduced[first : last + 1].T
    return reduced


def _find_air_around(reduced: Floats) -> str | None:
    """Whether the body in a CT slice lies in black or white air, or fills the picture: None.

    Where air is around, more of the same lies inside the body, and is cut off by it.
    """
    is_bright = ndimage.median_filter(reduced, 3) > threshold_otsu(reduced)
    border = np.concatenate([is_bright[[0, -1]].ravel(), is_bright[:, [0, -1]].ravel()])
    share = border.mean()
    if 1 - MOSTLY < share < MOSTLY:
        return None
    is_white = bool(share >= MOSTLY)
    air = is_bright == is_white
    parts, _ = ndimage.label(air)
    outside = np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))
    lungs = ndimage.binary_opening(air & ~np.isin(parts, outside))
    if lungs.mean() < (MIN_WHITE_LUNGS if is_white else MIN_LUNGS):
        return None
    return "white" if is_white else "black"


def _correlate(reduced: Floats, pattern: Floats, weights: Floats) -> float:
    """Weighted correlation of a picture with a pattern, -1 to 1."""
    picture = _resize(reduced, PATTERN_PX)
    picture = picture - (weights * picture).sum()
    pattern = pattern - (weights * pattern).sum()
    scale = np.sqrt((weights * picture**2).sum() * (weights * pattern**2).sum())
    return float((weights * picture * pattern).sum() / max(scale, 1e-9))


def _resize(values: Floats, size_px: int) -> Floats:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((size_px, size_px), Image.Resampling.BOX), dtype=np.float64)


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> NDArray[np.bool_]:
    """Where a reduced picture lies in an ellipse; all in shares of its side."""
    rows, columns = (np.indices((PATTERN_PX, PATTERN_PX)) + 0.5) / PATTERN_PX
    distance = np.hypot((columns - x) / half_width, (rows - y) / half_height)
    inside: NDArray[np.bool_] = distance <= 1
    return inside


def _ct_pattern() -> tuple[Floats, Floats]:
    """Dark lungs in a bright body that fills the picture; corners may be anything."""
    pattern = np.ones((PATTERN_PX, PATTERN_PX))
    pattern[_ellipse(0.27, 0.5, 0.21, 0.36) | _ellipse(0.73, 0.5, 0.21, 0.36)] = -1
    return pattern, _weigh(_ellipse(0.5, 0.5, 0.52, 0.56))


def _xray_pattern() -> tuple[Floats, Floats]:
    """Dark lungs and dark air above the shoulders, a bright spine and belly."""
    rows, columns = (np.indices((PATTERN_PX, PATTERN_PX)) + 0.5) / PATTERN_PX
    aside = np.abs(columns - 0.5)
    pattern = np.full((PATTERN_PX, PATTERN_PX), 0.2)
    pattern[_ellipse(0.29, 0.42, 0.17, 0.34) | _ellipse(0.71, 0.42, 0.17, 0.34)] = -0.8
    pattern[aside < 1 / PATTERN_PX] = 0.9
    pattern[rows > 0.7] = 1
    pattern[(rows > 0.7) & (aside > 0.4)] = 0
    pattern[(rows < 0.16) & (aside > 0.2)] = -1.5
    return pattern, _weigh(np.ones((PATTERN_PX, PATTERN_PX), dtype=bool))


def _weigh(counts: NDArray[np.bool_]) -> Floats:
    return counts / counts.sum()


PATTERNS: dict[str, tuple[Floats, Floats]] = {"ct": _ct_pattern(), "xray": _xray_pattern()}
