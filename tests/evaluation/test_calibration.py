from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from stages.dataset.task import Task
from stages.evaluation.calibration import (
    N_BINS,
    PROBABILITY_FLOOR,
    TEMPERATURE_BOUNDS,
    Calibration,
    Reliability,
    RunsCalibration,
    apply_temperature,
    calibrate_runs,
    compute_calibration_error,
    compute_classwise_error,
    compute_reliability,
    describe_calibration,
    fit_temperature,
)
from stages.evaluation.scored import Scored, ScoredRun
from stages.evaluation.statistics.records import Bootstrap

TASK = Task(("normal", "covid"), 1)


def scored(probabilities: Any, y_true: Any) -> Scored:
    """Rows of as many patients, decided for the likeliest class."""
    rows = np.asarray(probabilities, np.float64)
    return Scored(np.asarray(y_true), rows, rows.argmax(axis=1), np.arange(len(rows)))


def of_second(values: Any) -> NDArray[np.float64]:
    second = np.asarray(values, np.float64)
    return np.column_stack((1 - second, second))


def drawn(n: int, classes: int, temperature: float, seed: int = 0) -> Scored:
    """Images whose labels follow calibrated probabilities, told with logits `temperature`-fold."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return scored(softmax(temperature * logits, axis=1).round(6), np.minimum(labels, classes - 1))


def reliability_of(rows: Scored) -> Reliability:
    """Of the predicted class."""
    confidence = np.asarray(rows.probabilities).max(axis=1)
    is_right = np.asarray(rows.predictions) == np.asarray(rows.y_true)
    return compute_reliability(confidence, is_right, N_BINS)


# ---- temperature -------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_a_model_too_sure_is_found(
    classes: int, temperature: float
) -> None:
    val = drawn(20_000, classes, temperature)
    found = fit_temperature(val.probabilities, val.y_true)
    assert found.value == pytest.approx(temperature, rel=0.05)
    assert found.reason is None


def test_a_temperature_is_the_least_of_the_log_losses_around_it() -> None:
    val = drawn(300, 3, 2.0)
    found = fit_temperature(val.probabilities, val.y_true).value

    def loss_at(temperature: float) -> float:
        return log_loss(val.y_true, apply_temperature(val.probabilities, temperature))

    assert loss_at(found) < min(loss_at(found * 1.02), loss_at(found / 1.02))


def test_the_temperature_of_a_share_that_is_right_gives_that_share_as_its_probability() -> None:
    # Says 0.9 and is right in 3 of 4: softmax(log(9) / T) is 3/4 at T = log 9 / log 3 = 2.
    found = fit_temperature(of_second([0.9] * 4), [1, 1, 1, 0])
    assert found.value == pytest.approx(2.0, abs=1e-4)
    np.testing.assert_allclose(
        apply_temperature(of_second([0.9]), found.value), [[0.25, 0.75]], atol=1e-4
    )


def test_dividing_logits_of_three_classes_by_two_is_a_square_root_of_the_probabilities() -> None:
    # Roots 0.8, 0.5, 0.332: of (0.64, 0.25, 0.11).
    roots = np.sqrt([0.64, 0.25, 0.11])
    np.testing.assert_allclose(
        apply_temperature([[0.64, 0.25, 0.11]], 2.0)[0], roots / roots.sum(), rtol=1e-12
    )


def test_temperature_one_leaves_probabilities_and_any_temperature_leaves_their_order() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    np.testing.assert_allclose(apply_temperature(rows, 1.0), rows, atol=1e-12)
    for temperature in TEMPERATURE_BOUNDS:
        scaled = apply_temperature(rows, temperature)
        np.testing.assert_array_equal(scaled.argsort(axis=1), rows.argsort(axis=1))
        np.testing.assert_allclose(scaled.sum(axis=1), 1.0)


def test_a_probability_written_as_nought_counts_as_half_the_last_decimal() -> None:
    scaled = apply_temperature([[0.0, 1.0]], 1.0)[0, 0]
    assert scaled == pytest.approx(PROBABILITY_FLOOR)
    assert PROBABILITY_FLOOR == 0.0000005


def test_a_val_set_without_an_error_has_the_lowest_temperature_and_a_reason() -> None:
    lowest, highest = TEMPERATURE_BOUNDS
    for sure in (0.7, 0.99, 1.0):  # to the last: its log loss is nought long before the bound
        found = fit_temperature(of_second([1 - sure, sure, sure]), [0, 1, 1])
        assert found == (lowest, "at the bound 0.1: the log loss of val is least there")
    all_wrong = fit_temperature(of_second([0.9, 0.9, 0.1]), [0, 0, 1])
    assert all_wrong == (highest, "at the bound 10: the log loss of val is least there")


# ---- calibration error -------------------------------------------------------------------------


def test_the_calibration_error_of_two_bins_by_hand() -> None:
    # Four rows at 0.9 of which 3 are right, one at 0.6 that is wrong:
    # (4 * |0.75 - 0.9| + 1 * |0 - 0.6|) / 5 = (0.6 + 0.6) / 5.
    rows = scored(of_second([0.9, 0.9, 0.9, 0.1, 0.6]), [1, 1, 0, 0, 0])
    found = reliability_of(rows)
    np.testing.assert_allclose(found.confidence, [0.6, 0.9])
    np.testing.assert_allclose(found.accuracy, [0.0, 0.75])
    assert found.n.tolist() == [1, 4]
    assert compute_calibration_error(found) == pytest.approx(0.24)


def test_the_classwise_error_is_the_mean_of_that_of_each_class_by_hand() -> None:
    # Class 0: told 0.7, 0.7, 0.1, 0.1 of which 1, 0, 0, 0: two bins, off by 0.2 and 0.1: 0.15.
    # Class 1: 0.2, 0.2, 0.2, 0.8 of 0, 1, 0, 1: off by 2/15 (three) and 0.2: 0.15.
    # Class 2: 0.1, 0.1, 0.7, 0.1 of 0, 0, 1, 0: off by 0.1 (three) and 0.3: 0.15.
    rows = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    truth = np.array([0, 1, 2, 1])
    assert compute_classwise_error(rows, truth) == pytest.approx(0.15)
    # The likeliest classes alone: two at 0.7 of which one is right, one right at 0.7, one at 0.8.
    likeliest = compute_calibration_error(reliability_of(scored(rows, truth)))
    assert likeliest == pytest.approx((3 * abs(2 / 3 - 0.7) + 0.2) / 4)


def test_a_confidence_on_an_edge_is_in_the_bin_below_it() -> None:
    # 0.6 is the upper edge of the ninth of 15 bins; 0.61 is in the tenth.
    assert reliability_of(scored(of_second([0.6, 0.59]), [1, 1])).n.tolist() == [2]
    assert reliability_of(scored(of_second([0.6, 0.61]), [1, 1])).n.tolist() == [1, 1]
    assert reliability_of(scored(of_second([1.0, 0.0]), [1, 1])).n.tolist() == [2]
    # Fifteen bins: an edge at 2/3, none between 0.69 and 0.71.
    assert reliability_of(scored(of_second([0.66, 0.67]), [1, 1])).n.tolist() == [1, 1]
    assert reliability_of(scored(of_second([0.69, 0.71]), [1, 1])).n.tolist() == [2]


@pytest.mark.parametrize("classes", [2, 3])
def test_reliability_is_that_of_scikit_learn_on_the_confidences(classes: int) -> None:
    rows = drawn(2000, classes, 2.0)
    is_right = np.asarray(rows.predictions) == rows.y_true
    confidence = np.asarray(rows.probabilities).max(axis=1)
    accuracy, mean = calibration_curve(is_right, confidence, n_bins=N_BINS)
    found = reliability_of(rows)
    np.testing.assert_allclose(found.accuracy, accuracy)
    np.testing.assert_allclose(found.confidence, mean)
    assert found.n.sum() == 2000


# ---- description -------------------------------------------------------------------------------


def test_losses_are_those_of_scikit_learn_inside_their_intervals() -> None:
    rows = drawn(200, 2, 2.0)
    losses = describe_calibration(rows, TASK, Bootstrap(300, seed=0)).losses
    second = np.asarray(rows.probabilities)[:, 1]
    assert losses["log_loss"].value == pytest.approx(log_loss(rows.y_true, second), abs=1e-6)
    assert losses["brier"].value == pytest.approx(brier_score_loss(rows.y_true, second), abs=1e-6)
    for loss in losses.values():
        assert loss.low is not None
        assert loss.value is not None
        assert loss.high is not None
        assert loss.low < loss.value < loss.high


def test_a_single_patient_leaves_figures_without_interval_and_says_why() -> None:
    rows = drawn(10, 2, 2.0)._replace(group_ids=["g"] * 10)
    figures = describe_calibration(rows, TASK, Bootstrap(300, seed=0)).to_json()
    assert figures["log_loss"] is not None
    assert figures["log_loss_low"] is None
    assert set(figures["undefined"]) == {
        f"{name}_{end}" for name in ("log_loss", "brier") for end in ("low", "high")
    }


def calibrated(*runs: ScoredRun) -> RunsCalibration:
    return calibrate_runs(runs, TASK, Bootstrap(100, seed=0))


def error_and_losses(found: Calibration) -> list[float | None]:
    return [found.ece, found.losses["log_loss"].value, found.losses["brier"].value]


def test_the_temperature_of_val_brings_probabilities_of_test_closer_to_the_truth() -> None:
    run = ScoredRun("", 1, 0, drawn(2000, 2, 2.5, seed=1), drawn(2000, 2, 2.5, seed=2))
    found = calibrated(run)
    sides = (error_and_losses(side) for side in (found.before, found.after))
    for before, after in zip(*sides, strict=True):
        assert before is not None
        assert after is not None
        assert after < before
    assert found.before.ece > 0.05
    assert found.after.ece < 0.03


def test_a_temperature_never_depends_on_test() -> None:
    val, test = drawn(200, 2, 2.5, seed=1), drawn(200, 2, 2.5, seed=2)
    found = calibrated(ScoredRun("", 1, 0, val, test))
    flipped = test._replace(y_true=1 - np.asarray(test.y_true))
    again = calibrated(ScoredRun("", 1, 0, val, flipped))
    assert again.temperatures == found.temperatures
    assert again.before.losses != found.before.losses


def test_each_run_is_scaled_with_the_temperature_of_its_own_val() -> None:
    sure = ScoredRun("a", 1, 0, drawn(2000, 2, 3.0, seed=1), drawn(2000, 2, 3.0, seed=2))
    timid = ScoredRun("b", 1, 1, drawn(2000, 2, 0.5, seed=3), drawn(2000, 2, 0.5, seed=4))
    found = calibrated(sure, timid)
    assert list(found.temperatures) == ["a", "b"]
    for run in (sure, timid):
        assert found.temperatures[run.name] == calibrated(run).temperatures[run.name]
    assert found.after.ece < 0.03
    assert found.after.reliability.n.sum() == 4000


def test_in_json_a_temperature_has_its_run_and_a_curve_its_counts() -> None:
    run = ScoredRun("a", 1, 0, drawn(50, 2, 1.0, seed=1), drawn(50, 2, 1.0, seed=2))
    content = calibrated(run).to_json()
    assert list(content) == ["temperatures", "before", "after"]
    assert [list(entry) for entry in content["temperatures"]] == [["name", "temperature", "reason"]]
    ends = [name + end for name in ("log_loss", "brier") for end in ("", "_low", "_high")]
    names = ["ece", "classwise_ece", *ends, "undefined", "reliability", "classes"]
    assert list(content["after"]) == names
    assert list(content["after"]["classes"]) == ["covid"]
    curve = content["after"]["reliability"]
    assert list(curve) == ["confidence", "accuracy", "count"]
    assert sum(curve["count"]) == 50
