"""Lesions: ground-glass patches (covid) and a lobar consolidation (pneumonia).

Contrast and extent are drawn per patient from wide distributions, so that the classes overlap: a
faint small patch looks like a thick vessel or the dependent density of a healthy lung. The patterns
follow what radiologists report: bilateral, peripheral and basal ground glass in covid, one dense
lobe with a sharp fissure in bacterial pneumonia (Wong et al. 2020, Radiology 296:E72-E78).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.phantoms.shapes import Field, Grid, smooth_noise, soft_edge, uniform

PATTERNS = ("none", "ground_glass", "consolidation")
# A pixel is lesion where more than this share of the full density is reached.
LESION_THRESHOLD = 0.35
# Of lesions that are plain to see: the least contrast and the least extent.
PLAIN_CONTRAST, PLAIN_EXTENT = 0.6, 0.2
# Every lung pixel keeps a small chance to be the middle of a lesion: the sum is never 0.
FLOOR = np.float32(1e-4)


class LungField(NamedTuple):
    """Where lesions can lie.

    Attributes:
        grid: where each pixel lies.
        lung: (H, W) coverage of the lungs in [0, 1].
        periphery: (H, W) 0 at the hilum to 1 at the pleura.
        basal: (H, W) 0 to 1 towards the parts that covid prefers (back in CT, bottom in X-rays).
    """

    grid: Grid
    lung: Field
    periphery: Field
    basal: Field


@dataclass(frozen=True)
class Disease:
    """What all images of one patient share.

    Attributes:
        pattern: one of PATTERNS.
        contrast: share of the air of the lung that is replaced, in [0, 1].
        extent: typical radius of a patch in chest units.
        patches: number of patches.
        side: -1 image left, 1 image right, 0 both.
    """

    pattern: str
    contrast: float
    extent: float
    patches: int
    side: int


def draw_disease(pattern: str, rng: np.random.Generator, *, plain: bool = False) -> Disease:
    """The disease of one patient; if `plain`, one that can hardly be overlooked.

    Raises:
        UserError: the pattern is unknown.
    """
    if pattern not in PATTERNS:
        raise UserError(
            f"phantoms: lesion pattern {pattern!r} is unknown; allowed: {', '.join(PATTERNS)}"
        )
    if pattern == "none":
        return Disease(pattern, 0.0, 0.0, 0, 0)
    draw = _draw_ground_glass if pattern == "ground_glass" else _draw_consolidation
    disease = draw(rng)
    if not plain:
        return disease
    return replace(
        disease,
        contrast=max(disease.contrast, PLAIN_CONTRAST),
        extent=max(disease.extent, PLAIN_EXTENT),
    )


def _draw_ground_glass(rng: np.random.Generator) -> Disease:
    contrast = float(np.clip(rng.lognormal(np.log(0.5), 0.4), 0.1, 0.9))
    extent = float(np.clip(rng.lognormal(np.log(0.19), 0.3), 0.08, 0.32))
    one_only = rng.random() < 0.2
    patches = 1 if one_only else int(rng.integers(2, 7))
    return Disease("ground_glass", contrast, extent, patches, 0)


def _draw_consolidation(rng: np.random.Generator) -> Disease:
    contrast = float(np.clip(rng.lognormal(np.log(0.5), 0.4), 0.12, 0.95))
    extent = float(np.clip(rng.lognormal(np.log(0.24), 0.3), 0.1, 0.42))
    return Disease("consolidation", contrast, extent, 1, int(rng.choice((-1, 1))))


def draw_lesions(disease: Disease, field: LungField, rng: np.random.Generator) -> Field:
    """Density of the lesions (H, W) in [0, 1], 0 outside of the lungs."""
    if disease.pattern == "none":
        return np.zeros(field.grid.shape, dtype=np.float32)
    if disease.pattern == "ground_glass":
        density = _ground_glass(disease, field, rng)
    else:
        density = _consolidation(disease, field, rng)
    return density * field.lung


def lesion_mask(density: Field, lung: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) lesion pixels: denser than LESION_THRESHOLD of the maximum, inside the lungs."""
    peak = float(density[lung].max(initial=0.0))
    mask: NDArray[np.bool_] = lung & (density > LESION_THRESHOLD * peak)
    return mask


