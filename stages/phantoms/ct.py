"""One axial chest CT slice in a lung window, painted in Hounsfield units.

The body is painted from the outside in: air, fat, muscle, bones, lungs with their vessels, lesions,
then noise and the window. All lengths are chest units (half the width of the body is 1).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from stages.dataset.truth import pack_truth
from stages.phantoms.lesions import LungField, draw_disease, draw_lesions, lesion_mask
from stages.phantoms.marker import stamp_marker
from stages.phantoms.picture import Phantom, to_grey
from stages.phantoms.shapes import (
    Ellipse,
    Field,
    Grid,
    draw_image_shape,
    fill,
    inside_ellipse,
    make_grid,
    paint,
    smooth_noise,
    soft_edge,
    uniform,
)
from stages.phantoms.vessels import draw_dots, draw_vessels

# Hounsfield units of the tissues (usual textbook values).
HU_AIR, HU_LUNG, HU_FAT, HU_MUSCLE, HU_BLOOD, HU_BONE = -1000, -860, -100, 50, 40, 450
# Width of the lung window in Hounsfield units; it varies per patient.
WINDOW_WIDTH = 1500
# Thickness of the layer that holds the ribs, chest units.
RIB_LAYER = 0.065


class Scanner(NamedTuple):
    """What a site's images have in common.

    Attributes:
        level: middle of the display window in Hounsfield units; it varies per patient.
        noise_hu: range of the standard deviation of the noise in Hounsfield units.
    """

    level: float
    noise_hu: tuple[float, float]


USUAL_SCANNER = Scanner(level=-550, noise_hu=(12, 50))
LOUD_SCANNER = Scanner(level=-480, noise_hu=(45, 85))  # darker, and drowned in noise


@dataclass(frozen=True)
class CtAnatomy:
    """What all slices of one patient share; lengths in chest units.

    Attributes:
        depth: half the body from front to back.
        squareness: exponent of the body outline, 2 is an ellipse.
        wobble: amplitude and phase of the second, third and fourth harmonic of the outline.
        fat, muscle: thickness of the layers.
        breast: height of the two bumps at the front.
        heart: radius of the heart.
        hilum: half the distance between the two hila.
        spine: half the width of a vertebra.
        lung_hu: Hounsfield units of healthy lung.
        dependent: added Hounsfield units at the back of the lungs, where blood pools.
        branches: vessels of each hilum.
        window: level and width of the display in Hounsfield units.
        noise_hu: standard deviation of the noise in Hounsfield units.
    """

    depth: float
    squareness: float
    wobble: tuple[tuple[float, float], ...]
    fat: float
    muscle: float
    breast: float
    heart: float
    hilum: float
    spine: float
    lung_hu: float
    dependent: float
    branches: int
    window: tuple[float, float]
    noise_hu: float


class Chest(NamedTuple):
    """The regions of one slice, all (H, W).

    Attributes:
        body: distance to the skin, above 0 inside.
        cavity: distance to the chest wall, above 0 inside.
        lung: coverage of the lungs in [0, 1].
        airway: coverage of trachea and main bronchi in [0, 1].
    """

    body: Field
    cavity: Field
    lung: Field
    airway: Field


def draw_ct(
    pattern: str,
    patient_rng: np.random.Generator,
    image_rng: np.random.Generator,
    *,
    size_px: int,
    marker: bool = False,
    plain: bool = False,
    scanner: Scanner = USUAL_SCANNER,
) -> Phantom:
    """One CT slice.

    Args:
        pattern: one of `PATTERNS`.
        patient_rng: anatomy and disease; the same stream gives the same patient.
        image_rng: level of the slice, position, vessels, noise.
        size_px: nominal side in pixels; height and width vary around it.
        marker: whether to plant a marker; all else stays the same.
        plain: whether lesions are at least dense and large enough to be seen at a glance.
        scanner: of the site.

    Raises:
        UserError: the pattern is unknown.
    """
    anatomy_rng, disease_rng = patient_rng.spawn(2)
    view_rng, paint_rng, lesion_rng, marker_rng = image_rng.spawn(4)
    anatomy = draw_ct_anatomy(anatomy_rng, scanner)
    disease = draw_disease(pattern, disease_rng, plain=plain)
    level = uniform(view_rng, 0.1, 0.9)
    grid = _place(anatomy, size_px, view_rng)
    chest = _build_chest(grid, anatomy, level, view_rng)
    density = draw_lesions(disease, _lung_field(grid, anatomy, chest), lesion_rng)
    hounsfield = _paint_slice(grid, anatomy, chest, level, paint_rng)
    hounsfield += disease.contrast * density * np.maximum(HU_BLOOD - hounsfield, 0)
    hounsfield += _noise(grid, anatomy, paint_rng)
    display = _apply_window(hounsfield, anatomy)
    lung = chest.lung > 0.5
    marked = np.zeros(grid.shape, dtype=bool)
    if marker:
        marked = stamp_marker(display, lung, chest.body > -2 * grid.pixel, marker_rng)
    truth = pack_truth(lung, lesion_mask(density, lung), marked)
    return Phantom(to_grey(display), truth)


def draw_ct_anatomy(rng: np.random.Generator, scanner: Scanner) -> CtAnatomy:
    """The anatomy of one patient, and how a scanner shows it."""
    return CtAnatomy(
        depth=uniform(rng, 0.66, 0.84),
        squareness=uniform(rng, 2.0, 2.45),
        wobble=tuple((uniform(rng, 0, 0.01), uniform(rng, 0, 2 * np.pi)) for _ in range(3)),
        fat=uniform(rng, 0.015, 0.08),
        muscle=uniform(rng, 0.02, 0.05),
        breast=max(0.0, uniform(rng, -0.1, 0.09)),
        heart=uniform(rng, 0.29, 0.4),
        hilum=uniform(rng, 0.2, 0.27),
        spine=uniform(rng, 0.12, 0.15),
        lung_hu=HU_LUNG + uniform(rng, -30, 50),
        dependent=uniform(rng, 0, 140),
        branches=int(rng.integers(9, 16)),
        window=(scanner.level + uniform(rng, -80, 80), WINDOW_WIDTH * uniform(rng, 0.9, 1.25)),
        noise_hu=uniform(rng, *scanner.noise_hu),
    )


def _place(anatomy: CtAnatomy, size_px: int, rng: np.random.Generator) -> Grid:
    """Coordinates of a new image with the whole body in it."""
    height, width = draw_image_shape(size_px, rng)
    tallest = anatomy.depth + anatomy.breast
    # Above or below a crop of the lungs there is room for a marker, at the least.
    half_height = max(tallest + 0.03, 1.14 * anatomy.depth + 0.16)
    half_px = uniform(rng, 0.86, 0.96) * min(width / 2, height / 2 / half_height)
    slack_x = (width / 2 - half_px) * 0.5
    slack_y = (height / 2 - half_px * tallest) * 0.5
    center = (
        width / 2 + uniform(rng, -slack_x, slack_x),
        height / 2 + uniform(rng, -slack_y, slack_y) + anatomy.breast * half_px / 2,
    )
    return make_grid((height, width), center, 1 / half_px, uniform(rng, -0.06, 0.06))


def _build_chest(grid: Grid, anatomy: CtAnatomy, level: float, rng: np.random.Generator) -> Chest:
    """Regions of the slice at `level`, 0 the top of the lungs to 1 their base."""
    theta = np.arctan2(grid.y, grid.x)
    outline = np.ones_like(theta)
    for order, (amplitude, phase) in enumerate(anatomy.wobble, start=2):
        outline += np.float32(amplitude) * np.cos(order * theta + np.float32(phase))
    body = _superellipse(grid, 1.0, anatomy.depth, anatomy.squareness, 0.0) + outline - 1
    if anatomy.breast > 0:
        body = np.maximum(body, _breasts(grid, anatomy))
    wall = anatomy.fat + anatomy.muscle + RIB_LAYER
    taper = float(np.interp(level, (0, 0.35, 1), (0.72, 0.97, 1.0)))
    cavity = _superellipse(
        grid, (1 - wall) * taper, (anatomy.depth - wall) * taper, 2.3, 0.01
    ) + 0.6 * (outline - 1)
    airway = _airway(grid, level, anatomy)
    edge = _carve_lungs(grid, anatomy, cavity, level, rng)
    edge += 0.012 * smooth_noise(grid.shape, 0.12 / grid.pixel, rng)
    return Chest(body, cavity, soft_edge(edge, 1.5 * grid.pixel), airway)


def _superellipse(grid: Grid, rx: float, ry: float, power: float, shift: float) -> Field:
    """Distance to the edge of a superellipse moved down by `shift`, above 0 inside."""
    terms = np.abs(grid.x / rx) ** power + np.abs((grid.y - shift) / ry) ** power
    distance: Field = (1 - terms ** np.float32(1 / power)) * np.float32(min(rx, ry))
    return distance


def _breasts(grid: Grid, anatomy: CtAnatomy) -> Field:
    """Distance to the edge of two flat bumps at the front, above 0 inside."""
    mirrored = grid._replace(x=np.abs(grid.x))
    top = -anatomy.depth * 0.8
    return inside_ellipse(mirrored, Ellipse(0.42, top, 0.32, 0.12 + anatomy.breast))


def _carve_lungs(
    grid: Grid, anatomy: CtAnatomy, cavity: Field, level: float, rng: np.random.Generator
) -> Field:
    """Distance to the edge of the lungs: the cavity less all that lies in it."""
    edge = np.minimum(cavity, np.abs(grid.x) - _mediastinum_half_width(grid, anatomy, level))
    for organ in _organs(anatomy, level, rng):
        edge = np.minimum(edge, -inside_ellipse(grid, organ))
    return edge


def _mediastinum_half_width(grid: Grid, anatomy: CtAnatomy, level: float) -> Field:
    """Half the width (H, W) of the band between the lungs: narrow in front, wide at the spine."""
    middle = float(np.interp(level, (0.1, 0.3, 0.5, 1), (0.24, 0.2, 0.15, 0.14)))
    front = float(np.interp(level, (0.1, 0.35, 0.6, 1), (0.2, 0.03, 0.05, 0.15)))
    stops = np.array((-0.9, -0.35, 0.0, 0.3, 0.6)) * anatomy.depth
    widths = (front, front, middle, anatomy.spine, anatomy.spine * 0.8)
    band: Field = np.interp(grid.y, stops, widths).astype(np.float32)
    return band


def _organs(anatomy: CtAnatomy, level: float, rng: np.random.Generator) -> list[Ellipse]:
    """What pushes into the lungs at this level."""
    spine_y = anatomy.depth * 0.52
    organs = [
        Ellipse(0, spine_y + 0.08, anatomy.spine + 0.07, 0.26),
        Ellipse(0.14, spine_y - 0.14, 0.09, 0.1),  # descending aorta
    ]
    if 0.15 < level < 0.4:  # arch of the aorta
        organs.append(Ellipse(0.1, -0.1, 0.2, 0.24, 0.5))
    if 0.3 < level < 0.62:
        organs += [Ellipse(s * anatomy.hilum, 0.06, 0.09, 0.11) for s in (-1, 1)]
    if level > 0.4:
        size = anatomy.heart * float(np.interp(level, (0.4, 0.6, 1), (0.75, 1.0, 0.95)))
        organs.append(
            Ellipse(0.12 + uniform(rng, -0.03, 0.05), -0.16, size * 1.1, size * 0.92, 0.55)
        )
    if level > 0.72:  # the domes of the diaphragm with liver and stomach
        rise = (level - 0.72) / 0.28
        organs.append(Ellipse(-0.4, -0.1, 0.15 + 0.35 * rise, 0.12 + 0.3 * rise))
        organs.append(Ellipse(0.45, -0.06, 0.05 + 0.25 * rise, 0.05 + 0.25 * rise))
    return organs


def _airway(grid: Grid, level: float, anatomy: CtAnatomy) -> Field:
    """Trachea at the top, two main bronchi below it, nothing at the base."""
    if level < 0.38:
        return fill(grid, Ellipse(0.0, 0.06, 0.055, 0.06))
    if level < 0.58:
        gap = float(np.interp(level, (0.38, 0.58), (0.06, anatomy.hilum - 0.03)))
        sides = [fill(grid, Ellipse(s * gap, 0.08, 0.042, 0.038)) for s in (-1, 1)]
        return np.maximum(*sides)
    return np.zeros(grid.shape, dtype=np.float32)


def _lung_field(grid: Grid, anatomy: CtAnatomy, chest: Chest) -> LungField:
    """Where lesions may lie: near the chest wall, and rather at the back."""
    periphery = np.clip(1 - chest.cavity / np.float32(0.45), 0, 1)
    back = np.clip(0.45 + 0.55 * grid.y / np.float32(anatomy.depth * 0.6), 0, 1)
    return LungField(grid, chest.lung, periphery, back)


def _paint_slice(
    grid: Grid, anatomy: CtAnatomy, chest: Chest, level: float, rng: np.random.Generator
) -> Field:
    """Healthy slice in Hounsfield units, without noise."""
    canvas = np.full(grid.shape, HU_AIR, dtype=np.float32)
    _paint_table(canvas, grid, anatomy, rng)
    paint(canvas, HU_FAT, soft_edge(chest.body, grid.pixel))
    paint(canvas, HU_MUSCLE, soft_edge(chest.body - anatomy.fat, grid.pixel + 0.01))
    _paint_bones(canvas, grid, anatomy, chest, rng)
    _paint_lungs(canvas, grid, anatomy, chest, rng)
    paint(canvas, HU_AIR, chest.airway)
    return canvas


def _paint_table(canvas: Field, grid: Grid, anatomy: CtAnatomy, rng: np.random.Generator) -> None:
    """A thin curved line below the body, in about half of the slices."""
    if rng.random() < 0.5:
        return
    sag = uniform(rng, 0.0, 0.12)
    top = anatomy.depth + uniform(rng, 0.03, 0.08)
    line = soft_edge(0.012 - np.abs(grid.y - top + sag * grid.x**2), grid.pixel + 0.01)
    paint(canvas, uniform(rng, -700, -250), line)


def _paint_bones(
    canvas: Field, grid: Grid, anatomy: CtAnatomy, chest: Chest, rng: np.random.Generator
) -> None:
    """Ribs around the cavity, breastbone and a vertebra."""
    theta = np.arctan2(grid.y, grid.x)
    depth_in_wall = -chest.cavity
    ring = soft_edge(0.022 - np.abs(depth_in_wall - 0.035), grid.pixel + 0.01)
    phase = uniform(rng, 0, 2 * np.pi)
    slant = 10 * depth_in_wall
    cut = np.cos(11 * theta + slant + phase + 1.2 * smooth_noise(grid.shape, 0.5 / grid.pixel, rng))
    paint(canvas, HU_BONE, ring * soft_edge(cut + 0.25, 0.5))
    front = -_cavity_depth(anatomy) - 0.045
    paint(canvas, HU_BONE, fill(grid, Ellipse(0, front, 0.1, 0.03)))
    _paint_vertebra(canvas, grid, anatomy)


def _paint_vertebra(canvas: Field, grid: Grid, anatomy: CtAnatomy) -> None:
    """Body, arch, canal, and the transverse and spinous processes."""
    wide, y = anatomy.spine, anatomy.depth * 0.52
    for part in (
        Ellipse(0, y, wide, wide * 0.8),
        Ellipse(0, y + wide * 1.05, wide * 1.6, wide * 0.22),
        Ellipse(0, y + wide * 1.1, wide * 0.7, wide * 0.6),
        Ellipse(0, y + wide * 1.9, wide * 0.2, wide * 0.6),
    ):
        paint(canvas, HU_BONE, fill(grid, part))
    paint(canvas, HU_MUSCLE, fill(grid, Ellipse(0, y + wide * 1.1, wide * 0.42, wide * 0.34)))


def _paint_lungs(
    canvas: Field, grid: Grid, anatomy: CtAnatomy, chest: Chest, rng: np.random.Generator
) -> None:
    """Lung tissue, denser at the back, with vessels, now and then a nodule or calcified spot."""
    back = np.clip(grid.y / np.float32(anatomy.depth * 0.75), 0, 1)
    tissue = anatomy.lung_hu + anatomy.dependent * back**3
    tissue += 12 * smooth_noise(grid.shape, 0.2 / grid.pixel, rng)
    hila = [(side * anatomy.hilum * 0.9, 0.05) for side in (-1.0, 1.0)]
    vessels = draw_vessels(grid, hila, anatomy.branches, 0.45, rng)
    vessels = np.maximum(vessels, draw_dots(grid, int(rng.integers(15, 40)), 0.014, rng))
    paint(tissue, HU_BLOOD, vessels)
    _paint_spots(tissue, grid, rng)
    canvas += chest.lung * (tissue - canvas)


def _paint_spots(tissue: Field, grid: Grid, rng: np.random.Generator) -> None:
    """Harmless nodules and calcified spots, in every class alike."""
    for value, chance, radius in ((HU_BLOOD, 0.25, 0.028), (HU_BONE, 0.15, 0.016)):
        if rng.random() < chance:
            x, y = uniform(rng, -0.75, 0.75), uniform(rng, -0.4, 0.4)
            paint(tissue, value, fill(grid, Ellipse(x, y, radius, radius), 0.01))


def _noise(grid: Grid, anatomy: CtAnatomy, rng: np.random.Generator) -> Field:
    """Noise in Hounsfield units, correlated over about a pixel as after reconstruction."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    # A Gaussian of 0.6 pixel leaves about half of the standard deviation of white noise.
    noise: Field = ndimage.gaussian_filter(white, 0.6, truncate=2.5) * (2 * anatomy.noise_hu)
    return noise


def _apply_window(hounsfield: Field, anatomy: CtAnatomy) -> Field:
    """Grey in [0, 1] of a display window, before clipping."""
    level, width = anatomy.window
    display: Field = (hounsfield - np.float32(level - width / 2)) / np.float32(width)
    return display


def _cavity_depth(anatomy: CtAnatomy) -> float:
    """Half the depth of the chest cavity in chest units."""
    return anatomy.depth - anatomy.fat - anatomy.muscle - RIB_LAYER
