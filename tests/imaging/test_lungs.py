"""Lungs are found in pictures whose lungs are known, and doubt is said where there are none."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from stages.config.errors import UserError
from stages.dataset.truth import LUNG_BIT
from stages.imaging.lungs import interpolation_matrix, resize_linear, segment_lungs
from stages.imaging.lungs_ct import tissue_level
from stages.imaging.lungs_xray import find_closed_paths, outside_air
from tests.imaging.phantoms import draw_phantoms

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]

MODALITIES = ("ct", "xray")


def ellipse(shape: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]) -> Mask:
    """Centre and half-axes (y, x) as shares of the height and width."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dy = ((y + 0.5) / shape[0] - centre[0]) / axes[0]
    dx = ((x + 0.5) / shape[1] - centre[1]) / axes[1]
    return dy**2 + dx**2 <= 1


def draw_ct(shape: tuple[int, int] = (200, 280), sides: str = "rl") -> tuple[Image, Mask]:
    """A body in air with two lungs (60 on 200) and a trachea."""
    image = np.full(shape, 40, dtype=np.uint8)
    image[ellipse(shape, (0.5, 0.5), (0.46, 0.47))] = 200
    lungs = np.zeros(shape, dtype=bool)
    for side, x in (("r", 0.28), ("l", 0.72)):
        if side in sides:
            lungs |= ellipse(shape, (0.5, x), (0.33, 0.15))
    image[lungs] = 60
    image[ellipse(shape, (0.4, 0.5), (0.05, 0.035))] = 30
    return image, lungs


def draw_xray(shape: tuple[int, int] = (240, 240), sides: str = "rl") -> tuple[Image, Mask]:
    """A bright trunk with two soft-edged dark lungs that are cut by a diaphragm."""
    image = np.full(shape, 160.0)
    lungs = np.zeros(shape, dtype=bool)
    for side, x in (("r", 0.30), ("l", 0.70)):
        if side in sides:
            lungs |= ellipse(shape, (0.52, x), (0.38, 0.15))
    lungs[round(0.8 * shape[0]) :] = False
    image[lungs] = 70
    image = ndimage.gaussian_filter(image, 0.01 * max(shape))
    return np.round(image).astype(np.uint8), lungs


DRAW = {"ct": draw_ct, "xray": draw_xray}


