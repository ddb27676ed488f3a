"""The planted shortcut: a bright side marker near the edge of the image, outside the lungs.

A classifier of whole images can learn it; a crop around the lungs cannot contain it.
"""

import numpy as np
from numpy.typing import NDArray

from stages.phantoms.shapes import Field, uniform

Mask = NDArray[np.bool_]

# Share of the image width: still 8 to 10 pixels wide after a resize to 96.
WIDTH_RANGE = (0.08, 0.10)
# A crop has a margin of 5 % of the lung box on each side; 2 % more leaves room for rounding.
CLEARANCE_FRAC = 0.07
# Distance from the edge of the image, share of the width.
INSET_FRAC = 0.012
# The plate around a glyph darkens what it covers, so that the glyph shows on bright tissue too.
PLATE = 0.35

_GLYPHS = {
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "block": ("00000", "01110", "01110", "01110", "00000"),
}


def stamp_marker(display: Field, lung: Mask, body: Mask, rng: np.random.Generator) -> Mask:
    """Draw a letter or a block into the picture, in place.

    Args:
        display: (H, W) picture in [0, 1].
        lung: (H, W) true lungs; the marker stays out of their box with a margin.
        body: (H, W) where no marker may lie (all false where it may lie on the body).
        rng: place, glyph and brightness.

    Returns:
        (H, W) the rectangle of the marker.
    """
    side = round(uniform(rng, *WIDTH_RANGE) * display.shape[1])
    name = str(rng.choice(list(_GLYPHS)))
    corners = _free_corners(display.shape, side, _keep_out(lung) | body)
    assert corners, "the anatomy leaves no free corner for a marker"
    top, left = corners[int(rng.integers(len(corners)))]
    window = (slice(top, top + side), slice(left, left + side))
    glyph = _render_glyph(_GLYPHS[name], side)
    plate = PLATE * display[window]
    display[window] = plate + glyph * (uniform(rng, 0.92, 1.0) - plate)
    rectangle = np.zeros(display.shape, dtype=bool)
    rectangle[window] = True
    return rectangle


def _keep_out(lung: Mask) -> Mask:
    """(H, W) the box of the lungs, widened on each side by CLEARANCE_FRAC of its sides."""
    forbidden = np.zeros(lung.shape, dtype=bool)
    slices = []
    for axis in (1, 0):
        hit = np.flatnonzero(lung.any(axis=axis))
        margin = int(np.ceil(CLEARANCE_FRAC * (hit[-1] - hit[0] + 1)))
        slices.append(slice(max(0, hit[0] - margin), hit[-1] + 1 + margin))
    forbidden[tuple(slices)] = True
    return forbidden


def _free_corners(shape: tuple[int, ...], side: int, forbidden: Mask) -> list[tuple[int, int]]:
    """(top, left) of the squares at the four corners that touch nothing forbidden."""
    inset = max(1, round(INSET_FRAC * shape[1]))
    tops = (inset, shape[0] - inset - side)
    lefts = (inset, shape[1] - inset - side)
    places = [(top, left) for top in tops for left in lefts]
    return [(t, u) for t, u in places if not forbidden[t : t + side, u : u + side].any()]


def _render_glyph(rows: tuple[str, ...], side: int) -> Field:
    """(side, side) glyph of 0 and 1, its cells scaled by nearest neighbour."""
    cells = np.array([[cell == "1" for cell in row] for row in rows], dtype=np.float32)
    down = np.arange(side) * cells.shape[0] // side
    across = np.arange(side) * cells.shape[1] // side
    glyph: Field = cells[np.ix_(down, across)]
    return glyph
