"""The pencils of the phantoms: grids, soft edges, ellipses and smooth random fields.

Lengths are in chest units: 1 is half the width of the chest, whatever the size of the image.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# float32 throughout for speed; the type is wider because numpy types mixed arithmetic so.
Field = NDArray[np.floating]

# Sides differ by up to 15 % from the nominal one, so that no class can be told from its size.
SIDE_VARIATION = 0.15


class Grid(NamedTuple):
    """Where each pixel lies in the chest.

    Attributes:
        x: (H, W) chest units, 0 at the middle of the body, growing to the right of the image
            (the left of the patient).
        y: (H, W) chest units, 0 at the middle of the body, growing downwards.
        pixel: chest units per pixel.
    """

    x: Field
    y: Field
    pixel: float

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image."""
        height, width = self.x.shape
        return height, width


class Ellipse(NamedTuple):
    """An ellipse in chest units; `turn` in radians."""

    x: float
    y: float
    rx: float
    ry: float
    turn: float = 0.0


def draw_image_shape(size_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Image height and width in pixels, each within SIDE_VARIATION of the nominal side."""
    height, width = rng.uniform(1 - SIDE_VARIATION, 1 + SIDE_VARIATION, size=2) * size_px
    return round(height), round(width)


def make_grid(
    shape: tuple[int, int], center: tuple[float, float], pixel: float, turn: float
) -> Grid:
    """Coordinates of an image whose chest lies at `center` (x, y in pixels), turned by radians."""
    column = (np.arange(shape[1], dtype=np.float32) - center[0]) * pixel
    row = (np.arange(shape[0], dtype=np.float32)[:, None] - center[1]) * pixel
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return Grid(cos * column + sin * row, cos * row - sin * column, pixel)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number from [low, high) as a plain float, which keeps float32 fields float32."""
    return float(rng.uniform(low, high))


def soft_edge(distance: Field, width: float) -> Field:
    """Coverage in [0, 1]: 0 outside, 1 inside, a ramp of `width` where `distance` crosses 0."""
    coverage: Field = np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)
    return coverage


def inside_ellipse(grid: Grid, ellipse: Ellipse) -> Field:
    """Distance to the edge of an ellipse in chest units: above 0 inside, about exact near it."""
    dx, dy = grid.x - ellipse.x, grid.y - ellipse.y
    if ellipse.turn:
        cos, sin = float(np.cos(ellipse.turn)), float(np.sin(ellipse.turn))
        dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
    radius = np.sqrt((dx / ellipse.rx) ** 2 + (dy / ellipse.ry) ** 2)
    distance: Field = (1 - radius) * min(ellipse.rx, ellipse.ry)
    return distance


def fill(grid: Grid, ellipse: Ellipse, softness: float = 0.0) -> Field:
    """Coverage of an ellipse in [0, 1]; the edge is one pixel plus `softness` chest units wide."""
    return soft_edge(inside_ellipse(grid, ellipse), grid.pixel + softness)


def paint(canvas: Field, value: float, coverage: Field) -> None:
    """Move the canvas towards `value` where the coverage is above 0, in place."""
    canvas += coverage * (np.float32(value) - canvas)


def smooth_noise(shape: tuple[int, int], length_px: float, rng: np.random.Generator) -> Field:
    """Random field (H, W) with mean 0, variance 1 and a correlation length in pixels.

    White noise on a coarse lattice is spread with separable Gaussians: two small matrix products
    instead of a large filter. By einsum, since BLAS rounds differently from processor to processor.
    """
    rows, columns = (_spread(side, max(length_px, 1.0)) for side in shape)
    lattice = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    across = np.einsum("ik,kl->il", rows, lattice)
    field: Field = np.einsum("il,jl->ij", across, columns)
    return field


def _spread(side: int, length: float) -> Field:
    """(side, knots) weights, rows of Euclidean norm 1, so that the variance stays 1 everywhere."""
    knots = np.arange(-2 * length, side + 2 * length, length, dtype=np.float32)
    offsets = (np.arange(side, dtype=np.float32)[:, None] - knots) / np.float32(length)
    weights = np.exp(-(offsets**2))
    normed: Field = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return normed