def dice(a: Mask, b: Mask) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1), half-open."""
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def read_phantoms(name: str) -> list[tuple[Image, Mask]]:
    """Image and lungs of eight phantoms of each class."""
    drawn = draw_phantoms(name, patients=8, size_px=160, seed=3)
    return [(image, (truth & LUNG_BIT) > 0) for image, truth in drawn]


# Measured on 60 phantoms each: mean Dice 0.97 (least 0.91) in CT, 0.91 (least 0.84) in X-rays; all
# ok; 99.9 % of the lung pixels inside the box.
@pytest.mark.parametrize(
    ("name", "modality", "least_dice"), [("ct", "ct", 0.94), ("xray3", "xray", 0.86)]
)
def test_lungs_of_phantoms_are_found_and_lie_in_the_box_of_the_mask(
    name: str, modality: str, least_dice: float
) -> None:
    scores, inside = [], []
    for image, lungs in read_phantoms(name):
        found = segment_lungs(image, modality)
        assert found.quality == "ok"
        scores.append(dice(found.mask, lungs))
        inside.append(lungs[widen(box_of(found.mask), 0.05)].sum() / lungs.sum())
    assert np.mean(scores) >= least_dice
    assert np.mean(inside) >= 0.99


def widen(box: tuple[int, int, int, int], margin_frac: float) -> tuple[slice, slice]:
    """Rows and columns of a box with a margin of its sides."""
    x0, y0, x1, y1 = box
    dx, dy = round(margin_frac * (x1 - x0)), round(margin_frac * (y1 - y0))
    return slice(max(0, y0 - dy), y1 + dy), slice(max(0, x0 - dx), x1 + dx)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("shape", [(40, 512), (512, 40), (20, 20)])
def test_a_strip_or_a_stamp_is_no_chest(modality: str, shape: tuple[int, int]) -> None:
    found = segment_lungs(np.full(shape, 100, dtype=np.uint8), modality)
    assert found.quality.startswith(f"no lungs found: content of {shape[1]} x {shape[0]} px")
    assert found.mask.shape == shape
    assert not found.mask.any()


@pytest.mark.parametrize(("modality", "least_dice"), [("ct", 0.97), ("xray", 0.85)])
def test_both_lungs_of_a_drawn_chest_are_found(modality: str, least_dice: float) -> None:
    image, lungs = DRAW[modality]()
    found = segment_lungs(image, modality)
    assert found.quality == "ok"
    assert dice(found.mask, lungs) >= least_dice


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_box_of_the_lungs_is_right_within_5_percent_of_the_image(modality: str) -> None:
    image, lungs = DRAW[modality]()
    off = np.subtract(box_of(segment_lungs(image, modality).mask), box_of(lungs))
    assert np.abs(off).max() <= 0.05 * max(image.shape)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("shape", [(64, 64), (150, 220), (512, 480)])
def test_the_mask_is_bool_and_as_large_as_the_image(modality: str, shape: tuple[int, int]) -> None:
    image, lungs = DRAW[modality](shape)
    mask = segment_lungs(image, modality).mask
    assert mask.dtype == np.bool_
    assert mask.shape == shape
    assert dice(mask, lungs) >= 0.8


@pytest.mark.parametrize("modality", MODALITIES)
def test_padding_to_a_square_moves_the_mask_and_nothing_else(modality: str) -> None:
    image, _ = DRAW[modality]((180, 240))
    padded = np.pad(image, ((20, 40), (0, 0)))
    before, after = segment_lungs(image, modality), segment_lungs(padded, modality)
    np.testing.assert_array_equal(after.mask[20:200], before.mask)
    assert not after.mask[:20].any()
    assert not after.mask[200:].any()
    assert after.quality == before.quality == "ok"


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_same_image_gives_the_same_mask(modality: str) -> None:
    image, _ = DRAW[modality]()
    first, second = segment_lungs(image, modality), segment_lungs(image, modality)
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_has_no_lungs(modality: str, level: int) -> None:
    found = segment_lungs(np.full((120, 160), level, dtype=np.uint8), modality)
    assert found.quality.startswith("no lungs found")


def test_a_black_image_has_an_empty_mask_and_says_why() -> None:
    found = segment_lungs(np.zeros((100, 100), dtype=np.uint8), "ct")
    assert found.quality == "no lungs found: the image is blank"
    assert not found.mask.any()


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("side", ["r", "l"])
def test_a_single_lung_is_flagged(modality: str, side: str) -> None:
    image, _ = DRAW[modality](sides=side)
    assert segment_lungs(image, modality).quality.startswith("one lung")


def test_lungs_that_are_too_small_are_flagged_with_their_share() -> None:
    shape = (200, 280)
    image = np.full(shape, 200, dtype=np.uint8)
    for x in (0.3, 0.7):
        image[ellipse(shape, (0.5, x), (0.1, 0.08))] = 60  # 2 pi 0.1 0.08 = 5 % of the area
    assert re.fullmatch(r"area [45]\.\d% outside 8%-80%", segment_lungs(image, "ct").quality)


@pytest.mark.parametrize(("modality", "reason"), [("ct", "parts"), ("xray", "no lungs found")])
@pytest.mark.parametrize("shape", [(200, 200), (64, 100)])
def test_noise_is_no_chest(modality: str, reason: str, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(60, 200, shape).astype(np.uint8)
    assert reason in segment_lungs(noise, modality).quality


def test_ct_air_around_the_body_and_the_trachea_are_not_lung() -> None:
    image, _ = draw_ct()
    mask = segment_lungs(image, "ct").mask
    assert not mask[:10].any()
    assert not mask[ellipse(image.shape, (0.4, 0.5), (0.05, 0.035))].any()


def test_ct_lesion_at_the_pleura_and_vessels_stay_inside_the_lung() -> None:
    image, _ = draw_ct()
    lesion = ellipse(image.shape, (0.5, 0.15), (0.04, 0.03))  # half in the lung, half in the wall
    vessel = ellipse(image.shape, (0.5, 0.70), (0.03, 0.03))
    image[lesion | vessel] = 200
    _, lungs = draw_ct()
    mask = segment_lungs(image, "ct").mask
    assert mask[vessel].all()
    assert mask[lesion & lungs].mean() > 0.6


def test_ct_slice_cut_so_close_that_the_lungs_touch_the_border_keeps_them() -> None:
    image, lungs = draw_ct()
    close, truth = image[:, 42:-42], lungs[:, 42:-42]  # the lungs begin at x = 36
    found = segment_lungs(close, "ct")
    assert found.quality == "ok"
    assert dice(found.mask, truth) >= 0.95


def test_ct_tissue_level_is_60_percent_of_the_way_from_lung_to_tissue() -> None:
    image = np.full((10, 10), 50, dtype=np.float32)
    image[:, 5:] = 150
    assert tissue_level(image) == pytest.approx(50 + 0.6 * 100)


def test_xray_is_found_wherever_the_chest_lies_and_however_bright_it_is() -> None:
    image, lungs = draw_xray()
    moved = np.pad(image, ((0, 30), (40, 0)), mode="edge")
    truth = np.pad(lungs, ((0, 30), (40, 0)))
    dim = (moved * 0.5 + 20).astype(np.uint8)
    assert dice(segment_lungs(moved, "xray").mask, truth) >= 0.8
    assert dice(segment_lungs(dim, "xray").mask, truth) >= 0.8


def test_xray_air_is_followed_in_straight_lines_and_not_into_an_enclosed_lung() -> None:
    image = np.full((40, 40), 200, dtype=np.float32)
    image[:, :5] = 10  # beside the body
    image[20:, 10:12] = 10  # between arm and chest, open below
    image[10:20, 20:30] = 10  # lung
    outside = outside_air(image)
    assert outside[:, :5].all()
    assert outside[20:, 10:12].all()
    assert not outside[10:20, 20:30].any()


def test_closed_path_takes_the_cheap_radius_and_returns_to_its_start() -> None:
    costs = np.ones((2, 8, 6))
    costs[0, :, 2] = 0
    valley = np.array([1, 2, 3, 4, 4, 3, 2, 1])  # neighbours differ by at most 1, also 7 and 0
    costs[1, np.arange(8), valley] = -1
    paths = find_closed_paths(costs)
    np.testing.assert_array_equal(paths[0], np.full(8, 2))
    np.testing.assert_array_equal(paths[1], valley)


def test_resizing_halves_by_the_triangle_filter_and_keeps_a_flat_image() -> None:
    # Centre 0.5: distances 0.5, 0.5, 1.5, 2.5 over 2 give weights 0.75, 0.75, 0.25, 0.
    weights = interpolation_matrix(2, 4).toarray()
    np.testing.assert_allclose(weights[0], np.array([3, 3, 1, 0]) / 7, atol=1e-6)
    flat = np.full((31, 17), 7, dtype=np.float32)
    np.testing.assert_allclose(resize_linear(flat, 12, 40), 7, rtol=1e-5)


def test_unknown_modality_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(UserError, match=r"modality: 'mri' is not known; allowed: ct, xray"):
        segment_lungs(np.zeros((64, 64), dtype=np.uint8), "mri")


def test_colour_or_float_images_are_refused_with_what_was_got() -> None:
    with pytest.raises(UserError, match=r"got shape \(64, 64, 3\) of uint8"):
        segment_lungs(np.zeros((64, 64, 3), dtype=np.uint8), "ct")
    with pytest.raises(UserError, match=r"of float64"):
        segment_lungs(np.zeros((64, 64)), "ct")  # type: ignore[arg-type]