def _ground_glass(disease: Disease, field: LungField, rng: np.random.Generator) -> Field:
    """Soft, grainy patches at the pleura and the base."""
    grid = field.grid
    chances = _inner(field.lung) * (field.periphery**3 * (0.15 + field.basal) + FLOOR)
    ragged = np.exp(0.35 * smooth_noise(grid.shape, 0.06 / grid.pixel, rng))
    clear = np.ones(grid.shape, dtype=np.float32)
    for _ in range(disease.patches):
        # Never under 2 pixels: every patch is there, whatever the size of the image.
        radius_px = max(disease.extent * uniform(rng, 0.6, 1.4) / grid.pixel, 2.0)
        _clear_patch(clear, ragged, _pick_site(chances, rng), radius_px, rng)
    grain = 1 + 0.3 * smooth_noise(grid.shape, max(0.025 / grid.pixel, 1.0), rng)
    density: Field = np.clip((1 - clear) * grain, 0, 1)
    return density


def _clear_patch(
    clear: Field,
    ragged: Field,
    site: tuple[int, int],
    radius_px: float,
    rng: np.random.Generator,
) -> None:
    """Multiply `clear` by 1 less one soft patch, in place; the patch is longer one way."""
    stretch, turn = uniform(rng, 0.65, 1.0), uniform(rng, 0, np.pi)
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    # Beyond 2.5 radii a patch is below 0.001.
    window = tuple(slice(max(0, int(s - 2.5 * radius_px)), int(s + 2.5 * radius_px)) for s in site)
    rows, columns = (
        np.arange(part.start, min(part.stop, side), dtype=np.float32)
        for part, side in zip(window, clear.shape, strict=True)
    )
    dy, dx = (rows[:, None] - site[0]) / radius_px, (columns - site[1]) / radius_px
    squared = (cos * dx + sin * dy) ** 2 + ((cos * dy - sin * dx) / stretch) ** 2
    # The edge is ragged, the middle is not.
    clear[window] *= 1 - np.exp(-squared * np.sqrt(squared) * ragged[window])


def _consolidation(disease: Disease, field: LungField, rng: np.random.Generator) -> Field:
    """One dense lobe: a large blob of one lung, cut straight by a fissure."""
    grid = field.grid
    one_lung = (grid.x * disease.side > 0).astype(np.float32)
    chances = _inner(field.lung) * one_lung * (field.periphery * (0.4 + field.basal) + FLOOR)
    site = _pick_site(chances, rng)
    dx, dy = grid.x - float(grid.x[site]), grid.y - float(grid.y[site])
    wobble = 0.1 * smooth_noise(grid.shape, 0.08 / grid.pixel, rng)
    radius = np.sqrt(dx**2 + (dy * uniform(rng, 0.8, 1.3)) ** 2)
    blob = soft_edge(disease.extent * (1 + wobble) - radius, 0.16)
    tilt = uniform(rng, -0.5, 0.5) + (0 if rng.random() < 0.5 else np.pi)
    beyond = dx * float(np.sin(tilt)) + dy * float(np.cos(tilt)) + 0.45 * disease.extent
    density: Field = blob * soft_edge(beyond, grid.pixel + 0.012) * one_lung
    grain = 1 + 0.12 * smooth_noise(grid.shape, max(0.02 / grid.pixel, 1.0), rng)
    return np.clip(density * grain, 0, 1)


def _inner(lung: Field) -> Field:
    """(H, W) 1 where a pixel is nearly all lung, else 0: where the middle of a lesion may lie."""
    return (lung >= 0.9).astype(np.float32)


def _pick_site(chances: Field, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of one random pixel, likelier where `chances` (H, W) is large."""
    total = np.cumsum(chances, dtype=np.float64)
    index = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    row, column = divmod(index, chances.shape[1])
    return row, column
