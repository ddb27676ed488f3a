import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from stages.dataset.image_set import ImageSet
from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.evaluation.statistics.records import Bootstrap
from stages.explain import scores as explain_scores
from stages.explain.scores import (
    Mean,
    Regions,
    average,
    baseline_maps,
    compare_methods,
    gaussian_map,
    load_regions,
    rank_correlations,
)

SIDE = 10


def region(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[rows, columns] = True
    return mask


def score_map(
    cam: NDArray[np.float32], lungs: NDArray[np.bool_], lesions: NDArray[np.bool_] | None
) -> dict[str, float | None]:
    return explain_scores.score_map(cam, Regions(lungs, lesions)).named()


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


def test_map_of_zeros_has_no_share_and_points_nowhere() -> None:
    scores = score_map(np.zeros((SIDE, SIDE), np.float32), LUNGS, region(slice(0, 1), slice(0, 1)))
    assert scores["in_lungs"] is None
    assert scores["in_lesions"] is None
    assert scores["peak_in_lesions"] == 0
    assert scores["lungs_area"] == 0.3


@pytest.mark.parametrize(("peak", "expected"), [((2, 1), 1), ((3, 2), 1), ((4, 2), 0)])
def test_peak_is_the_brightest_pixel_of_the_map(peak: tuple[int, int], expected: int) -> None:
    cam = np.full((SIDE, SIDE), 0.5, np.float32)
    cam[peak] = 1
    assert score_map(cam, LUNGS, LESION)["peak_in_lesions"] == expected


def test_of_several_peaks_the_share_in_the_lesions_counts() -> None:
    cam = np.zeros((SIDE, SIDE), np.float32)
    cam[2, 1], cam[3, 2], cam[9, 9], cam[0, 0] = 1, 1, 1, 1
    assert score_map(cam, LUNGS, LESION)["peak_in_lesions"] == 0.5


@pytest.mark.parametrize("lesions", [None, np.zeros((SIDE, SIDE), bool)], ids=["unknown", "none"])
def test_image_without_lesions_has_no_lesion_scores(lesions: NDArray[np.bool_] | None) -> None:
    scores = score_map(np.ones((SIDE, SIDE), np.float32), LUNGS, lesions)
    assert set(scores) == {"in_lungs", "lungs_area"}


def test_scores_are_plain_numbers_for_json() -> None:
    scores = score_map(np.ones((SIDE, SIDE), np.float32), LUNGS, LESION)
    assert {type(value) for value in scores.values()} == {float}


def bare_view(*, truth: bool) -> ImageSet:
    image = np.zeros((1, SIDE, SIDE), np.uint8)
    bits = LUNGS * LUNG_BIT + LESION * LESION_BIT
    return ImageSet(
        info=None,  # type: ignore[arg-type]
        manifest=pd.DataFrame(),
        images=image,
        truth=bits[None].astype(np.uint8) if truth else None,
        lung_masks=(~LUNGS)[None].astype(np.uint8),
        boxes=None,
    )


def test_regions_are_the_truth_where_it_is_known() -> None:
    found = load_regions(bare_view(truth=True), 0)
    np.testing.assert_array_equal(found.lungs, LUNGS)
    np.testing.assert_array_equal(found.lesions, LESION)


def test_regions_are_the_segmentation_where_no_truth_is_known() -> None:
    found = load_regions(bare_view(truth=False), 0)
    np.testing.assert_array_equal(found.lungs, ~LUNGS)
    assert found.lesions is None


def test_baselines_know_nothing_of_the_image() -> None:
    baselines = baseline_maps(SIDE)
    assert (baselines["constant"] == 1).all()
    gaussian = baselines["gaussian"]
    np.testing.assert_allclose(gaussian, gaussian[::-1, ::-1])
    assert gaussian.max() == gaussian[SIDE // 2, SIDE // 2] == 1
    assert gaussian[0, 0] < 0.1


def test_gaussian_falls_to_exp_minus_a_half_at_a_quarter_of_the_side() -> None:
    middle = gaussian_map(41)[20]
    assert middle[20] == 1
    assert np.interp(20 + 41 / 4, np.arange(41), middle) == pytest.approx(np.exp(-0.5), abs=1e-3)


def ramp() -> NDArray[np.float32]:
    return np.arange(SIDE**2, dtype=np.float32).reshape(1, SIDE, SIDE)


def test_rank_correlation_sees_order_and_not_size() -> None:
    assert rank_correlations(ramp(), ramp() ** 3)[0] == pytest.approx(1)
    assert rank_correlations(ramp(), -np.sqrt(ramp()))[0] == pytest.approx(-1)


def test_rank_correlation_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (2, 3, SIDE, SIDE)).astype(np.float32)
    pairs = zip(first, second, strict=True)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]
    np.testing.assert_allclose(rank_correlations(first, second), expected)


def test_constant_map_has_no_rank_correlation() -> None:
    assert np.isnan(rank_correlations(ramp(), np.ones_like(ramp()))).all()


def test_methods_are_compared_in_pairs() -> None:
    maps = {"a": ramp(), "b": ramp() + 1, "c": -ramp()}
    found = {pair: round(float(values[0])) for pair, values in compare_methods(maps).items()}
    assert found == {"a v b": 1, "a v c": -1, "b v c": -1}


def mean_of(values: list[float], group_ids: str, draws: int = 200) -> Mean:
    """The mean of images of patients that are named by a letter each."""
    return average(np.array(values), np.array(list(group_ids)), Bootstrap(draws, seed=0))


def test_mean_is_of_the_images_that_have_a_value() -> None:
    found = mean_of([0.2, np.nan, 0.6, np.nan], "abcd")
    assert (found.estimate.value, found.n) == (0.4, 2)
    assert (found.estimate.low, found.estimate.high) == (0.2, 0.6)


def test_interval_draws_whole_patients() -> None:
    # As one patient each, six images give a narrower interval than as two patients.
    values = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    each, two = (mean_of(values, who, draws=500).estimate for who in ("abcdef", "aaabbb"))
    assert (two.low, two.high) == (0, 1)
    assert 0 < each.low < each.high < 1  # type: ignore[operator]


def test_patients_of_many_images_do_not_stretch_the_interval() -> None:
    found = mean_of([0.3] * 6, "aaaabc").estimate
    assert (found.low, found.value, found.high) == (0.3, 0.3, 0.3)


def test_images_of_one_patient_have_a_mean_and_no_interval() -> None:
    found = mean_of([0.2, 0.4], "aa")
    assert found.to_json() == {"mean": 0.3, "low": None, "high": None, "n": 2}


def test_no_value_at_all_has_no_mean() -> None:
    found = mean_of([np.nan, np.nan], "ab")
    assert found.to_json() == {"mean": None, "low": None, "high": None, "n": 0}
