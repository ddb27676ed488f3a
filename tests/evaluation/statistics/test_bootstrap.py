from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from stages.config.errors import UserError
from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.statistics.bootstrap import (
    Draws,
    bootstrap_weights,
    compare,
    draw_figures,
    estimate,
    estimate_mean,
)
from stages.evaluation.statistics.intervals import percentile_interval
from stages.evaluation.statistics.records import Bootstrap, Estimate

TASK = Task(("no", "yes"), 1)
BOOTSTRAP = Bootstrap(draws=200, seed=0)
Z2 = 1.959963984540054**2


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


def estimates_of(
    y_true: Any, model: Model, group_ids: Any, bootstrap: Bootstrap = BOOTSTRAP
) -> dict[str, Estimate]:
    return estimate(draw_metrics(Scored(y_true, *model, group_ids), TASK, bootstrap))


def differences(
    first: Scored, second: Scored, bootstrap: Bootstrap = BOOTSTRAP
) -> dict[str, Estimate]:
    """The first minus the second, of the same patients."""
    one, other = (draw_metrics(side, TASK, bootstrap) for side in (first, second))
    return {name: pair.difference for name, pair in compare(one, other, paired=True).items()}


def difference_of(
    y_true: Any, a: Model, b: Model, group_ids: Any, bootstrap: Bootstrap = BOOTSTRAP
) -> dict[str, Estimate]:
    first, second = (Scored(y_true, *model, group_ids) for model in (a, b))
    return differences(first, second, bootstrap)


def differences_elsewhere(
    first: Scored, second: Scored, bootstrap: Bootstrap = BOOTSTRAP
) -> dict[str, Estimate]:
    """The first minus the second, of other patients."""
    there = draw_metrics(first, TASK, bootstrap)
    here = draw_metrics(second, TASK, bootstrap.independent())
    return {name: pair.difference for name, pair in compare(there, here, paired=False).items()}


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


# ---- draws -------------------------------------------------------------------------------------


def test_bootstrap_keeps_groups_whole_and_draws_as_many_as_there_are() -> None:
    group_ids = np.array(["p2", "p1", "p2", "p3", "p1", "p2", "p4"])
    counts = bootstrap_weights(group_ids, Bootstrap(50, seed=1))
    assert counts.shape == (50, 7)
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert np.array_equal(counts[:, 0], counts[:, 5])
    assert np.array_equal(counts[:, 1], counts[:, 4])
    # One image of each of the four groups: their counts are the four groups drawn.
    assert (counts[:, [0, 1, 3, 6]].sum(axis=1) == 4).all()


def test_bootstrap_uses_each_group_once_on_average_with_the_multinomial_variance() -> None:
    counts = bootstrap_weights(np.arange(10), Bootstrap(4000, seed=2))
    assert counts.mean(axis=0) == pytest.approx([1.0] * 10, abs=0.06)
    assert counts.var(axis=0) == pytest.approx([0.9] * 10, abs=0.1)  # 10 * 1/10 * 9/10


def test_bootstrap_depends_on_the_seed_only() -> None:
    first, again, other = (bootstrap_weights(np.arange(9), Bootstrap(5, s)) for s in (3, 3, 4))
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
        bootstrap_weights(group_ids, Bootstrap(draws, seed=0))


# ---- one model ---------------------------------------------------------------------------------


def test_each_metric_stands_between_its_ends_and_has_six_decimals() -> None:
    y_true = np.tile([0, 1], 40)
    found = estimates_of(y_true, noisy_model(y_true, 1, 0.5), np.repeat(np.arange(40), 2))
    assert len(found) == 11 + 4
    for value, low, high, why_undefined, *of_differences in found.values():
        assert value is not None
        assert low is not None
        assert high is not None
        assert low < value < high
        assert value == round(value, 6)
        assert why_undefined is None
        assert of_differences == [None] * 4


