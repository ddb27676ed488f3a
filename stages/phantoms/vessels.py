"""Vessels of the lungs: branches that leave the hilum and thin out, some seen in cross-section."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.phantoms.shapes import Field, Grid

# Radii of the three calibres, chest units (1 is about 16 cm).
CALIBRES = (0.018, 0.009, 0.005)
_STEPS = 48
# A line thinner than a pixel is paler: peak of the thinnest lines at the least.
_PALEST = 0.5


def draw_vessels(
    grid: Grid, hila: list[tuple[float, float]], count: int, seen: float, rng: np.random.Generator
) -> Field:
    """Vessel coverage (H, W) in [0, 1], not yet cut to the lungs.

    Args:
        grid: where each pixel lies.
        hila: where the branches start, chest units.
        count: branches of each hilum.
        seen: share of a branch that lies in the picture; below 1 it is broken into pieces.
        rng: directions, bends, pieces.
    """
    coverage = np.zeros(grid.shape, dtype=np.float32)
    starts = np.repeat(np.array(hila), count, axis=0)
    points = _grow(starts, rng.uniform(0, 2 * np.pi, len(starts)), rng.uniform(0.3, 0.75), rng)
    forks = points[:, _STEPS // 4 :: _STEPS // 4].reshape(-1, 2)
    twigs = _grow(forks, rng.uniform(0, 2 * np.pi, len(forks)), 0.25, rng)
    coarse, fine = np.split(points, [_STEPS // 3], axis=1)
    for line, radius in zip((coarse, fine, twigs), CALIBRES, strict=True):
        coverage += _ink(grid, _pieces(line, seen, rng), radius)
    return np.minimum(coverage, 1, out=coverage)


def draw_dots(grid: Grid, count: int, radius: float, rng: np.random.Generator) -> Field:
    """Cross-sections of vessels (H, W) in [0, 1]: `count` soft dots anywhere in the chest."""
    places = rng.uniform((-0.9, -0.8), (0.9, 0.8), size=(count, 2))
    sigma_px = max(radius / grid.pixel, 0.6)
    ink = _stamp(grid, places)
    dots: Field = ndimage.gaussian_filter(ink, sigma_px, truncate=3) * (2 * np.pi * sigma_px**2)
    return np.minimum(dots, 1, out=dots)


def _grow(
    starts: NDArray[np.float64],
    headings: NDArray[np.float64],
    length: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(N, steps, 2) points of lines that start at (N, 2) and wander about their heading."""
    bends = np.cumsum(rng.normal(0, 0.09, (len(starts), _STEPS)), axis=1)
    angles = headings[:, None] + bends
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * (length / _STEPS)
    return starts[:, None] + np.cumsum(steps, axis=1)


def _pieces(
    points: NDArray[np.float64], seen: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(M, 2) the points of the pieces that are seen: each quarter of a line is there or not."""
    quarters = -(-points.shape[1] // 8)
    keep = np.repeat(rng.random((len(points), 8)) < seen, quarters, axis=1)
    return points[keep[:, : points.shape[1]]]


def _ink(grid: Grid, points: NDArray[np.float64], radius: float) -> Field:
    """Lines of one calibre (H, W), about 1 on their axis."""
    sigma_px = max(radius / grid.pixel, 0.5)
    peak = min(max(radius / grid.pixel, _PALEST), 1.0)
    line_peak = peak * float(np.sqrt(2 * np.pi)) * sigma_px
    ink: Field = ndimage.gaussian_filter(_stamp(grid, points), sigma_px, truncate=2.5) * line_peak
    return ink


def _stamp(grid: Grid, points: NDArray[np.float64]) -> Field:
    """(H, W) 1 at the pixels nearest to the points; those outside of the image are left out."""
    # The small turn of the grid is ignored: vessels are random anyway.
    columns = np.rint((points[:, 0] - grid.x[0, 0]) / grid.pixel).astype(int)
    rows = np.rint((points[:, 1] - grid.y[0, 0]) / grid.pixel).astype(int)
    inside = (rows >= 0) & (rows < grid.shape[0]) & (columns >= 0) & (columns < grid.shape[1])
    ink = np.zeros(grid.shape, dtype=np.float32)
    ink[rows[inside], columns[inside]] = 1
    return ink
