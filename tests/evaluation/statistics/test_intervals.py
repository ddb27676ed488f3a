import numpy as np
import pytest
from scipy import stats

from stages.evaluation.statistics.intervals import (
    Interval,
    estimate_over_folds,
    fold_interval,
    percentile_interval,
    wilson,
    with_ends,
)
from stages.evaluation.statistics.records import Estimate


def test_percentile_interval_cuts_equal_tails() -> None:
    interval = percentile_interval(np.arange(201.0))
    assert (interval.low, interval.high, interval.reason) == pytest.approx((5.0, 195.0, None))


def test_percentile_interval_allows_five_percent_undefined_draws_and_no_more() -> None:
    draws = np.arange(100.0)
    draws[:5] = np.nan
    assert percentile_interval(draws).reason is None
    draws[5] = np.nan
    interval = percentile_interval(draws)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "undefined in 6 of 100 draws; at most 5% may be"


def test_the_interval_over_folds_is_the_corrected_resampled_t() -> None:
    # Mean 0.6, sd 0.1, t(4) = 2.776445; 1/5 + 1/4 = 0.45.
    values = [0.5, 0.5, 0.6, 0.7, 0.7]
    half = 2.776445 * 0.1 * 0.45**0.5
    assert fold_interval(values, 1000)[:2] == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


@pytest.mark.parametrize("folds", [2, 5, 20])
def test_the_quantile_of_students_t_is_that_of_scipy(folds: int) -> None:
    values = 0.5 + np.arange(folds) / 100
    spread = values.std(ddof=1) * (1 / folds + 1 / (folds - 1)) ** 0.5
    expected = values.mean() + stats.t.ppf(0.975, folds - 1) * spread
    assert fold_interval(values, 1e9).high == pytest.approx(expected, rel=1e-12)


def test_the_interval_over_folds_stays_between_0_and_1() -> None:
    assert fold_interval([0.9, 1.0, 1.0], 30).high == 1.0
    assert fold_interval([0.1, 0.0, 0.0], 30).low == 0.0


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_folds_that_are_equal_say_no_more_than_all_their_patients_do(share: float) -> None:
    assert fold_interval([share] * 5, 40)[:2] == wilson(share, 40)


def test_a_fold_without_a_value_leaves_no_interval() -> None:
    reason = "undefined in 1 of 3 folds"
    assert fold_interval([0.5, float("nan"), 0.6], 30) == (None, None, reason)
    assert estimate_over_folds(np.array([0.5, np.nan, 0.6]), 30) == Estimate(
        None, why_undefined=reason
    )


def test_a_figure_is_rounded_to_six_decimals_with_its_ends_and_never_minus_nought() -> None:
    found = with_ends(-1e-9, Interval(-0.12345678, 0.9999999))
    assert found == Estimate(0.0, -0.123457, 1.0)
    assert str(found.value) == "0.0"
