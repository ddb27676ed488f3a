from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

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
)
def test_bootstrap_refuses_groups_it_cannot_draw(group_ids: Any, draws: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bootstrap_weights(group_ids, draws=draws, seed=0)


def test_percentile_interval_cuts_equal_tails() -> None:
    interval = percentile_interval(np.arange(101.0), level=0.9)
    assert (interval.low, interval.high, interval.reason) == pytest.approx((5.0, 95.0, None))


def test_percentile_interval_allows_five_percent_undefined_draws_and_no_more() -> None:
    draws = np.arange(100.0)
    draws[:5] = np.nan
    assert percentile_interval(draws).reason is None
    draws[5] = np.nan
    interval = percentile_interval(draws)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "undefined in 6 of 100 draws; at most 5% may be"


def test_level_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"level: got 95; give a share between 0 and 1"):
        percentile_interval([1.0, 2.0], level=95)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (7, 10), (81, 263)])
def test_wilson_interval_equals_scipy(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    found = wilson_interval(successes, n)
    assert found[:2] == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_of_no_success_is_the_value_worked_by_hand() -> None:
    # share 0: high = z^2 / (n + z^2) with z^2 = 3.8415, so 3.8415 / 13.8415.
    assert wilson_interval(0, 10)[:2] == pytest.approx((0.0, 0.27753), abs=1e-5)


def test_wilson_interval_without_trials_has_a_reason_and_refuses_impossible_counts() -> None:
    assert wilson_interval(0, 0) == (None, None, "no trials")
    with pytest.raises(UserError, match="got 6 successes of 5; give from 0 to n"):
        wilson_interval(6, 5)


def test_each_metric_stands_between_its_ends_and_has_six_decimals() -> None:
    y_true = np.tile([0, 1], 40)
    table = table_of(y_true, noisy_model(y_true, 1, 0.5), np.repeat(np.arange(40), 2))
    assert table.undefined == {}
    names = [name for name in table.values if f"{name}_low" in table.values]
    assert len(table.values) == 3 * len(names) == 3 * (11 + 4)
    for name in names:
        low, value, high = (table.values[name + end] for end in ("_low", "", "_high"))
        assert low is not None
        assert value is not None
        assert high is not None
        assert low < value < high
        assert value == round(value, 6)


def test_same_seed_gives_the_same_table() -> None:
    y_true = np.tile([0, 1], 20)
    model = noisy_model(y_true, 1, 0.5)
    first, again, other = (table_of(y_true, model, np.arange(40), seed=s) for s in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_test_set_of_one_class_gives_none_with_a_reason_for_what_needs_the_other() -> None:
    table = table_of([0] * 6, model_that_says([0.1, 0.2, 0.3, 0.4, 0.6, 0.7]), np.arange(6))
    assert table.values["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert table.values["auroc"] is table.values["auroc_low"] is None
    assert table.undefined["auroc"] == "needs an image of every class (no, yes)"
    assert table.undefined["sensitivity_high"] == "needs an image of class 'yes'"
    assert {k for k, v in table.values.items() if v is None} == set(table.undefined)


def test_a_metric_that_rare_images_decide_has_a_value_but_no_interval() -> None:
    # The one positive patient is missing from about 37 % of the draws.
    table = table_of([0] * 9 + [1], model_that_says([0.2] * 9 + [0.9]), np.arange(10))
    assert table.values["auroc"] == 1.0
    assert table.values["auroc_low"] is table.values["auroc_high"] is None
    assert "of 200 draws; at most 5% may be" in table.undefined["auroc_low"]
    assert table.values["specificity_low"] == 1.0


def test_one_patient_gives_values_without_intervals() -> None:
    table = table_of([0, 1], model_that_says([0.2, 0.9]), ["p1", "p1"])
    assert table.values["accuracy"] == 1.0
    assert table.undefined["accuracy_low"] == (
        "all images are of 1 patient; an interval needs at least 2"
    )


def test_a_group_per_image_is_asked_for() -> None:
    with pytest.raises(UserError, match="got 3 ids for 2 images; give one per image"):
        table_of([0, 1], model_that_says([0.2, 0.9]), ["p1", "p2", "p3"])


def test_class_names_that_read_as_ends_of_an_interval_are_refused() -> None:
    probabilities = np.full((3, 3), 1 / 3)
    with pytest.raises(UserError, match=r"'f1_risk_low', 'recall_risk_low'.* rename the class"):
        table_of(
            [0, 1, 2],
            Model(probabilities, [0, 1, 2]),
            [0, 1, 2],
            class_names=["no", "risk", "risk_low"],
        )


def test_accuracy_interval_agrees_with_scipy_when_each_image_is_a_group() -> None:
    y_true = np.tile([0, 1], 75)
    model = noisy_model(y_true, 4, 1.0)
    table = table_of(y_true, model, np.arange(150), draws=4000)
    right = (np.asarray(model.predictions) == y_true).astype(float)
    expected = stats.bootstrap(
        (right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    # One image is 0.0067 of the accuracy; the two sets of draws may differ by that.
    assert table.values["accuracy_low"] == pytest.approx(expected.low, abs=0.0134)
    assert table.values["accuracy_high"] == pytest.approx(expected.high, abs=0.0134)


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    y_true = np.tile([0, 1], 30)
    model = noisy_model(y_true, 2, 0.7)
    copied = Model(*(np.repeat(part, 4, axis=0) for part in model))
    once = table_of(y_true, model, np.arange(60))
    fourfold = table_of(np.repeat(y_true, 4), copied, np.repeat(np.arange(60), 4))
    assert fourfold.values == pytest.approx(once.values, abs=1e-6)


def test_patient_intervals_cover_the_truth_where_image_intervals_do_not() -> None:
    # 40 patients of 4 images, all right or all wrong, right with probability 0.7.
    rng = np.random.default_rng(8)
    patient_weights = bootstrap_weights(np.repeat(np.arange(40), 4), draws=300, seed=0)
    image_weights = bootstrap_weights(np.arange(160), draws=300, seed=0)
    covered = {"patients": 0, "images": 0}
    for _ in range(200):
        scores = np.repeat((rng.random(40) < 0.7).astype(float), 4)
        model = model_that_says(scores)
        for unit, weights in (("patients", patient_weights), ("images", image_weights)):
            draws = compute_metrics(
                [1] * 160, *model, class_names=NAMES, positive=1, weights=weights
            )
            low, high, _ = percentile_interval(draws["accuracy"])
            assert low is not None
            assert high is not None
            covered[unit] += low <= 0.7 <= high
    assert 0.89 <= covered["patients"] / 200 <= 0.99
    assert covered["images"] / 200 < 0.8


def test_identical_models_differ_by_exactly_zero() -> None:
    y_true = np.tile([0, 1], 20)
    model = noisy_model(y_true, 3, 0.5)
    table = difference_of(y_true, model, model, np.arange(40))
    for name, value in table.values.items():
        assert value == (1.0 if name.endswith("_p_value") else 0.0)
    assert table.undefined == {}


def test_a_model_with_every_row_twice_differs_from_itself_by_exactly_zero() -> None:
    y_true = np.tile([0, 1], 20)
    once = Scored(y_true, *noisy_model(y_true, 3, 0.5), [f"p{i // 2}" for i in range(40)])
    twice = Scored(*(np.concatenate([part, part]) for part in once))
    table = paired_difference(twice, once, class_names=NAMES, positive=1, draws=200, seed=0)
    for name, value in table.values.items():
        assert value == (1.0 if name.endswith("_p_value") else 0.0)
    assert table.undefined == {}


def test_each_model_is_scored_on_its_own_rows() -> None:
    # The first is right on 3 of 4 rows, the second on 1 of 2, of the same two patients.
    first = Scored([0, 1, 0, 1], *model_that_says([0.1, 0.9, 0.2, 0.3]), ["p", "q", "p", "q"])
    second = Scored([1, 0], *model_that_says([0.8, 0.7]), ["q", "p"])
    table = paired_difference(first, second, class_names=NAMES, positive=1, draws=200, seed=0)
    assert table.values["accuracy"] == 0.25
    # Only p drawn: 1 - 0. Only q: 0.5 - 1. A quarter of the draws each.
    assert (table.values["accuracy_low"], table.values["accuracy_high"]) == (-0.5, 1.0)


def test_models_of_other_patients_are_refused() -> None:
    first = Scored([0, 1], *model_that_says([0.1, 0.9]), ["p1", "p2"])
    second = Scored([0, 1], *model_that_says([0.1, 0.9]), ["p1", "p3"])
    said = "2 have rows of one model only, the first p2; give both models rows of the same"
    with pytest.raises(ValueError, match=said):
        paired_difference(first, second, class_names=NAMES, positive=1, draws=200, seed=0)


def test_swapping_the_models_mirrors_the_interval_and_keeps_the_p_value() -> None:
    y_true = np.tile([0, 1], 30)
    a, b = noisy_model(y_true, 3, 1.0), noisy_model(y_true, 4, 0.5)
    forward = difference_of(y_true, a, b, np.arange(60)).values
    backward = difference_of(y_true, b, a, np.arange(60)).values
    low = backward["auroc_low"]
    assert low is not None
    assert forward["auroc_high"] == pytest.approx(-low)
    assert forward["auroc_p_value"] == backward["auroc_p_value"]


def test_a_perfect_model_beats_a_reversed_one_with_the_smallest_p_value() -> None:
    y_true = np.tile([0, 1], 20)
    perfect, reversed_ = model_that_says(0.1 + 0.8 * y_true), model_that_says(0.9 - 0.8 * y_true)
    values = difference_of(y_true, perfect, reversed_, np.arange(40), draws=199).values
    assert (values["accuracy"], values["accuracy_low"], values["accuracy_high"]) == (1, 1, 1)
    assert values["accuracy_p_value"] == pytest.approx(2 / 200)
    assert values["log_loss"] == pytest.approx(np.log(0.1) - np.log(0.9), abs=1e-6)


def test_shared_draws_make_the_difference_of_like_models_narrower_than_each_model() -> None:
    y_true = np.tile([0, 1], 50)
    a = noisy_model(y_true, 3, 0.5)
    b = model_that_says(np.clip(np.asarray(a.probabilities)[:, 1] + 0.01, 0, 1))
    alone = table_of(y_true, a, np.arange(100)).values
    between = difference_of(y_true, a, b, np.arange(100)).values

    def width(values: dict[str, float | None]) -> float:
        low, high = values["accuracy_low"], values["accuracy_high"]
        assert low is not None
        assert high is not None
        return high - low

    assert width(between) < width(alone) / 2


def test_a_difference_that_one_model_leaves_undefined_is_none_with_a_reason() -> None:
    y_true = np.tile([0, 1], 10)
    never = model_that_says(np.full(20, 0.2))
    table = difference_of(y_true, noisy_model(y_true, 1, 0.5), never, np.arange(20))
    fields = ["precision", "precision_low", "precision_high", "precision_p_value"]
    assert [table.values[field] for field in fields] == [None] * 4
    assert table.undefined == dict.fromkeys(
        fields, "needs a prediction of class 'yes' for both models"
    )


def test_the_same_scores_of_other_patients_differ_by_zero_within_an_interval() -> None:
    """Draws of their own: the interval is as wide as that of two independent samples."""
    y_true = np.tile([0, 1], 60)
    scored = Scored(y_true, *noisy_model(y_true, 5, 0.8), np.arange(120))
    settings: dict[str, Any] = {"class_names": NAMES, "positive": 1, "draws": 2000, "seed": 0}
    one, difference = (
        metrics_with_intervals(scored, **settings).values,
        unpaired_difference(scored, scored, **settings).values,
    )
    assert difference["auroc"] == 0.0
    width, width_of_one = (
        v["auroc_high"] - v["auroc_low"]  # type: ignore[operator]
        for v in (difference, one)
    )
    assert width == pytest.approx(np.sqrt(2) * width_of_one, rel=0.1)


def test_a_drop_on_other_patients_is_the_first_minus_the_second() -> None:
    good = Scored([0, 1, 0, 1], *model_that_says([0.1, 0.9, 0.2, 0.8]), ["a", "b", "c", "d"])
    bad = Scored([0, 1, 0], *model_that_says([0.9, 0.1, 0.2]), ["x", "y", "z"])
    table = unpaired_difference(good, bad, class_names=NAMES, positive=1, draws=200, seed=0)
    assert table.values["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert table.values["sensitivity"] == 1.0


def test_the_interval_over_folds_is_the_corrected_resampled_t() -> None:
    # Mean 0.6, sd 0.1, t(4) = 2.776445; 1/5 + 1/4 = 0.45.
    values = [0.5, 0.5, 0.6, 0.7, 0.7]
    half = 2.776445 * 0.1 * 0.45**0.5
    assert fold_interval(values)[:2] == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


def test_the_interval_over_folds_stays_between_0_and_1() -> None:
    assert fold_interval([0.9, 1.0, 1.0]).high == 1.0
    assert fold_interval([0.1, 0.0, 0.0]).low == 0.0


def test_a_fold_without_a_value_leaves_no_interval() -> None:
    assert fold_interval([0.5, float("nan"), 0.6]) == (None, None, "undefined in 1 of 3 folds")
