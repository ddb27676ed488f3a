"""Lungs in a frontal chest X-ray: a mean lung outline, placed by contrast, then bent to the edges.

1. Two polygons drawn from anatomy (PA view, full inspiration) give the expected lung fields.
2. They are moved and scaled over the picture; the place where both fields are darkest against the
   ring around them (mediastinum, chest wall, diaphragm) is kept.
3. Each outline is then bent along rays from its centre by dynamic programming: a smooth closed
   curve that takes in dark pixels, follows dark-to-bright edges and stays near the mean outline
   (the idea of active shapes, Cootes et al. 1995, with a fixed instead of a learnt shape prior).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.draw import polygon2mask

Floats = NDArray[np.floating]

# Outlines as (u, v): u from -1 to 1 across both lungs, 0 the spine; v from 0 (apex) to 1
# (costophrenic angle). Left in the picture is the patient's right lung; the other one leaves room
# for the heart. Drawn by hand, not fitted to any data.
OUTLINES = (
    np.array(
        [(-0.42, 0.00), (-0.28, 0.04), (-0.19, 0.16), (-0.17, 0.32), (-0.19, 0.52), (-0.24, 0.70),
         (-0.27, 0.84), (-0.45, 0.82), (-0.66, 0.85), (-0.84, 0.92), (-0.96, 1.00), (-1.00, 0.88),
         (-0.98, 0.66), (-0.92, 0.44), (-0.81, 0.22), (-0.66, 0.07), (-0.54, 0.01)]
    ),
    np.array(
        [(0.42, 0.00), (0.28, 0.04), (0.20, 0.16), (0.21, 0.28), (0.20, 0.38), (0.27, 0.52),
         (0.42, 0.66), (0.52, 0.80), (0.58, 0.90), (0.72, 0.89), (0.86, 0.94), (0.96, 1.00),
         (1.00, 0.88), (0.98, 0.66), (0.92, 0.44), (0.81, 0.22), (0.66, 0.07), (0.54, 0.01)]
    ),
)  # fmt: skip

# Air outside of the body is below these shares of the bright end of the grey levels
# (the arms hide less of what is seen from below, where the liver guards the lungs).
SIDE_FRAC = 0.25
BELOW_FRAC = 0.35
OUTSIDE_FILL = 0.7  # what replaces it: as bright as a chest wall, or it would pass for a lung
# Window of the local mean and spread, of the longest side: somewhat less than one lung wide.
# This, the level, two of the weights below and OUTWARDS were chosen by the mean Dice on the 24
# even-numbered of 48 masks of V7 Labs, such that that on phantoms stays as it was; tests/benchmarks
# has the figures of the other 24.
LOCAL_FRAC = 0.3
SPREAD_FLOOR = 0.05  # added to the local spread, so that noise in a blank area stays small

# Longest side at which the placement is searched; the FFT has room for the largest outline.
SEARCH_PX = 40
FFT_SHAPE = (80, 80)
# Half-widths and heights of both lungs tried, as shares of the longest side of the picture.
HALF_WIDTHS = (0.24, 0.28, 0.32, 0.36, 0.40, 0.44)
HEIGHTS = (0.38, 0.46, 0.54, 0.62, 0.70, 0.78)
# Width of both lungs over height: 0.9 in deep inspiration, 1.9 lying in bed.
ASPECT_LIMITS = (0.85, 1.9)
RING_FRAC = 0.16  # width of the ring around a lung, of the half-width
OFF_TOP_PX = 6  # how far an outline with its ring may begin outside of the picture
# A larger lung of the same contrast is the better find: contrast x area ** 0.3.
SIZE_POWER = 0.3
ASYMMETRY_WEIGHT = 0.15  # how much a difference between the two sides counts against a place
# The lungs' centre is near the picture's: the weight falls to 0 at these shares of its sides.
CENTRE_Y_FRAC = 0.48
CENTRE_REACH = (0.6, 0.35)  # (vertical, horizontal)

N_RAYS = 48
RAY_AXES = np.array([0.42, 0.5])  # half-axes (u, v) of an ellipse about as large as one lung
RADII = np.linspace(0.4, 1.6, 31)  # 1 is the mean outline
INNER = RADII < 0.85
OUTER = (RADII > 1.1) & (RADII < 1.35)
# The level between lung and surroundings, from lung (0) to surroundings (1); above the middle
# because the lower lung is brighter than the rest (breast, liver behind it).
LEVEL_FRACTION = 0.9
REGION_WEIGHT, EDGE_WEIGHT, SHAPE_WEIGHT, STEP_WEIGHT = 4.0, 1.0, 0.1, 0.15
SHAPE_SPREAD = 0.2  # radius that costs one SHAPE_WEIGHT
MAX_STEP = 2  # radii between neighbouring rays
N_BENDS = 2
OUTWARDS = 1.02  # by how much the last curves are larger than those of the least cost

# A lung is this much darker than the ring around it, in local spreads. In a draw of 300 public
# X-rays (Ozturk et al. 2020) 5 % were under it, mostly with a white lung or a misplaced outline.
MIN_CONTRAST = 0.6
CONTRAST_RING_FRAC = 0.05  # width of that ring, of the longest side
# The smaller lung has at least this share of the larger one (heart, raised diaphragm).
MIN_LUNG_RATIO = 0.3


class Frame(NamedTuple):
    """Where an outline lies: x = centre_x + u half_width, y = top_y + v height, in pixels."""

    centre_x: float
    top_y: float
    half_width: float
    height: float

    def to_pixels(self, points: Floats) -> Floats:
        """Turn (..., 2) points (u, v) into (..., 2) pixel positions (y, x)."""
        y = self.top_y + points[..., 1] * self.height
        return np.stack([y, self.centre_x + points[..., 0] * self.half_width], axis=-1)


class Kernels(NamedTuple):
    """Transformed contrast kernels of K sizes and where the outline lies in each."""

    transforms: NDArray[np.complex64]  # (K, 2, FFT)
    frames: list[Frame]


class Rays(NamedTuple):
    """The mean outlines seen from their centres, in (u, v)."""

    centres: Floats  # (2, 2)
    steps: Floats  # (2, N_RAYS, 2): from the centre to the outline


def find_lungs_xray(image: NDArray[np.float32]) -> tuple[NDArray[np.bool_], str]:
    """Give the lungs of one picture.

    Args:
        image: (H, W) grey levels 0-255, without padding; about 100 px on the longest side.

    Returns:
        (H, W) mask, and why it is in doubt ("" if it is not).
    """
    flat = flatten_contrast(image)
    curves = bend_outlines(flat, place_outlines(flat))
    lungs = [polygon2mask(flat.shape, curve) for curve in curves]
    return lungs[0] | lungs[1], doubt_of_lungs(flat, lungs)


def doubt_of_lungs(flat: Floats, lungs: list[NDArray[np.bool_]]) -> str:
    """Say why two lungs are not to be trusted, or "" if they are."""
    contrasts = [compute_contrast(flat, lung) for lung in lungs]
    low, high = min(contrasts), max(contrasts)
    if low < MIN_CONTRAST:
        found = "one lung" if high >= MIN_CONTRAST else "no lungs found"
        return f"{found}: contrast {low:.2f} under {MIN_CONTRAST:.2f}"
    small, large = sorted(int(lung.sum()) for lung in lungs)
    if small < MIN_LUNG_RATIO * large:
        return f"one lung: the smaller has {small / large:.0%} of the larger"
    return ""


def compute_contrast(flat: Floats, lung: NDArray[np.bool_]) -> float:
    """Give how much darker a lung is than the ring around it, in local spreads (0 if empty)."""
    if not lung.any():
        return 0.0
    width = max(2, round(CONTRAST_RING_FRAC * max(flat.shape)))
    ring = (ndimage.distance_transform_edt(~lung) <= width) & ~lung
    return float(flat[ring].mean() - flat[lung].mean()) if ring.any() else 0.0


def flatten_contrast(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give (H, W) local contrast within -2..2: grey level minus local mean over local spread."""
    outside = outside_air(image)
    body = image if outside.all() else image[~outside]
    low, high = np.percentile(body, (2, 98))
    level = np.clip((image - low) / max(high - low, 1.0), 0, 1).astype(np.float32)
    level[outside] = OUTSIDE_FILL
    window = round(LOCAL_FRAC * max(image.shape))
    deviation = level - blur(level, window)
    spread = np.sqrt(blur(deviation**2, window)) + SPREAD_FLOOR
    return np.clip(deviation / spread, -2, 2)


