import numpy as np
import pytest
from numpy.typing import NDArray

from stages.explain.scores import score_map

SIDE = 10


def region(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[rows, columns] = True
    return mask


LUNGS = region(slice(2, 8), slice(1, 6))  # 6 x 5 of 100 pixels
LESION = region(slice(2, 4), slice(1, 3))  # 2 x 2 of 100 pixels


def test_constant_map_has_the_share_of_the_area() -> None:
    scores = score_map(np.full((SIDE, SIDE), 0.7, np.float32), LUNGS, LESION)
    assert scores["in_lungs"] == scores["lungs_area"] == 0.3
    assert scores["in_lesions"] == scores["lesions_area"] == 0.04


def test_map_inside_the_lungs_has_the_share_one() -> None:
    assert score_map(LUNGS.astype(np.float32), LUNGS, None)["in_lungs"] == 1


def test_map_outside_the_lungs_has_the_share_zero() -> None:
    assert score_map((~LUNGS).astype(np.float32), LUNGS, None)["in_lungs"] == 0


def test_share_weighs_pixels_by_the_map() -> None:
    cam = np.zeros((SIDE, SIDE), np.float32)
    cam[3, 2], cam[9, 9] = 0.6, 0.2  # inside and outside: 0.6 of 0.8
    assert score_map(cam, LUNGS, None)["in_lungs"] == pytest.approx(0.75)


def test_map_of_zeros_has_neither_share_nor_peak() -> None:
    scores = score_map(np.zeros((SIDE, SIDE), np.float32), LUNGS, region(slice(0, 1), slice(0, 1)))
    assert scores["in_lungs"] is None
    assert scores["in_lesions"] is None
    assert scores["peak_in_lesions"] is None
    assert scores["lungs_area"] == 0.3


@pytest.mark.parametrize(("peak", "expected"), [((2, 1), True), ((3, 2), True), ((4, 2), False)])
def test_peak_is_the_brightest_pixel_of_the_map(peak: tuple[int, int], expected: bool) -> None:
    cam = np.full((SIDE, SIDE), 0.5, np.float32)
    cam[peak] = 1
    assert score_map(cam, LUNGS, LESION)["peak_in_lesions"] is expected


@pytest.mark.parametrize("lesions", [None, np.zeros((SIDE, SIDE), bool)], ids=["unknown", "none"])
def test_image_without_lesions_has_no_lesion_scores(lesions: NDArray[np.bool_] | None) -> None:
    scores = score_map(np.ones((SIDE, SIDE), np.float32), LUNGS, lesions)
    assert set(scores) == {"in_lungs", "lungs_area"}


def test_scores_are_plain_numbers_for_json() -> None:
    scores = score_map(np.ones((SIDE, SIDE), np.float32), LUNGS, LESION)
    assert {type(value) for value in scores.values()} == {float, bool}
