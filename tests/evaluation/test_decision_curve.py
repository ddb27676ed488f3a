from typing import Any

import numpy as np
import pytest

from stages.dataset.task import Task
from stages.evaluation.decision_curve import (
    THRESHOLDS,
    DecisionCurve,
    build_decision_curve,
    count_calls,
)
from stages.evaluation.scored import Scored
from stages.evaluation.statistics.records import Bootstrap, Estimate

TASK = Task(("normal", "covid"), 1)
TRUTH = [0, 0, 1, 0, 1, 1, 0, 1, 0, 0]
TOLD = [0.05, 0.2, 0.15, 0.4, 0.6, 0.35, 0.7, 0.9, 0.1, 0.3]


def curve_of(told: Any, truth: Any, *prevalences: float, groups: Any = None) -> DecisionCurve:
    second = np.asarray(told, float)
    patients = np.arange(len(second)) if groups is None else np.asarray(groups)
    rows = np.column_stack((1 - second, second))
    scored = Scored(np.asarray(truth), rows, rows.argmax(axis=1), patients)
    return build_decision_curve(scored, TASK, prevalences, Bootstrap(200, 0))


def at(threshold: float, values: Any) -> Any:
    return values[THRESHOLDS.tolist().index(threshold)]


# dcurves 1.1.7, dca(thresholds=[0.1, 0.25, 0.5, 0.65]) of the ten rows above; then the same with
# prevalence=0.1. Not installed with the tests: it needs an older pandas.
DCURVES = {
    0.1: (0.344444, 0.333333),
    0.25: (0.2, 0.2),
    0.5: (0.1, -0.2),
    0.65: (-0.085714, -0.714286),
}
DCURVES_AT_A_TENTH = {
    0.1: (0.016667, 0.0),
    0.25: (-0.075, -0.2),
    0.5: (-0.1, -0.8),
    0.65: (-0.253571, -1.571429),
}


def test_net_benefit_is_that_of_dcurves() -> None:
    found = curve_of(TOLD, TRUTH)
    for threshold, (benefit, treat_all) in DCURVES.items():
        assert at(threshold, found.net_benefit).value == benefit
        assert at(threshold, found.treat_all) == treat_all


def test_net_benefit_at_another_prevalence_is_that_of_dcurves() -> None:
    found = curve_of(TOLD, TRUTH, 0.1).standardised[0.1]
    for threshold, (benefit, treat_all) in DCURVES_AT_A_TENTH.items():
        assert at(threshold, found.net_benefit) == benefit
        assert at(threshold, found.treat_all) == treat_all


def test_at_their_own_prevalence_nothing_changes() -> None:
    found = curve_of(TOLD, TRUTH, 0.4)
    own = [point.value for point in found.net_benefit]
    assert found.prevalence == 0.4
    assert found.standardised[0.4].net_benefit == pytest.approx(own, abs=1e-6)
    assert found.standardised[0.4].treat_all == pytest.approx(found.treat_all, abs=1e-6)


def test_a_half_counts_false_alarms_as_hits() -> None:
    # Three are called from 0.5 on, two of them rightly: (2 - 1) / 10.
    assert at(0.5, curve_of(TOLD, TRUTH).net_benefit).value == 0.1


def test_a_probability_reaches_the_threshold_that_it_is_written_as() -> None:
    for number, threshold in enumerate(THRESHOLDS):
        weights, written = np.ones((1, 1)), float(f"{threshold:.6f}")
        hits, *_ = count_calls(np.array([written]), np.array([True]), weights)
        assert hits[0].tolist() == [1.0] * (number + 1) + [0.0] * (98 - number)


def test_gain_is_above_the_better_of_all_and_none() -> None:
    found = curve_of(TOLD, TRUTH)
    assert at(0.1, found.gain).value == pytest.approx(0.344444 - 0.333333, abs=1e-6)
    assert at(0.5, found.gain).value == 0.1  # none is better than all there
    # Where all reach the threshold the model does what acting on all does.
    assert at(0.05, found.gain) == Estimate(0.0, 0.0, 0.0)


def test_a_perfect_model_gains_the_prevalence_where_nobody_would_act() -> None:
    found = curve_of([0.0] * 6 + [1.0] * 4, [0] * 6 + [1] * 4)
    assert {point.value for point in found.net_benefit} == {0.4}
    assert at(0.5, found.gain).value == 0.4
    assert at(0.01, found.gain).value == pytest.approx(0.6 * 0.01 / 0.99, abs=1e-6)


def test_draws_are_of_whole_patients() -> None:
    apart = curve_of(TOLD * 2, TRUTH * 2)
    together = curve_of(TOLD * 2, TRUTH * 2, groups=[*range(10), *range(10)])
    once = curve_of(TOLD, TRUTH)
    assert at(0.5, together.net_benefit) == at(0.5, once.net_benefit)
    assert at(0.5, apart.net_benefit) != at(0.5, once.net_benefit)


def test_without_a_positive_there_are_false_alarms_alone() -> None:
    found = curve_of([0.2, 0.6, 0.7], [0, 0, 0], 0.1)
    assert found.prevalence == 0
    assert at(0.5, found.net_benefit).value == pytest.approx(-2 / 3, abs=1e-6)
    assert at(0.5, found.treat_all) == -1
    assert set(found.standardised[0.1].net_benefit) == {None}
    assert at(0.1, found.standardised[0.1].treat_all) == 0


def test_of_three_classes_the_positive_one_stands_against_the_others() -> None:
    three = Task(("normal", "pneumonia", "covid"), 2)
    told = np.array([[0.1, 0.2, 0.7], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
    scored = Scored(np.array([2, 1, 1]), told, told.argmax(axis=1), np.arange(3))
    found = build_decision_curve(scored, three, [], Bootstrap(100, 0))
    assert at(0.5, found.net_benefit).value == 0.0  # one hit, one false alarm
    assert found.prevalence == pytest.approx(1 / 3)


def test_the_report_has_a_column_for_each_figure() -> None:
    content = curve_of(TOLD, TRUTH, 0.1).to_json()
    curves = {"threshold", "treat_all", "net_benefit", "gain"}
    assert set(content) == {"prevalence", "at_prevalences", *curves}
    assert len(content["threshold"]) == len(content["treat_all"]) == 99
    for curve in ("net_benefit", "gain"):
        assert [len(content[curve][part]) for part in ("value", "low", "high")] == [99] * 3
    [other] = content["at_prevalences"]
    assert set(other) == {"prevalence", "net_benefit", "treat_all"}