def blur(image: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Average twice over a square window: close to a Gaussian and cheap at any width."""
    once = ndimage.uniform_filter(image, window, mode="nearest")
    return ndimage.uniform_filter(once, window, mode="nearest")


def outside_air(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Give what is dark from the left, right or lower border on, in a straight line.

    Straight lines from there reach the gaps between arms and chest, but no lung: ribs, liver and
    heart lie before it. From above, a dark neck could open the way into the apices.
    """
    bright = np.percentile(image, 98)
    dark, dim = image < SIDE_FRAC * bright, image < BELOW_FRAC * bright
    run = np.logical_and.accumulate
    from_left, from_right = run(dark, axis=1), run(dark[:, ::-1], axis=1)[:, ::-1]
    return from_left | from_right | run(dim[::-1], axis=0)[::-1]


def place_outlines(flat: NDArray[np.float32]) -> Frame:
    """Give the place and size of the mean outlines with the best contrast, in pixels of `flat`."""
    scale = max(flat.shape) / SEARCH_PX
    small = ndimage.zoom(
        ndimage.uniform_filter(flat, round(scale)),
        1 / scale,
        order=1,
        mode="nearest",
        grid_mode=True,
    )
    kernels = build_kernels()
    scores = score_places(small, kernels)
    best, y, x = np.unravel_index(np.argmax(scores), scores.shape)
    at = kernels.frames[best]
    centre_x, top_y = at.centre_x + x - OFF_TOP_PX, at.top_y + y - OFF_TOP_PX
    return Frame(*(scale * np.array([centre_x, top_y, at.half_width, at.height])))


def score_places(small: NDArray[np.float32], kernels: Kernels) -> NDArray[np.float32]:
    """Score every size (K) at every place of its kernel's corner, OFF_TOP_PX before the picture on.

    Returns:
        (K, H + OFF_TOP_PX, W + OFF_TOP_PX); grows with contrast, size, symmetry and centring.
    """
    transform = fft.rfft2(small, FFT_SHAPE)
    contrasts = fft.irfft2(transform * kernels.transforms, FFT_SHAPE)  # (K, 2, 80, 80)
    rows, columns = (np.arange(-OFF_TOP_PX, side) for side in small.shape)
    right, left = np.moveaxis(contrasts[:, :, rows[:, None], columns], 1, 0)
    scores = (right + left) / 2 - ASYMMETRY_WEIGHT * np.abs(right - left)
    return scores * weigh_places(rows, columns, kernels.frames)


def weigh_places(
    rows: NDArray[np.integer], columns: NDArray[np.integer], frames: list[Frame]
) -> NDArray[np.float32]:
    """Give (K, H, W) weights from 0: larger for large outlines near the middle of the picture."""
    centre_x, top_y, half_width, height = np.array(frames, dtype=np.float32).T[:, :, None, None]
    n_rows, n_columns = rows[-1] + 1, columns[-1] + 1
    off_y = (rows[:, None] + top_y + height / 2) / n_rows - CENTRE_Y_FRAC
    off_x = (columns + centre_x) / n_columns - 0.5
    centred = 1 - (off_y / CENTRE_REACH[0]) ** 2 - (off_x / CENTRE_REACH[1]) ** 2
    return (half_width * height / SEARCH_PX**2) ** SIZE_POWER * np.clip(centred, 0, 1)


@lru_cache(maxsize=1)
def build_kernels() -> Kernels:
    """Build the kernels of all sizes within ASPECT_LIMITS, once per process."""
    transforms, frames = [], []
    for half_width in HALF_WIDTHS:
        for height in HEIGHTS:
            if ASPECT_LIMITS[0] <= 2 * half_width / height <= ASPECT_LIMITS[1]:
                kernel, frame = build_kernel(half_width * SEARCH_PX, height * SEARCH_PX)
                transforms.append(np.conj(fft.rfft2(kernel, FFT_SHAPE)))
                frames.append(frame)
    return Kernels(np.array(transforms, dtype=np.complex64), frames)


def build_kernel(half_width: float, height: float) -> tuple[NDArray[np.float32], Frame]:
    """Build (2, h, w) kernels, one per lung, whose correlation is mean of ring - mean of lung."""
    margin = int(np.ceil(RING_FRAC * half_width)) + 1
    shape = (int(np.ceil(height)) + 2 * margin, int(np.ceil(2 * half_width)) + 2 * margin)
    frame = Frame(shape[1] / 2, margin, half_width, height)
    kernels = []
    for outline in OUTLINES:
        lung = polygon2mask(shape, frame.to_pixels(outline))
        ring = (ndimage.distance_transform_edt(~lung) <= RING_FRAC * half_width) & ~lung
        kernels.append(ring / ring.sum() - lung / lung.sum())
    return np.array(kernels, dtype=np.float32), frame


def bend_outlines(flat: NDArray[np.float32], frame: Frame) -> list[Floats]:
    """Give two closed curves, (N_RAYS, 2) as (y, x), that follow the lungs of the picture."""
    rays = build_rays()
    frames, curves = [frame, frame], []
    for _ in range(N_BENDS):
        points = [ray_points(at, c, s) for at, c, s in zip(frames, *rays, strict=True)]
        costs = [ray_costs(flat, p, s) for p, s in zip(points, rays.steps, strict=True)]
        paths = find_closed_paths(np.array(costs))
        curves = [
            ndimage.gaussian_filter1d(p[np.arange(N_RAYS), path], 1.0, axis=0, mode="wrap")
            for p, path in zip(points, paths, strict=True)
        ]
        frames = [fit_frame(q, c + s) for q, c, s in zip(curves, *rays, strict=True)]
    return [centre + OUTWARDS * (q - centre) for q in curves for centre in (q.mean(axis=0),)]


@lru_cache(maxsize=1)
def build_rays() -> Rays:
    """Turn the outlines into rays at equal angles, once per process."""
    angles = np.linspace(0, 2 * np.pi, N_RAYS, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1) * RAY_AXES
    centres, steps = [], []
    for outline in OUTLINES:
        centre = (outline.min(axis=0) + outline.max(axis=0)) / 2
        edges = zip(outline, np.roll(outline, -1, axis=0), strict=True)
        dense = np.concatenate([np.linspace(a, b, 50, endpoint=False) for a, b in edges])
        x, y = ((dense - centre) / RAY_AXES).T
        radius = np.interp(
            angles, *sort_by_angle(np.arctan2(y, x), np.hypot(x, y)), period=2 * np.pi
        )
        centres.append(centre)
        steps.append(radius[:, None] * directions)
    return Rays(np.array(centres), np.array(steps))


def sort_by_angle(angles: Floats, radii: Floats) -> tuple[Floats, Floats]:
    """Sort points of an outline by their angle."""
    order = np.argsort(angles)
    return angles[order], radii[order]


def ray_points(frame: Frame, centre: Floats, steps: Floats) -> Floats:
    """Give the (N_RAYS, R, 2) pixel positions (y, x) along the rays of one lung."""
    return frame.to_pixels(centre + steps[:, None] * RADII[None, :, None])


def ray_costs(flat: NDArray[np.float32], points: Floats, steps: Floats) -> Floats:
    """Give what it costs (N_RAYS, R) to let the outline cross a ray at a radius.

    Bright pixels inside cost and dark ones pay (Chan and Vese 2001, eq. 1, along a ray), a
    dark-to-bright step pays, distance from the mean outline costs.
    """
    values = ndimage.map_coordinates(flat, np.moveaxis(points, -1, 0), order=1, cval=1.0)
    lung, around = values[:, INNER].mean(), values[:, OUTER].mean()
    level = lung + LEVEL_FRACTION * (around - lung)
    area = RADII * ((steps / RAY_AXES) ** 2).sum(axis=1, keepdims=True) * (RADII[1] - RADII[0])
    region = np.cumsum(np.clip(values - level, -1, 1) * area, axis=1)
    sums = np.cumsum(np.pad(values, ((0, 0), (4, 3)), mode="edge"), axis=1)
    edge = (sums[:, 6:-1] - 2 * sums[:, 3:-4] + sums[:, :-7]) / 3  # 3 radii beyond - 3 up to here
    shape = ((RADII - 1) / SHAPE_SPREAD) ** 2
    return REGION_WEIGHT * region - EDGE_WEIGHT * np.clip(edge, -1, 1) + SHAPE_WEIGHT * shape


def find_closed_paths(costs: Floats) -> NDArray[np.intp]:
    """Find the cheapest smooth radius per ray for each lung by dynamic programming (Viterbi).

    The walk starts a quarter turn early and ends a quarter turn late, which makes the turn kept in
    between start and end alike.

    Args:
        costs: (L, N_RAYS, R).

    Returns:
        (L, N_RAYS) index of the radius.
    """
    n_lungs, n_rays, n_radii = costs.shape
    quarter = n_rays // 4
    walk = np.arange(-quarter, n_rays + quarter) % n_rays
    moves = np.arange(-MAX_STEP, MAX_STEP + 1)
    before = np.arange(n_radii)[:, None] + moves  # (R, M)
    step_cost = np.where((before < 0) | (before >= n_radii), np.inf, STEP_WEIGHT * moves**2)
    before = np.clip(before, 0, n_radii - 1)
    total = costs[:, walk[0]]
    came_from = np.zeros((len(walk), n_lungs, n_radii), dtype=np.intp)
    for step, ray in enumerate(walk[1:], start=1):
        options = total[:, before] + step_cost  # (L, R, M)
        came_from[step] = before[np.arange(n_radii), options.argmin(axis=2)]
        total = options.min(axis=2) + costs[:, ray]
    path = np.zeros((len(walk), n_lungs), dtype=np.intp)
    path[-1] = total.argmin(axis=1)
    for step in range(len(walk) - 1, 0, -1):
        path[step - 1] = came_from[step, np.arange(n_lungs), path[step]]
    return path[quarter : quarter + n_rays].T


def fit_frame(curve: Floats, outline: Floats) -> Frame:
    """Fit the frame that maps the mean outline (u, v) onto a bent curve (y, x), least squares."""
    half_width, centre_x = np.polyfit(outline[:, 0], curve[:, 1], 1)
    height, top_y = np.polyfit(outline[:, 1], curve[:, 0], 1)
    return Frame(centre_x, top_y, half_width, height)
