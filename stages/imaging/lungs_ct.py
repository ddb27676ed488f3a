"""Lungs in an axial CT slice with a lung window: the air inside the body."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

# Between the grey level of lung (0) and of soft tissue (1): ground glass lies near 0.5, so the
# limit is above the middle.
TISSUE_FRACTION = 0.6
# Lung and tissue differ by at least this many grey levels in any lung window.
MIN_LEVEL_STEP = 20
# Side of the corner squares that lie outside of the body, of the longest side.
CORNER_FRAC = 0.06
# Parts below this share of the largest one are airways or bowel gas, not lung: a trachea of 2 cm
# is about 2 % of a lung of 15 cm x 12 cm.
MIN_PART_SHARE = 0.08
# Radius of the closing that takes in vessels and lesions at the pleura, of the longest side
# (about 1.5 cm in a body 35 cm wide).
CLOSING_FRAC = 0.045
# Either side of the body has at least this share of the lung pixels; a heart or a raised diaphragm
# takes half of a lung, a missing lung takes all of it.
MIN_SIDE_SHARE = 0.12

# Consolidation and fissures cut two lungs into a few parts; noise gives dozens.
MAX_PARTS = 8


def find_lungs_ct(image: NDArray[np.float32]) -> tuple[NDArray[np.bool_], str]:
    """Give the lungs of one slice.

    Args:
        image: (H, W) grey levels 0-255, without padding.

    Returns:
        (H, W) mask, empty if there is no air inside the body, and why it is in doubt ("" if not).
    """
    level = tissue_level(image)
    parts = keep_lung_parts(find_inner_air(image, level))
    if len(parts) > MAX_PARTS:
        return np.any(parts, axis=0), f"{len(parts)} parts, more than {MAX_PARTS}"
    mask = np.zeros(image.shape, dtype=bool)
    for part in parts:
        mask |= close_part(part)
    return mask, doubt_of_sides(mask, image >= level)


def doubt_of_sides(mask: NDArray[np.bool_], tissue: NDArray[np.bool_]) -> str:
    """Say if the lungs lie on one side of the body's middle, "" if on both or if there are none."""
    columns = mask.sum(axis=0)
    if not columns.any():
        return ""
    middle = round(float(np.average(np.arange(mask.shape[1]), weights=tissue.sum(axis=0) + 1e-9)))
    share = columns[:middle].sum() / columns.sum()
    smaller = min(share, 1 - share)
    return "" if smaller >= MIN_SIDE_SHARE else f"one lung: {smaller:.0%} of it on the other side"


def find_inner_air(image: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    """Give what is darker than tissue and not connected to a corner of the picture."""
    air = ndimage.binary_opening(image < level, iterations=1)
    labels, _ = ndimage.label(air)
    outside = np.unique(labels[corner_zone(image.shape)])
    return air & ~np.isin(labels, outside)


def tissue_level(image: NDArray[np.float32]) -> float:
    """Give the grey level between lung and soft tissue: Otsu 1979, moved towards the tissue.

    It is 0, below everything, where the picture has no two levels.
    """
    if np.ptp(image) < MIN_LEVEL_STEP:
        return 0.0
    middle = threshold_otsu(image)
    dark, bright = np.median(image[image <= middle]), np.median(image[image > middle])
    if bright - dark < MIN_LEVEL_STEP:
        return 0.0
    return float(dark + TISSUE_FRACTION * (bright - dark))


def corner_zone(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Give the four corner squares: a body is oval, so its surroundings show there.

    The whole border cannot be used, for many slices are cut so close that a lung touches it.
    """
    side = max(2, round(CORNER_FRAC * max(shape)))
    zone = np.zeros(shape, dtype=bool)
    for rows in (slice(None, side), slice(-side, None)):
        for columns in (slice(None, side), slice(-side, None)):
            zone[rows, columns] = True
    return zone


def keep_lung_parts(air: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Give the connected parts of the air that are as large as a lung or a piece of one."""
    labels, _ = ndimage.label(air)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return [labels == k for k in np.flatnonzero(areas >= max(1, MIN_PART_SHARE * areas.max()))]


def close_part(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take vessels and lesions at the pleura into one lung and fill its holes.

    A closing adds nothing outside of the part's box, so that only the box is looked at.
    """
    radius = max(1, round(CLOSING_FRAC * max(part.shape)))
    box = ndimage.find_objects(part.astype(np.uint8))[0]
    padded = np.pad(part[box], 2 * radius)
    far = ndimage.distance_transform_edt(~padded) > radius
    closed = ndimage.distance_transform_edt(~far) > radius
    around, _ = ndimage.label(~closed)  # several times faster than binary_fill_holes
    inner = slice(2 * radius, -2 * radius)
    mask = np.zeros_like(part)
    mask[box] = (around != around[0, 0])[inner, inner]
    return mask
