import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from stages.evaluation.statistics.effective_size import (
    Support,
    bounded_interval,
    detectable,
    effective_size,
    independent_interval,
    paired_interval,
    ratio_interval,
)
from stages.evaluation.statistics.intervals import wilson
from stages.evaluation.statistics.jackknife import leave_out_parts, variance

SHARE_OF_20 = Support(20, 20, most=20, least=20)
# 40 images of 10 patients.
CLUSTERED = Support(40, 10, most=40, least=10)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 7), (13, 20), (20, 20), (899, 900)])
def test_the_interval_of_a_share_is_that_of_statsmodels(right: int, n: int) -> None:
    expected = proportion_confint(right, n, method="wilson")
    assert wilson(right / n, n) == pytest.approx(expected, abs=1e-12)
    share = right / n
    found = bounded_interval(share, share * (1 - share) / (n - 1), Support(n, n, n, n))
    assert found[:2] == pytest.approx(expected, abs=1e-12)


def test_images_that_are_all_alike_in_a_patient_count_once() -> None:
    # 7 of 10 patients right with all four images: the variance of 10 images.
    assert effective_size(0.7, 0.7 * 0.3 / 9, CLUSTERED) == pytest.approx(10)


def test_images_that_have_nothing_in_common_count_each() -> None:
    assert effective_size(0.7, 0.7 * 0.3 / 39, CLUSTERED) == pytest.approx(40)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_score_is_worth_its_patients(value: float) -> None:
    assert effective_size(value, 0.0, CLUSTERED) == 10
    assert bounded_interval(value, 0.0, CLUSTERED)[:2] == pytest.approx(
        proportion_confint(10 * value, 10, method="wilson"), abs=1e-12
    )


def test_few_patients_cannot_make_more_of_their_images_nor_less_than_there_are() -> None:
    assert effective_size(0.7, 1e-6, CLUSTERED) == 40
    assert effective_size(0.7, 0.2, CLUSTERED) == 10


def test_the_quantile_is_widened_for_patients_that_are_fewer_than_images() -> None:
    assert SHARE_OF_20.quantile == pytest.approx(1.959964, abs=1e-6)
    # t(9) = 2.262157 and t(39) = 2.022691.
    assert CLUSTERED.quantile == pytest.approx(1.959964 * 2.262157 / 2.022691, abs=1e-5)
    # 20 effective images, of which the wider quantile leaves 20 / 1.1184^2 = 15.99.
    found = bounded_interval(0.5, 0.25 / 19, CLUSTERED)
    assert found[:2] == pytest.approx(wilson(0.5, 15.990), abs=1e-4)


def test_a_figure_between_minus_one_and_one_is_a_share_stretched() -> None:
    signed = SHARE_OF_20._replace(low=-1.0)
    found = bounded_interval(0.4, 4 * 0.7 * 0.3 / 19, signed)
    low, high = wilson(0.7, 20)
    assert found[:2] == pytest.approx((2 * low - 1, 2 * high - 1))


def test_a_loss_without_bounds_has_a_t_interval_of_its_logarithm() -> None:
    loss = Support(20, 20, math.inf, 20, 0.0, math.inf)
    found = bounded_interval(0.5, 0.01, loss)
    factor = math.exp(2.093024 * 0.1 / 0.5)  # t(19)
    assert found[:2] == pytest.approx((0.5 / factor, 0.5 * factor), rel=1e-5)
    assert bounded_interval(0.5, 0.0, loss)[:2] == (0.5, 0.5)


def test_a_paired_difference_is_that_of_bonett_and_price_with_half_of_their_images() -> None:
    """Of 20 images 5 are right in the first alone and 2 in the second: (b + c + 1) over n + 1."""
    seen = np.repeat([1.0, -1.0, 0.0], (5, 2, 13))
    found = paired_interval(3 / 20, seen.var(ddof=1) / 20, (20, 20), (SHARE_OF_20, SHARE_OF_20))
    shrunk, spread = 3 / 21, (20**2 * seen.var(ddof=1) / 20 + 1) / 21**2
    half = 1.959964 * math.sqrt(spread)
    assert found.interval[:2] == pytest.approx((shrunk - half, shrunk + half), abs=1e-6)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(shrunk / math.sqrt(spread)))


