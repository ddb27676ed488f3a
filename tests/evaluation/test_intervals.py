import numpy as np
import pytest
from scipy import stats

<<<<<<< HEAD
from stages.evaluation.intervals import (
    Interval,
    estimate_over_folds,
    fold_interval,
    percentile_interval,
    with_ends,
=======
from stages.config.errors import UserError
from stages.evaluation.intervals import (
    MetricTable,
    bootstrap_weights,
    fold_interval,
    metrics_with_intervals,
    paired_difference,
    percentile_interval,
    unpaired_difference,
    wilson_interval,
)
from stages.evaluation.metrics import compute_metrics
from stages.evaluation.scored import Scored

NAMES = ["no", "yes"]


class Model(NamedTuple):
    """What a model says of each image."""

    probabilities: Any
    predictions: Any


def model_that_says(scores: Any) -> Model:
    """A two-class model with its decision at one half."""
    scores = np.asarray(scores, dtype=np.float64)
    return Model(np.column_stack([1 - scores, scores]), (scores >= 0.5).astype(int))


def noisy_model(y_true: NDArray[np.int64], seed: int, signal: float) -> Model:
    noise = np.random.default_rng(seed).normal(size=len(y_true))
    return model_that_says(1 / (1 + np.exp(-signal * (2 * y_true - 1) - noise)))


def table_of(y_true: Any, model: Model, group_ids: Any, **changed: Any) -> MetricTable:
    settings: dict[str, Any] = {"class_names": NAMES, "positive": 1, "draws": 200, "seed": 0}
    return metrics_with_intervals(Scored(y_true, *model, group_ids), **(settings | changed))


def difference_of(y_true: Any, a: Model, b: Model, group_ids: Any, **changed: Any) -> MetricTable:
    settings: dict[str, Any] = {"class_names": NAMES, "positive": 1, "draws": 200, "seed": 0}
    first, second = (Scored(y_true, *model, group_ids) for model in (a, b))
    return paired_difference(first, second, **(settings | changed))


def test_bootstrap_keeps_groups_whole_and_draws_as_many_as_there_are() -> None:
    group_ids = np.array(["p2", "p1", "p2", "p3", "p1", "p2", "p4"])
    counts = bootstrap_weights(group_ids, draws=50, seed=1)
    assert counts.shape == (50, 7)
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert np.array_equal(counts[:, 0], counts[:, 5])
    assert np.array_equal(counts[:, 1], counts[:, 4])
    # One image of each of the four groups: their counts are the four groups drawn.
    assert (counts[:, [0, 1, 3, 6]].sum(axis=1) == 4).all()


def test_bootstrap_uses_each_group_once_on_average_with_the_multinomial_variance() -> None:
    counts = bootstrap_weights(np.arange(10), draws=4000, seed=2)
    assert counts.mean(axis=0) == pytest.approx([1.0] * 10, abs=0.06)
    assert counts.var(axis=0) == pytest.approx([0.9] * 10, abs=0.1)  # 10 * 1/10 * 9/10


def test_bootstrap_depends_on_the_seed_only() -> None:
    first, again, other = (bootstrap_weights(np.arange(9), draws=5, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("group_ids", "draws", "message"),
    [
        (["p1", "", "p2", ""], 5, "group_ids: 2 of 4 are empty, the first at image 1"),
        (np.array(["p1", None], dtype=object), 5, "1 of 2 are empty, the first at image 1"),
        ([1.0, 2.0, np.nan], 5, "1 of 3 are empty, the first at image 2"),
        (["p1", "p1"], 5, "got 1 group; a bootstrap needs at least 2"),
        ([], 5, r"group_ids: got shape \(0,\)"),
        (["p1", "p2"], 0, "draws: got 0; give at least 1"),
    ],
>>>>>>> house
)
from stages.evaluation.records import Estimate


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
    assert fold_interval(values)[:2] == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


@pytest.mark.parametrize("folds", [2, 5, 20])
def test_the_quantile_of_students_t_is_that_of_scipy(folds: int) -> None:
    values = 0.5 + np.arange(folds) / 1000
    spread = values.std(ddof=1) * (1 / folds + 1 / (folds - 1)) ** 0.5
    expected = values.mean() + stats.t.ppf(0.975, folds - 1) * spread
    assert fold_interval(values).high == pytest.approx(expected, rel=1e-12)


def test_the_interval_over_folds_stays_between_0_and_1() -> None:
    assert fold_interval([0.9, 1.0, 1.0]).high == 1.0
    assert fold_interval([0.1, 0.0, 0.0]).low == 0.0


def test_a_fold_without_a_value_leaves_no_interval() -> None:
    reason = "undefined in 1 of 3 folds"
    assert fold_interval([0.5, float("nan"), 0.6]) == (None, None, reason)
    assert estimate_over_folds(np.array([0.5, np.nan, 0.6])) == Estimate(None, why_undefined=reason)


def test_a_figure_is_rounded_to_six_decimals_with_its_ends_and_never_minus_nought() -> None:
    found = with_ends(-1e-9, Interval(-0.12345678, 0.9999999))
    assert found == Estimate(0.0, -0.123457, 1.0)
    assert str(found.value) == "0.0"