def unsupported(values: NDArray[np.float64], group_ids: Any, bootstrap: Bootstrap) -> Draws:
    """The mean of some values, of which nothing is known but that."""

    def mean(weights: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
        return {"mean": weights @ values / weights.sum(axis=1)}

    return draw_figures(mean, group_ids, {"mean": "an image"}, bootstrap)


def test_draws_are_made_where_a_figure_has_no_support_and_depend_on_the_seed() -> None:
    values = np.random.default_rng(1).random(40)
    first, again, other = (
        unsupported(values, np.arange(40), Bootstrap(200, seed)) for seed in (5, 5, 6)
    )
    assert estimate(first) == estimate(again) != estimate(other)
    assert first.values["mean"].shape == (201,)
    assert estimate(first)["mean"][1:3] == tuple(
        round(end, 6) for end in percentile_interval(first.values["mean"][1:])[:2]
    )


def test_metrics_need_no_draws_and_do_not_depend_on_the_seed() -> None:
    y_true = np.tile([0, 1], 20)
    model = noisy_model(y_true, 1, 0.5)
    one, other = (
        estimates_of(y_true, model, np.arange(40), Bootstrap(200, seed)) for seed in (5, 6)
    )
    assert one == other


def test_a_test_set_of_one_class_gives_none_with_a_reason_for_what_needs_the_other() -> None:
    found = estimates_of([0] * 6, model_that_says([0.1, 0.2, 0.3, 0.4, 0.6, 0.7]), np.arange(6))
    assert found["accuracy"].value == pytest.approx(4 / 6, abs=1e-6)
    reason = "needs an image of every class (no, yes)"
    assert found["auroc"] == Estimate(None, why_undefined=reason)
    assert found["sensitivity"].why_undefined == "needs an image of class 'yes'"
    for each in found.values():
        assert each.has_interval == (each.why_undefined is None)


def test_a_metric_that_rare_images_decide_has_a_value_but_no_interval() -> None:
    # Without the one positive patient there is no AUROC.
    found = estimates_of([0] * 9 + [1], model_that_says([0.2] * 9 + [0.9]), np.arange(10))
    assert found["auroc"].value == 1.0
    assert not found["auroc"].has_interval
    assert found["auroc"].why_undefined is not None
    assert "without one of the patients it has no value" in found["auroc"].why_undefined
    assert found["specificity"].low == pytest.approx(9 / (9 + Z2), abs=1e-6)


def test_one_patient_gives_values_without_intervals() -> None:
    found = estimates_of([0, 1], model_that_says([0.2, 0.9]), ["p1", "p1"])
    assert found["accuracy"] == Estimate(
        1.0, why_undefined="all images are of 1 patient; an interval needs at least 2"
    )


def test_a_group_per_image_is_asked_for() -> None:
    with pytest.raises(UserError, match="got 3 ids for 2 images; give one per image"):
        estimates_of([0, 1], model_that_says([0.2, 0.9]), ["p1", "p2", "p3"])


def test_percentiles_agree_with_scipy_when_each_image_is_a_group() -> None:
    right = (np.random.default_rng(4).random(150) < 0.8).astype(float)
    found = estimate(unsupported(right, np.arange(150), Bootstrap(4000, seed=0)))["mean"]
    expected = stats.bootstrap(
        (right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    # One image is 0.0067 of the mean; the two sets of draws may differ by that.
    assert found.low == pytest.approx(expected.low, abs=0.0134)
    assert found.high == pytest.approx(expected.high, abs=0.0134)


def test_shares_have_wilson_s_interval_where_each_patient_has_one_image() -> None:
    y_true = np.tile([0, 1], 30)
    model = noisy_model(y_true, 4, 0.6)
    found = estimates_of(y_true, model, np.arange(60))
    decided = np.asarray(model.predictions)
    for name, rows, of in (
        ("accuracy", decided == y_true, y_true >= 0),
        ("sensitivity", decided == 1, y_true == 1),
        ("specificity", decided == 0, y_true == 0),
        ("precision", y_true == 1, decided == 1),
        ("recall_no", decided == 0, y_true == 0),
    ):
        expected = proportion_confint((rows & of).sum(), of.sum(), method="wilson")
        assert found[name][1:3] == pytest.approx(expected, abs=2e-6), name


def test_no_perfect_score_has_an_interval_of_one_point() -> None:
    y_true = np.tile([0, 1], 10)
    found = estimates_of(y_true, model_that_says(0.1 + 0.8 * y_true), np.arange(20))
    low = 20 / (20 + Z2)  # Wilson's of 20 of 20, and of 10 of 10
    for name in ("accuracy", "balanced_accuracy", "f1_macro"):
        assert found[name][:3] == (1.0, pytest.approx(low, abs=1e-6), 1.0), name
    for name in ("sensitivity", "specificity", "precision", "average_precision", "recall_yes"):
        assert found[name][:3] == (1.0, pytest.approx(10 / (10 + Z2), abs=1e-6), 1.0), name
    # 10 * 10 / (1 + 9 / 2) = 18.2 (Newcombe 2006); mcc goes from -1 to 1.
    assert found["auroc"].low == pytest.approx((100 / 5.5) / (100 / 5.5 + Z2), abs=1e-6)
    assert found["mcc"].low == pytest.approx(2 * low - 1, abs=1e-6)


def test_a_perfect_score_counts_patients_and_not_their_images() -> None:
    y_true = np.tile([0, 1], 10)
    found = estimates_of(y_true, model_that_says(0.1 + 0.8 * y_true), np.arange(20) // 4)
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "auroc", "f1_macro"):
        assert found[name].low == pytest.approx(5 / (5 + Z2), abs=1e-6), name


def test_a_metric_that_no_patient_moves_is_as_sure_as_its_images() -> None:
    # Always the same answer: half right, whoever is left out with both images.
    found = estimates_of(np.tile([0, 1], 20), model_that_says([0.2] * 40), np.arange(40) // 2)
    low, high = proportion_confint(20, 40, method="wilson")
    assert found["accuracy"][:3] == (
        0.5,
        pytest.approx(low, abs=1e-6),
        pytest.approx(high, abs=1e-6),
    )


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    y_true = np.tile([0, 1], 30)
    model = noisy_model(y_true, 2, 0.7)
    copied = Model(*(np.repeat(part, 4, axis=0) for part in model))
    once = estimates_of(y_true, model, np.arange(60))
    fourfold = estimates_of(np.repeat(y_true, 4), copied, np.repeat(np.arange(60), 4))
    for name, found in fourfold.items():
        assert found.value == pytest.approx(once[name].value, abs=1e-6)
        # Somewhat wider, as Student's t of the patients is over that of the images.
        assert 1 <= width(found) / width(once[name]) < 1.04, name


def test_patient_intervals_cover_the_truth_where_image_intervals_do_not() -> None:
    # 40 patients of 4 images, all right or all wrong, right with probability 0.7.
    rng = np.random.default_rng(8)
    patient_weights = bootstrap_weights(np.repeat(np.arange(40), 4), Bootstrap(300, seed=0))
    image_weights = bootstrap_weights(np.arange(160), Bootstrap(300, seed=0))
    covered = {"patients": 0, "images": 0}
    for _ in range(200):
        scores = np.repeat((rng.random(40) < 0.7).astype(float), 4)
        model = model_that_says(scores)
        for unit, weights in (("patients", patient_weights), ("images", image_weights)):
            draws = compute_metrics([1] * 160, *model, TASK, weights)
            low, high, _ = percentile_interval(draws["accuracy"])
            assert low is not None
            assert high is not None
            covered[unit] += low <= 0.7 <= high
    assert 0.89 <= covered["patients"] / 200 <= 0.99
    assert covered["images"] / 200 < 0.8


# ---- two models --------------------------------------------------------------------------------


def test_a_pair_has_both_models_as_they_are_alone_and_their_difference() -> None:
    y_true = np.tile([0, 1], 30)
    scored = [Scored(y_true, *noisy_model(y_true, s, 1.0), np.arange(60)) for s in (3, 4)]
    first, second = (draw_metrics(side, TASK, BOOTSTRAP) for side in scored)
    for name, pair in compare(first, second, paired=True).items():
        assert pair.first == estimate(first)[name]
        assert pair.second == estimate(second)[name]
        assert pair.difference.value is not None
        assert pair.difference.value == pytest.approx(
            first.values[name][0] - second.values[name][0], abs=1e-6
        )


def test_identical_models_differ_by_zero_as_far_as_so_many_images_show() -> None:
    y_true = np.tile([0, 1], 20)
    model = noisy_model(y_true, 3, 0.5)
    found = difference_of(y_true, model, model, np.arange(40))
    for name, difference in found.items():
        assert difference.value == 0, name
        assert difference.p_value == 1, name
        assert not difference.excludes_zero, name
    # One image more on which they disagree: a standard error of 1 / 41.
    assert found["accuracy"].high == pytest.approx(Z2**0.5 / 41, abs=1e-6)
    assert found["accuracy"].low == -found["accuracy"].high
    # A loss without bounds is known to be the same.
    assert found["log_loss"][:3] == (0.0, 0.0, 0.0)


def test_a_model_with_every_row_twice_does_not_differ_from_itself() -> None:
    y_true = np.tile([0, 1], 20)
    once = Scored(y_true, *noisy_model(y_true, 3, 0.5), [f"p{i // 2}" for i in range(40)])
    twice = Scored(*(np.concatenate([part, part]) for part in once))
    for found in differences(twice, once).values():
        assert (found.value, found.p_value, found.excludes_zero) == (0.0, 1.0, False)


def test_each_model_is_scored_on_its_own_rows() -> None:
    # The first is right on 3 of 4 rows, the second on 1 of 2, of the same two patients.
    first = Scored([0, 1, 0, 1], *model_that_says([0.1, 0.9, 0.2, 0.3]), ["p", "q", "p", "q"])
    second = Scored([1, 0], *model_that_says([0.8, 0.7]), ["q", "p"])
    assert differences(first, second)["accuracy"].value == 0.25
    # Without q: 1 - 0. Without p: 0.5 - 1.
    one, other = (draw_metrics(side, TASK, BOOTSTRAP) for side in (first, second))
    left_out = one.left_out["accuracy"] - other.left_out["accuracy"]
    assert left_out.tolist() == [-0.5, 1.0]


def test_models_of_other_patients_are_refused() -> None:
    first = Scored([0, 1], *model_that_says([0.1, 0.9]), ["p1", "p2"])
    second = Scored([0, 1], *model_that_says([0.1, 0.9]), ["p1", "p3"])
    said = "2 have rows of one model only, the first p2; give both models rows of the same"
    with pytest.raises(ValueError, match=said):
        differences(first, second)


def test_draws_that_do_not_go_together_are_refused() -> None:
    scored = Scored([0, 1], *model_that_says([0.1, 0.9]), ["p1", "p2"])
    one, other = (draw_metrics(scored, TASK, Bootstrap(200, seed)) for seed in (0, 1))
    with pytest.raises(ValueError, match="give the same draws"):
        compare(one, other, paired=True)
    with pytest.raises(ValueError, match="give draws of their own"):
        compare(one, one, paired=False)


def test_swapping_the_models_mirrors_the_interval_and_keeps_the_p_value() -> None:
    y_true = np.tile([0, 1], 30)
    a, b = noisy_model(y_true, 3, 1.0), noisy_model(y_true, 4, 0.5)
    forward = difference_of(y_true, a, b, np.arange(60))["auroc"]
    backward = difference_of(y_true, b, a, np.arange(60))["auroc"]
    assert backward.low is not None
    assert forward.high == pytest.approx(-backward.low)
    assert forward.p_value == backward.p_value


def test_a_perfect_model_beats_a_reversed_one() -> None:
    y_true = np.tile([0, 1], 20)
    perfect, reversed_ = model_that_says(0.1 + 0.8 * y_true), model_that_says(0.9 - 0.8 * y_true)
    found = difference_of(y_true, perfect, reversed_, np.arange(40))
    # Shrunk to 40 / 41, with a standard error of 1 / 41.
    assert found["accuracy"][:3] == (1.0, pytest.approx((40 - Z2**0.5) / 41, abs=1e-6), 1.0)
    assert found["accuracy"].p_value == pytest.approx(2 * stats.norm.sf(40))
    assert found["accuracy"].excludes_zero
    # A log loss that differs by as much for every patient: no spread, and no p-value.
    assert found["log_loss"].value == pytest.approx(np.log(0.1) - np.log(0.9), abs=1e-6)
    assert found["log_loss"].p_value is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("images_per_patient", [1, 3])
def test_a_p_value_is_below_one_in_twenty_exactly_where_the_interval_excludes_zero(
    paired: bool, images_per_patient: int
) -> None:
    y_true = np.tile([0, 1], 30)
    groups = np.arange(60) // images_per_patient
    seen = set()
    for seed in range(30):
        models = noisy_model(y_true, seed, 0.9), noisy_model(y_true, seed + 100, 0.4)
        first, second = (Scored(y_true, *model, groups) for model in models)
        found = differences(first, second) if paired else differences_elsewhere(first, second)
        for name, difference in found.items():
            assert difference.p_value is not None, name
            assert difference.excludes_zero == (difference.p_value < 0.05), (name, seed)
            seen.add(difference.excludes_zero)
    assert seen == {True, False}


def test_what_could_have_been_settled_is_two_point_eight_standard_errors() -> None:
    y_true = np.tile([0, 1], 30)
    found = difference_of(
        y_true, noisy_model(y_true, 3, 0.9), noisy_model(y_true, 4, 0.6), np.arange(60)
    )["auroc"]
    # 1.959964 standard errors on either side; 1.959964 + 0.841621 for 80 % power.
    assert found.detectable == pytest.approx(width(found) / 2 * 2.801585 / 1.959964, abs=1e-5)


def test_differences_of_a_figure_without_support_have_percentiles_and_their_p_value() -> None:
    values = np.random.default_rng(2).random((2, 30))
    first, second = (unsupported(side, np.arange(30), BOOTSTRAP) for side in values)
    found = compare(first, second, paired=True)["mean"].difference
    drawn = first.values["mean"][1:] - second.values["mean"][1:]
    tails = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    assert found.p_value == pytest.approx(min(1, 2 * tails / 201), abs=1e-6)
    assert found[1:3] == pytest.approx(percentile_interval(drawn)[:2], abs=1e-6)
    assert found.detectable is None


def test_shared_draws_make_the_difference_of_like_models_narrower_than_each_model() -> None:
    y_true = np.tile([0, 1], 50)
    a = noisy_model(y_true, 3, 0.5)
    b = model_that_says(np.clip(np.asarray(a.probabilities)[:, 1] + 0.01, 0, 1))
    alone = estimates_of(y_true, a, np.arange(100))
    between = difference_of(y_true, a, b, np.arange(100))
    assert width(between["accuracy"]) < width(alone["accuracy"]) / 2


def test_a_difference_that_one_model_leaves_undefined_is_none_with_a_reason() -> None:
    y_true = np.tile([0, 1], 10)
    never = model_that_says(np.full(20, 0.2))
    found = difference_of(y_true, noisy_model(y_true, 1, 0.5), never, np.arange(20))
    reason = "needs a prediction of class 'yes' for both models"
    assert found["precision"] == Estimate(None, why_undefined=reason)


def test_the_same_scores_of_other_patients_differ_by_zero_within_an_interval() -> None:
    """Draws of their own: the interval is as wide as that of two independent samples."""
    y_true = np.tile([0, 1], 60)
    model, bootstrap = noisy_model(y_true, 5, 0.8), Bootstrap(2000, seed=0)
    scored = Scored(y_true, *model, np.arange(120))
    one = estimates_of(y_true, model, np.arange(120), bootstrap)["auroc"]
    difference = differences_elsewhere(scored, scored, bootstrap)["auroc"]
    assert difference.value == 0.0
    assert width(difference) == pytest.approx(np.sqrt(2) * width(one), rel=0.1)


def test_a_drop_on_other_patients_is_the_first_minus_the_second() -> None:
    good = Scored([0, 1, 0, 1], *model_that_says([0.1, 0.9, 0.2, 0.8]), ["a", "b", "c", "d"])
    bad = Scored([0, 1, 0], *model_that_says([0.9, 0.1, 0.2]), ["x", "y", "z"])
    found = differences_elsewhere(good, bad)
    assert found["accuracy"].value == pytest.approx(2 / 3, abs=1e-6)
    assert found["sensitivity"].value == 1.0


# ---- means over images -------------------------------------------------------------------------


def test_a_mean_stands_in_an_interval_of_draws_of_whole_patients() -> None:
    # Two patients with 0 and 1 throughout: a quarter of the draws are of either alone.
    found = estimate_mean(np.array([0.0, 0.0, 1.0, 1.0]), ["p", "p", "q", "q"], BOOTSTRAP)
    assert found == Estimate(0.5, 0.0, 1.0)


def test_copies_of_an_image_do_not_narrow_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).random(30)
    once = estimate_mean(values, np.arange(30), BOOTSTRAP)
    thrice = estimate_mean(np.tile(values, 3), np.tile(np.arange(30), 3), BOOTSTRAP)
    assert thrice[:3] == pytest.approx(once[:3], abs=1e-6)


def test_a_mean_of_nothing_or_of_one_patient_says_why() -> None:
    assert estimate_mean(np.array([]), [], BOOTSTRAP) == Estimate(
        None, why_undefined="needs an image"
    )
    assert estimate_mean(np.array([0.25, 0.75]), ["p", "p"], BOOTSTRAP) == Estimate(
        0.5, why_undefined="all images are of 1 patient; an interval needs at least 2"
    )