def test_perfect_models_may_differ_by_what_so_many_images_cannot_show() -> None:
    pair = (SHARE_OF_20, SHARE_OF_20)
    found = paired_interval(0.0, 0.0, (20, 20), pair)
    assert found.interval[:2] == pytest.approx((-1.959964 / 21, 1.959964 / 21), abs=1e-6)
    assert found.p_value == 1.0


def test_a_difference_stays_within_what_is_possible() -> None:
    two = Support(2, 2, 2, 2)
    assert paired_interval(1.0, 0.5, (2, 2), (two, two)).interval.high == 1.0


def test_a_difference_of_other_patients_is_that_of_agresti_and_caffo() -> None:
    other = Support(30, 30, 30, 30)
    found = independent_interval(
        (15 / 20, 12 / 30), (0.75 * 0.25 / 19, 0.4 * 0.6 / 29), (SHARE_OF_20, other)
    )
    expected = confint_proportions_2indep(15, 20, 12, 30, method="agresti-caffo", compare="diff")
    assert found.interval[:2] == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_a_ratio_is_that_of_donner_and_zou() -> None:
    """Sensitivity 18 of 20 over 2 false alarms of 30, by equation 9 as it stands there."""
    top, bottom = 18 / 20, 2 / 30
    (low, high), (least, most) = wilson(top, 20), wilson(bottom, 30)
    by_most, by_least = most * (2 * bottom - most), least * (2 * bottom - least)
    product = top * bottom
    expected = (
        (product - math.sqrt(product**2 - low * (2 * top - low) * by_most)) / by_most,
        (product + math.sqrt(product**2 - high * (2 * top - high) * by_least)) / by_least,
    )
    assert ratio_interval((top, 20), (bottom, 30)) == pytest.approx(expected)


def test_a_ratio_of_nothing_or_to_nothing_has_one_end() -> None:
    low, high = ratio_interval((0.0, 20), (0.5, 20))
    assert low == 0
    # Without a hit the upper end is that of the share over the root of l (2 s - l).
    least = wilson(0.5, 20)[0]
    assert high == pytest.approx(wilson(0.0, 20)[1] / math.sqrt(least * (1 - least)))
    low, high = ratio_interval((0.5, 20), (0.0, 20))
    assert low > 1
    assert high == math.inf


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize("false_alarms", [0.01, 0.03, 0.1, 0.3])
def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says(
    n: int, false_alarms: float
) -> None:
    """Every outcome of n ill and n healthy images, weighed by its probability."""
    hits, alarms = (stats.binom.pmf(range(n + 1), n, share) for share in (0.6, false_alarms))
    held = sum(
        hits[x] * alarms[y]
        for x in range(n + 1)
        for y in range(n + 1)
        if hits[x] * alarms[y] > 1e-9
        for low, high in [ratio_interval((x / n, n), (y / n, n))]
        if low <= 0.6 / false_alarms <= high
    )
    assert 0.925 < held < 0.985


def test_a_family_of_tests_settles_less() -> None:
    assert detectable(0.1) == pytest.approx(0.2801585, abs=1e-6)
    # z(1 - 0.05 / 20) = 2.807034 for ten tests.
    assert detectable(0.1, tests=10) == pytest.approx(0.1 * (2.807034 + 0.841621), abs=1e-6)


# ---- patients left out -------------------------------------------------------------------------


def test_each_patient_is_left_out_once() -> None:
    assert leave_out_parts(3, seed=0).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_of_many_patients_several_are_left_out_at_once() -> None:
    weights = leave_out_parts(2500, seed=0)
    assert weights.shape == (1000, 2500)
    assert ((weights == 0).sum(axis=0) == 1).all()
    assert set((weights == 0).sum(axis=1)) == {2, 3}


def test_the_variance_of_a_share_is_exact() -> None:
    values = np.array([1.0, 1, 0, 1, 0, 1, 1])
    left_out = (values.sum() - values) / 6
    assert variance(left_out) == pytest.approx(values.var(ddof=1) / 7)


def test_a_figure_that_a_patient_decides_alone_has_no_variance_to_go_by() -> None:
    assert math.isnan(variance(np.array([0.5, np.nan, 0.5])))
