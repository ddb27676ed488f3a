"""Where the lungs are in a chest image, found by classical image processing without weights.

The image is cut to its content (padding goes), brought to one working size, handed to the method of
its modality, and the mask is brought back to the pixels of the input. Each mask comes with a
verdict: "ok" or the reason why it is not to be trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from stages.config.errors import UserError
from stages.imaging.lungs_ct import find_lungs_ct
from stages.imaging.lungs_xray import find_lungs_xray

OK = "ok"

# Grey levels up to this one are padding: black frames of JPEG files reach about 10.
PADDING_LEVEL = 12
# A picture whose content is smaller than this on one side shows no chest.
MIN_CONTENT_PX = 32
# Long over short side of a chest picture; the widest of 800 public CT slices has 2.3.
MAX_ASPECT = 3.0


class Method(NamedTuple):
    """How the lungs of one modality are found and which masks are believed.

    Attributes:
        find: (H, W) float32 grey levels -> (H, W) mask and a doubt ("" for none).
        working_size_px: longest side of what `find` is given.
        area_limits: smallest and largest share of the content that is lung.
    """

    find: Callable[[NDArray[np.float32]], tuple[NDArray[np.bool_], str]]
    working_size_px: int
    area_limits: tuple[float, float]


# The area limits lie outside of 98 % of the masks of 800 public images each: 9-65 % in CT (Soares
# et al. 2020), 10-41 % in X-rays (Ozturk et al. 2020).
METHODS = {
    "ct": Method(find_lungs_ct, working_size_px=160, area_limits=(0.08, 0.80)),
    "xray": Method(find_lungs_xray, working_size_px=96, area_limits=(0.08, 0.60)),
}


class Content(NamedTuple):
    """The part of an image inside its padding, as slices."""

    rows: slice
    columns: slice


@dataclass(frozen=True)
class LungSegmentation:
    """Lungs of one image.

    Attributes:
        mask: (H, W) bool, True on lung, in the pixels of the input.
        quality: "ok", or a short reason why the mask is not to be trusted.
    """

    mask: NDArray[np.bool_]
    quality: str


def segment_lungs(image: NDArray[np.uint8], modality: str) -> LungSegmentation:
    """Find the lungs of one chest image.

    Args:
        image: (H, W) uint8; an axial CT slice with a lung window or a frontal X-ray, air dark.
            Black padding on any side is left out.
        modality: "ct" or "xray".

    Returns:
        The mask, as large as the image, and its quality. A mask in doubt is given all the same.

    Raises:
        UserError: the modality is unknown or the image is not (H, W) uint8.
    """
    method = method_of(modality)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise UserError(
            f"image: got shape {image.shape} of {image.dtype}; lungs are searched in (H, W) uint8; "
            "decode the image to grey levels first"
        )
    mask = np.zeros(image.shape, dtype=bool)
    content = find_content(image)
    inside = image[content.rows, content.columns]
    doubt = doubt_of_content(inside.shape)
    if doubt:
        return LungSegmentation(mask, doubt)
    found, doubt = method.find(shrink(inside, method.working_size_px))
    mask[content.rows, content.columns] = grow_mask(found, (inside.shape[0], inside.shape[1]))
    return LungSegmentation(mask, doubt or doubt_of_area(found, method.area_limits) or OK)


def method_of(modality: str) -> Method:
    """Give the method of a modality, or say which there are."""
    if modality not in METHODS:
        raise UserError(
            f"modality: {modality!r} is not known; allowed: {', '.join(METHODS)}; "
            "set the modality of the data set to one of these"
        )
    return METHODS[modality]


def find_content(image: NDArray[np.uint8]) -> Content:
    """Give the box of what is brighter than padding, an empty one if nothing is."""
    bright = image > PADDING_LEVEL
    return Content(extent(bright, across=1), extent(bright, across=0))


def extent(flags: NDArray[np.bool_], across: int) -> slice:
    """Give the slice from the first to the last line with a True, lines lying along an axis."""
    places = np.flatnonzero(flags.any(axis=across))
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def doubt_of_content(shape: tuple[int, ...]) -> str:
    """Say why a picture of this shape is no chest, or "" if it may be one."""
    short, long = sorted(shape)
    if short == 0:
        return "no lungs found: the image is blank"
    if short < MIN_CONTENT_PX or long > MAX_ASPECT * short:
        size = f"{shape[1]} x {shape[0]} px"
        return f"no lungs found: content of {size} is too small or too long for a chest"
    return ""


def shrink(image: NDArray[np.uint8], longest_side: int) -> NDArray[np.float32]:
    """Bring an image to a longest side in pixels; smaller images grow."""
    scale = longest_side / max(image.shape)
    height, width = (max(1, round(scale * side)) for side in image.shape)
    return resize_linear(image.astype(np.float32), height, width)


def resize_linear(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize (H, W) to (height, width) with a triangle filter, wide enough not to alias.

    Two sparse products are several times faster than a general interpolation and start no threads.
    """
    rows = interpolation_matrix(height, image.shape[0])
    columns = interpolation_matrix(width, image.shape[1])
    resized: NDArray[np.float32] = (columns @ (rows @ image).T).T
    return resized


@lru_cache(maxsize=64)
def interpolation_matrix(n_out: int, n_in: int) -> sparse.csr_array:
    """Give the (n_out, n_in) weights of the old pixels in the new ones; rows add up to 1."""
    step = n_in / n_out
    centres = np.clip((np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
    distance = np.abs(centres[:, None] - np.arange(n_in))
    weights = np.clip(1 - distance / max(1.0, step), 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))


def grow_mask(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Bring a mask to a shape with a smooth outline."""
    return resize_linear(mask.astype(np.float32), *shape) > 0.5


def doubt_of_area(mask: NDArray[np.bool_], limits: tuple[float, float]) -> str:
    """Say why the share of lung is implausible, or "" if it is not."""
    share = float(mask.mean())
    if share == 0:
        return "no lungs found"
    if not limits[0] <= share <= limits[1]:
        return f"area {share:.1%} outside {limits[0]:.0%}-{limits[1]:.0%}"
    return ""
