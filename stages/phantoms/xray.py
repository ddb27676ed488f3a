"""One frontal chest X-ray, painted as the thickness of tissue that the rays cross.

Attenuations add up along a ray: the trunk, less the air of the lungs, plus heart, bones and
lesions. The display is bright where little passes. Lengths are chest units (1 is half the width of
the chest); attenuation 1 is the middle of the trunk.
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
    smooth_noise,
    soft_edge,
    uniform,
)
from stages.phantoms.vessels import draw_vessels

# Attenuation that the air of a lung takes away where the lung is thickest.
LUNG_AIR = 0.7


@dataclass(frozen=True)
class XrayAnatomy:
    """What all X-rays of one patient share; lengths in chest units, y grows downwards.

    Attributes:
        trunk: half the width of the trunk.
        apex: y of the top of the lungs.
        dome: y of the top of the diaphragm on the image left and right.
        width: half the width of the rib cage inside.
        heart: radius of the heart.
        mediastinum: half the width of the band between the lungs at the top.
        rib_spacing: distance of two ribs.
        rib_contrast, spine_contrast, vessel_contrast: attenuation they add.
        breast: attenuation of the breast shadows, 0 for none.
        clavicle: y of the middle of the clavicles.
        gamma: exponent of the display.
    """

    trunk: float
    apex: float
    dome: tuple[float, float]
    width: float
    heart: float
    mediastinum: float
    rib_spacing: float
    rib_contrast: float
    spine_contrast: float
    vessel_contrast: float
    breast: float
    clavicle: float
    gamma: float


class Chest(NamedTuple):
    """Regions of one X-ray, all (H, W).

    Attributes:
        side: -1 on the image left, 1 on the image right.
        across: distance from the middle of the chest, above 0 on both sides.
        cage: distance to the inside of the rib cage, above 0 inside.
        edge: distance to the edge of the lung fields, above 0 inside.
        lung: coverage of the lung fields in [0, 1].
        below: distance below the diaphragm, above 0 in the abdomen.
    """

    side: Field
    across: Field
    cage: Field
    edge: Field
    lung: Field
    below: Field


def draw_xray(
    pattern: str,
    patient_rng: np.random.Generator,
    image_rng: np.random.Generator,
    *,
    size_px: int,
    marker: bool = False,
    plain: bool = False,
) -> Phantom:
    """One frontal chest X-ray.

    Args:
        pattern: one of `PATTERNS`.
        patient_rng: anatomy and disease; the same stream gives the same patient.
        image_rng: position, breath, exposure, vessels, noise.
        size_px: nominal side in pixels; height and width vary around it.
        marker: whether to plant a marker; all else stays the same.
        plain: whether lesions are at least dense and large enough to be seen at a glance.

    Raises:
        UserError: the pattern is unknown.
    """
    anatomy_rng, disease_rng = patient_rng.spawn(2)
    view_rng, paint_rng, lesion_rng, marker_rng = image_rng.spawn(4)
    anatomy = draw_xray_anatomy(anatomy_rng)
    disease = draw_disease(pattern, disease_rng, plain=plain)
    grid = _place(size_px, view_rng)
    chest = _build_chest(grid, anatomy, view_rng)
    density = draw_lesions(disease, _lung_field(grid, anatomy, chest), lesion_rng)
    thickness = _paint_chest(grid, anatomy, chest, paint_rng)
    thickness += disease.contrast * LUNG_AIR * density
    display = _expose(thickness, anatomy, paint_rng)
    lung = chest.lung > 0.5
    marked = np.zeros(grid.shape, dtype=bool)
    if marker:
        marked = stamp_marker(display, lung, np.zeros_like(lung), marker_rng)
    truth = pack_truth(lung, lesion_mask(density, lung), marked)
    return Phantom(to_grey(display), truth)


def draw_xray_anatomy(rng: np.random.Generator) -> XrayAnatomy:
    """The anatomy of one patient."""
    right_dome = uniform(rng, 0.25, 0.38)
    return XrayAnatomy(
        trunk=uniform(rng, 0.95, 1.25),
        apex=uniform(rng, -0.76, -0.64),
        dome=(right_dome, right_dome + uniform(rng, 0.0, 0.07)),
        width=uniform(rng, 0.63, 0.73),
        heart=uniform(rng, 0.27, 0.38),
        mediastinum=uniform(rng, 0.1, 0.15),
        rib_spacing=uniform(rng, 0.12, 0.16),
        rib_contrast=uniform(rng, 0.05, 0.12),
        spine_contrast=uniform(rng, 0.06, 0.16),
        vessel_contrast=uniform(rng, 0.06, 0.14),
        breast=max(0.0, uniform(rng, -0.1, 0.12)),
        clavicle=uniform(rng, -0.66, -0.56),
        gamma=uniform(rng, 0.85, 1.5),
    )


def _place(size_px: int, rng: np.random.Generator) -> Grid:
    """Coordinates of a new image with both lungs in it."""
    height, width = draw_image_shape(size_px, rng)
    half_px = uniform(rng, 0.98, 1.1) * min(width, height) / 2
    center = (
        width / 2 + uniform(rng, -0.03, 0.03) * half_px,
        height / 2 + uniform(rng, -0.1, -0.02) * half_px,
    )
    return make_grid((height, width), center, 1 / half_px, uniform(rng, -0.05, 0.05))


def _build_chest(grid: Grid, anatomy: XrayAnatomy, rng: np.random.Generator) -> Chest:
    """Lung fields between ribs, mediastinum, heart and diaphragm, at a random depth of breath."""
    breath = uniform(rng, -0.06, 0.04)
    side = np.where(grid.x < 0, np.float32(-1), np.float32(1))
    across = np.abs(grid.x)
    cage = _rib_cage(grid, anatomy) - across
    domes = [dome + breath + 0.9 * (across - 0.3) ** 2 for dome in anatomy.dome]
    below = grid.y - np.where(side < 0, *domes)
    edge = np.minimum(cage, -below)
    edge = np.minimum(edge, across - _mediastinum(grid, anatomy))
    apex = grid.y - anatomy.apex - 3.5 * (across - 0.3) ** 2
    edge = np.minimum(edge, 0.6 * apex)
    for organ in _organs(anatomy, breath):
        edge = np.minimum(edge, -inside_ellipse(grid, organ))
    edge += 0.01 * smooth_noise(grid.shape, 0.12 / grid.pixel, rng)
    return Chest(side, across, cage, edge, soft_edge(edge, 0.03 + grid.pixel), below)


def _rib_cage(grid: Grid, anatomy: XrayAnatomy) -> Field:
    """Half the width (H, W) of the inside of the rib cage: a barrel, narrow at the top."""
    rise = np.clip((0.35 - grid.y) / np.float32(0.35 - anatomy.apex + 0.05), 0, 1)
    cage: Field = np.float32(anatomy.width) * (1 - rise**2.8) ** np.float32(0.55)
    return cage


def _mediastinum(grid: Grid, anatomy: XrayAnatomy) -> Field:
    """Half the width (H, W) of the shadow in the middle, wider at the hila."""
    hilum = 0.07 * np.exp(-(((grid.y + 0.08) / 0.16) ** 2))
    band: Field = np.float32(anatomy.mediastinum) + hilum
    return band


def _organs(anatomy: XrayAnatomy, breath: float) -> list[Ellipse]:
    """Heart, its right border and the knob of the aorta."""
    y = anatomy.dome[1] + breath - 0.55 * anatomy.heart
    return [
        Ellipse(0.13, y, anatomy.heart * 1.15, anatomy.heart * 0.92, 0.6),
        Ellipse(-0.04, y - 0.02, anatomy.heart * 0.62, anatomy.heart * 0.95),
        Ellipse(0.1, -0.33, 0.1, 0.11),
    ]


def _lung_field(grid: Grid, anatomy: XrayAnatomy, chest: Chest) -> LungField:
    """Where lesions may lie: near the ribs, and rather at the bottom."""
    periphery = np.clip((chest.across - 0.2) / np.float32(anatomy.width - 0.25), 0, 1)
    bottom = np.clip((grid.y - np.float32(anatomy.apex)) / np.float32(1.1), 0, 1) ** 1.5
    return LungField(grid, chest.lung, periphery, bottom)


def _paint_chest(grid: Grid, anatomy: XrayAnatomy, chest: Chest, rng: np.random.Generator) -> Field:
    """Attenuation of a healthy chest (H, W)."""
    body = _trunk(grid, anatomy)
    canvas = body * (0.75 + 0.25 * np.sqrt(np.clip(1 - (grid.x / anatomy.trunk) ** 2, 0, 1)))
    canvas -= body * LUNG_AIR * chest.lung * _air_depth(chest)
    canvas += 0.3 * soft_edge(chest.below, 0.08) * body
    canvas += 0.12 * fill(grid, _organs(anatomy, 0.0)[0], 0.15)
    _paint_spine(canvas, grid, anatomy)
    _paint_ribs(canvas, grid, anatomy, chest)
    _paint_clavicles(canvas, grid, anatomy, chest, rng)
    _paint_vessels(canvas, grid, anatomy, chest, rng)
    _paint_extras(canvas, grid, anatomy, chest, rng)
    canvas += 0.02 * smooth_noise(grid.shape, 0.25 / grid.pixel, rng)
    return canvas


def _trunk(grid: Grid, anatomy: XrayAnatomy) -> Field:
    """Coverage of the body (H, W): neck, sloping shoulders, trunk."""
    across = np.abs(grid.x)
    shoulders = grid.y + 0.92 - 0.34 * np.clip(across - 0.2, 0, None) ** 1.3
    neck = 0.27 - across
    above = np.maximum(shoulders, neck)
    # Arms and shoulders are wider than the trunk below them.
    half_width = anatomy.trunk + 0.25 * np.clip(-grid.y - 0.1, 0, 1)
    body: Field = soft_edge(np.minimum(above, half_width - across), 0.1)
    return body


def _air_depth(chest: Chest) -> Field:
    """Share of the full depth of air (H, W): a lung is thin at its edges."""
    depth: Field = 0.55 + 0.45 * np.sqrt(np.clip(chest.edge / np.float32(0.25), 0, 1))
    return depth


def _paint_spine(canvas: Field, grid: Grid, anatomy: XrayAnatomy) -> None:
    """Vertebrae: a band in the middle with a rhythm along it."""
    band = soft_edge(0.095 - np.abs(grid.x), 0.05)
    rhythm = 0.8 + 0.2 * np.cos(2 * np.pi / 0.13 * grid.y)
    canvas += anatomy.spine_contrast * band * rhythm
    canvas += 0.08 * soft_edge(0.17 - np.abs(grid.x), 0.12)
    airway = soft_edge(0.035 - np.abs(grid.x), 0.03) * soft_edge(-0.2 - grid.y, 0.1)
    canvas -= 0.08 * airway


def _paint_ribs(canvas: Field, grid: Grid, anatomy: XrayAnatomy, chest: Chest) -> None:
    """Ten pairs of ribs: back parts that bend down outwards, fainter front parts the other way."""
    inside = soft_edge(chest.cage + 0.05, 0.05) * soft_edge(0.55 - grid.y, 0.2)
    inside *= soft_edge(chest.across - 0.09, 0.04)
    back = (grid.y + 0.12 * chest.across - 0.75 * chest.across**2) / anatomy.rib_spacing
    front = (grid.y - 0.45 * (anatomy.width - chest.across)) / (1.25 * anatomy.rib_spacing)
    outer = soft_edge(chest.across - 0.3, 0.2)
    canvas += anatomy.rib_contrast * inside * _stripes(back)
    canvas += 0.6 * anatomy.rib_contrast * inside * outer * _stripes(front)


def _stripes(phase: Field) -> Field:
    """Ribs (H, W) in [0, 1], one for each whole number of the phase, with brighter edges."""
    wave = np.cos(np.float32(2 * np.pi) * phase)
    stripes: Field = soft_edge(wave - 0.2, 0.6) * (1.2 - 0.4 * np.clip(wave, 0, 1))
    return stripes


def _paint_clavicles(
    canvas: Field, grid: Grid, anatomy: XrayAnatomy, chest: Chest, rng: np.random.Generator
) -> None:
    """Two clavicles in a slight S, from the breastbone up to the shoulders."""
    lift = uniform(rng, 0.08, 0.25)
    middle = anatomy.clavicle + 0.1 - lift * chest.across + 0.04 * np.sin(7 * chest.across)
    band = soft_edge(0.032 - np.abs(grid.y - middle), 0.02)
    span = soft_edge(chest.across - 0.1, 0.05) * soft_edge(0.85 - chest.across, 0.1)
    canvas += 0.13 * band * span
    blade = inside_ellipse(grid._replace(x=chest.across), Ellipse(0.8, -0.35, 0.14, 0.34, 0.25))
    canvas += 0.08 * soft_edge(blade, 0.06)


def _paint_vessels(
    canvas: Field, grid: Grid, anatomy: XrayAnatomy, chest: Chest, rng: np.random.Generator
) -> None:
    """Vessels that fan out from the hila, faint against the air."""
    hila = [(-0.19, -0.06), (0.2, -0.09)]
    canvas += anatomy.vessel_contrast * draw_vessels(grid, hila, 12, 0.7, rng) * chest.lung
    for x, y in hila:
        size = uniform(rng, 0.08, 0.12)
        canvas += 0.1 * fill(grid, Ellipse(x, y, size * 0.8, size * 1.3), 0.12)


def _paint_extras(
    canvas: Field, grid: Grid, anatomy: XrayAnatomy, chest: Chest, rng: np.random.Generator
) -> None:
    """Breasts, stomach bubble, nodule and cable: in every class alike."""
    mirrored = grid._replace(x=chest.across)
    if anatomy.breast:
        shadow = fill(mirrored, Ellipse(0.42, 0.2, 0.36, 0.33), 0.08)
        canvas += anatomy.breast * shadow * soft_edge(grid.y, 0.5)
    if rng.random() < 0.5:
        x, size = uniform(rng, 0.25, 0.45), uniform(rng, 0.06, 0.13)
        bubble = Ellipse(x, anatomy.dome[1] + 0.12 + size, size * 1.3, size)
        canvas -= 0.2 * fill(grid, bubble, 0.04)
    if rng.random() < 0.3:
        place = Ellipse(uniform(rng, -0.6, 0.6), uniform(rng, -0.5, 0.3), 0.03, 0.03)
        canvas += uniform(rng, 0.08, 0.2) * fill(grid, place, 0.02)
    if rng.random() < 0.15:
        bend, x = uniform(rng, -0.5, 0.5), uniform(rng, -0.5, 0.5)
        cable = soft_edge(0.006 - np.abs(grid.x - x - bend * grid.y**2), grid.pixel + 0.006)
        canvas += 0.2 * cable


def _expose(thickness: Field, anatomy: XrayAnatomy, rng: np.random.Generator) -> Field:
    """Grey in [0, 1]: stretched between percentiles, bent by gamma, with noise and black bars."""
    low, high = np.percentile(thickness[::2, ::2], (1, 99))
    low, high = low - uniform(rng, 0, 0.15), high + uniform(rng, -0.05, 0.15)
    display = np.clip((thickness - np.float32(low)) / np.float32(high - low), 0, 1)
    display **= np.float32(anatomy.gamma)
    white = rng.standard_normal(display.shape, dtype=np.float32)
    grain = ndimage.gaussian_filter(white, 0.6, truncate=2.5)
    display += np.float32(uniform(rng, 0.01, 0.035)) * grain
    _paint_bars(display, rng)
    return display


def _paint_bars(display: Field, rng: np.random.Generator) -> None:
    """Black bars at the left and right, or at the top and bottom, in a third of the images."""
    if rng.random() > 1 / 3:
        return
    across = rng.random() < 0.5
    bars = display.T if across else display
    for end in (slice(None, round(uniform(rng, 0, 0.05) * len(bars))), _tail(bars, rng)):
        bars[end] = 0


def _tail(bars: Field, rng: np.random.Generator) -> slice:
    """The last rows of a picture, up to 5 % of them."""
    return slice(len(bars) - round(uniform(rng, 0, 0.05) * len(bars)), None)
