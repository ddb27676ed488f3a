"""Two pictures laid on each other, and how well their fine structure agrees there.

Pictures are thumbnails (S, S); positions are in their pixels, x before y, from the centre of the
first pixel. An alignment is an affine matrix (2, 3) that leads from the second picture to the
first. Where pictures are compared, the first is the finer one (`finer_first`).
"""

import numpy as np
from numpy.typing import NDArray

from stages.imaging.opencv import cv2

Floats = NDArray[np.floating]

REGION_PX, CLOSE_PX = 3.2, 1.9  # how far keypoints may lie from a first, and from the fitted place
MIN_APART_PX = 6.4  # of two keypoints that say how a picture lies
MIN_SCALE, MAX_SCALE = 0.6, 1 / 0.6  # a frame of 20 % on every side scales by 0.6
MAX_ANGLE = 0.25  # radians
STIFFNESS = 41.0  # pixels squared: few matches do not bend an alignment
MIN_MATCHES = 5
REFINEMENT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-4)
BAND_PX = (0.6, 1.2)  # blurs whose difference is kept: edges and vessels, not the body's outline
MARGIN_PX = 3  # left out of the agreement: a crop brings in, at the rim, what the other has not
MIN_OVERLAP = 0.4  # of the picture, in what is compared
BLOCK_PX = 8
WORST_BLOCKS = 0.2  # left out: burned-in text and what a turned picture lacks in its corners
TINY = 1e-9  # keeps even pictures from a division by zero


def fit_matches(first: Floats, second: Floats) -> Floats | None:
    """The alignment on which most pairs of keypoints (M, 2) agree; None if none is plausible.

    Every two pairs make a similarity (as in RANSAC, Fischler and Bolles 1981, but all are tried);
    that of most followers is fitted to them as an affine alignment.
    """
    here, there = second @ (1, 1j), first @ (1, 1j)  # points as complex numbers
    one, other = np.triu_indices(len(here), 1)
    apart = np.abs(here[other] - here[one])
    one, other = one[apart > MIN_APART_PX], other[apart > MIN_APART_PX]
    turn = (there[other] - there[one]) / (here[other] - here[one])
    scale = np.abs(turn)
    is_plausible = (scale > MIN_SCALE) & (scale < MAX_SCALE) & (np.abs(np.angle(turn)) < MAX_ANGLE)
    turn, one = turn[is_plausible], one[is_plausible]
    if not len(turn):
        return None
    shift = there[one] - turn * here[one]
    follows = np.abs(turn[:, None] * here + shift[:, None] - there) < REGION_PX
    best = follows.sum(axis=1).argmax()
    a, b = turn[best], shift[best]
    similarity = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return _bend(similarity, first, second, follows[best])


def _bend(
    affine: Floats, first: Floats, second: Floats, follows: NDArray[np.bool_]
) -> Floats | None:
    """Least squares on those who follow, twice; None if too few do."""
    points = np.column_stack([second, np.ones(len(second))])
    stiffness = STIFFNESS * np.diag([1, 1, 1e-6])
    for _ in range(2):
        if follows.sum() < MIN_MATCHES:
            return None
        followers = points[follows]
        normal = followers.T @ followers + stiffness
        error = (first - points @ affine.T)[follows]
        affine = affine + np.linalg.solve(normal, followers.T @ error).T
        follows = np.linalg.norm(points @ affine.T - first, axis=1) < CLOSE_PX
    return affine if follows.sum() >= MIN_MATCHES else None


def finer_first(first: Floats, second: Floats, affine: Floats) -> tuple[Floats, Floats, Floats]:
    """The same two pictures and alignment, such that the first shows no more in as many pixels.

    It is brought into the pixels of the second, never the other way, so that edges are of one size.
    """
    if np.linalg.det(affine[:, :2]) < 1:
        return second, first, np.asarray(cv2.invertAffineTransform(affine), dtype=np.float64)
    return first, second, affine


def refine(first: Floats, second: Floats, affine: Floats) -> Floats | None:
    """The alignment near a rough one at which the fine structure agrees best; None if none does.

    Enhanced correlation coefficient (Evangelidis and Psarakis 2008) of pictures (S, S).
    """
    try:
        _, found = cv2.findTransformECC(
            structure(second),
            structure(first),
            affine.astype(np.float32),
            cv2.MOTION_AFFINE,
            REFINEMENT,
            _without_margin(first).astype(np.uint8),  # where a frame of the second shines in
            1,  # no blur
        )
    except cv2.error:  # it does not converge, or the pictures do not overlap any more
        return None
    refined = np.asarray(found, dtype=np.float32)
    is_plausible = MIN_SCALE**2 < np.linalg.det(refined[:, :2]) < MAX_SCALE**2
    return refined if is_plausible else None


def structure(picture: Floats) -> Floats:
    """Edges of a picture (S, S), their heights to the power 0.5, float32.

    The root keeps strong edges, which all chests share, from outweighing the vessels.
    """
    grey = picture.astype(np.float32)
    thin, thick = (cv2.GaussianBlur(grey, (0, 0), blur) for blur in BAND_PX)
    edges = thin - thick
    return np.sign(edges) * np.sqrt(np.abs(edges))


def agreement(first: Floats, second: Floats, affine: Floats) -> float:
    """Correlation of the fine structure of two pictures (S, S) where they overlap, -1 to 1.

    The blocks that agree least are left out. 0 if the overlap is too small.
    """
    moved, inside = _move(first, affine)
    if inside.mean() < MIN_OVERLAP:
        return 0.0
    ones, others = (_scaled(structure(part), inside) for part in (moved, second))
    by_block = (-1, first.shape[0] // BLOCK_PX, BLOCK_PX)
    misfit = (np.square(ones - others) * inside).reshape(by_block[1], BLOCK_PX, -1, BLOCK_PX)
    misfit = misfit.sum(axis=(1, 3))
    is_seen = inside.reshape(by_block[1], BLOCK_PX, -1, BLOCK_PX).any(axis=(1, 3))
    ranked = np.sort(misfit[is_seen])
    is_kept = misfit <= ranked[int((1 - WORST_BLOCKS) * (len(ranked) - 1))]
    counted = inside & is_kept.repeat(BLOCK_PX, axis=0).repeat(BLOCK_PX, axis=1)
    return _correlation(ones[counted], others[counted])


def _move(picture: Floats, affine: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """A picture (S, S) seen through an alignment, and where it and the margins allow a look."""
    size, flags = picture.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        picture.astype(np.float32), affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    allowed = _without_margin(picture)
    inside = np.asarray(cv2.warpAffine(allowed, affine, size, flags=flags)) > 0.99
    return np.asarray(moved, dtype=np.float32), inside & (allowed > 0)


def _without_margin(picture: Floats) -> NDArray[np.float32]:
    """1 inside the margins of a picture (S, S), else 0."""
    inside = np.zeros(picture.shape, dtype=np.float32)
    inside[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] = 1
    return inside


def _scaled(edges: Floats, inside: NDArray[np.bool_]) -> Floats:
    return edges / np.sqrt(np.square(edges[inside]).mean() + TINY)


def _correlation(first: Floats, second: Floats) -> float:
    """Pearson correlation of numbers (M,); 0 for even ones."""
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / norm, -1, 1)) if norm > TINY else 0.0
