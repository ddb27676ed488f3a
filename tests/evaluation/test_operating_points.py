from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, roc_curve

from stages.dataset.task import Task
from stages.evaluation.operating_points import (
    NEVER,
    OPERATING_POINTS,
    Calls,
    Judged,
    OperatingPoint,
    apply_threshold,
    choose_thresholds,
    compute_predictive_values,
    judge,
    judge_runs,
)
from stages.evaluation.scored import Scored, ScoredRun
from stages.evaluation.statistics.records import Bootstrap, Estimate

TASK = Task(("normal", "covid"), 1)
BOOTSTRAP = Bootstrap(draws=200, seed=0)


def scored(of_covid: Any, y_true: Any) -> Scored:
    """Rows of as many patients."""
    scores = np.asarray(of_covid, np.float64)
    rows = np.column_stack((1 - scores, scores))
    return Scored(np.asarray(y_true), rows, rows.argmax(axis=1), np.arange(len(rows)))


def random_rows(n: int, seed: int) -> Scored:
    """Scores with two decimals, so that some are equal, higher where the class is covid."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, n)
    return scored(np.clip(rng.normal(0.4 + 0.2 * y_true, 0.2), 0, 1).round(2), y_true)


def calls_of(is_positive: Any, is_called: Any, groups: Any = None) -> Calls:
    truth: NDArray[np.bool_] = np.array(is_positive, bool)
    ids = np.arange(len(truth)) if groups is None else np.array(groups)
    return Calls(truth, np.array(is_called, bool), ids)


def judged(calls: Calls, *prevalences: float) -> Judged:
    return judge(calls, TASK, prevalences or (0.1,), BOOTSTRAP)


# ---- thresholds --------------------------------------------------------------------------------


def test_thresholds_of_a_few_images_by_hand() -> None:
    # 20 normal images at 0.01 to 0.20, covid at 0.145, 0.185, 0.195 and 0.9. From 0.195 on
    # 2 of 4 are found with one false alarm (0.2), 0.50 + 0.95; from 0.185 on 3 of 4 with two
    # (0.19, 0.2), 0.75 + 0.90; from 0.145 on all with six, 1 + 0.70.
    normal = np.arange(1, 21) / 100
    val = scored([*normal, 0.145, 0.185, 0.195, 0.9], [0] * 20 + [1] * 4)
    expected = {"youden": 0.145, "specificity_90": 0.185, "specificity_95": 0.195}
    # To find 90 % of four is to find all.
    expected |= {"sensitivity_90": 0.145, "sensitivity_95": 0.145}
    assert choose_thresholds(val, TASK) == expected


@pytest.mark.parametrize("seed", range(10))
def test_youden_is_the_best_point_of_the_roc_curve_of_scikit_learn(seed: int) -> None:
    val = random_rows(150, seed)
    false_alarms, hits, thresholds = roc_curve(
        val.y_true, np.asarray(val.probabilities)[:, 1], drop_intermediate=False
    )
    best = np.argmax((hits - false_alarms).round(12))
    assert choose_thresholds(val, TASK)["youden"] == pytest.approx(thresholds[best])
    for point, least in (("specificity_90", 0.90), ("specificity_95", 0.95)):
        best = np.argmax(np.where(1 - false_alarms >= least, hits, -1))
        expected = NEVER if np.isinf(thresholds[best]) else thresholds[best]
        assert choose_thresholds(val, TASK)[point] == pytest.approx(expected)
    for point, least in (("sensitivity_90", 0.90), ("sensitivity_95", 0.95)):
        best = np.argmax(np.where(hits >= least, 1 - false_alarms, -1))
        assert choose_thresholds(val, TASK)[point] == pytest.approx(thresholds[best])


def test_a_specificity_of_exactly_95_percent_is_enough() -> None:
    # One of 20 normal images is at or above 0.7, where the covid image is.
    val = scored([0.1] * 19 + [0.9, 0.7], [0] * 20 + [1])
    assert choose_thresholds(val, TASK)["specificity_95"] == 0.7


def test_a_sensitivity_of_exactly_95_percent_is_enough() -> None:
    # One of 20 covid images lies below 0.7, where a normal image is as well.
    val = scored([0.7] + [0.9] * 18 + [0.2, 0.7, 0.1], [1] * 20 + [0, 0])
    assert choose_thresholds(val, TASK)["sensitivity_95"] == 0.7
    assert choose_thresholds(val, TASK)["sensitivity_90"] == 0.9


def test_where_the_surest_images_are_normal_no_image_is_called_positive() -> None:
    val = scored([0.9, 1.0, 1.0, 0.2], [0, 0, 0, 1])
    thresholds = choose_thresholds(val, TASK)
    found_all = {"sensitivity_90": 0.2, "sensitivity_95": 0.2}
    assert thresholds == dict.fromkeys(OPERATING_POINTS, NEVER) | found_all
    assert not apply_threshold(val, NEVER, TASK).is_called.any()
    assert round(NEVER, 6) > 1  # also as written


def test_among_equals_the_highest_threshold_is_taken() -> None:
    # 0.8 finds half of covid with no false alarm; 0.4 all of it with half of normal called.
    val = scored([0.8, 0.4, 0.6, 0.2], [1, 1, 0, 0])
    assert choose_thresholds(val, TASK)["youden"] == 0.8


def test_of_three_classes_the_positive_stands_against_the_rest() -> None:
    rows = np.array([[0.1, 0.7, 0.2], [0.6, 0.1, 0.3], [0.5, 0.1, 0.4], [0.0, 0.2, 0.8]])
    val = Scored(np.array([0, 1, 2, 2]), rows, rows.argmax(axis=1), np.arange(4))
    task = Task(("normal", "pneumonia", "covid"), 2)
    assert choose_thresholds(val, task)["youden"] == 0.4
    calls = apply_threshold(val, 0.4, task)
    assert calls.is_positive.tolist() == [False, False, True, True]
    assert calls.is_called.tolist() == [False, False, True, True]  # 0.4 reaches 0.4


# ---- figures -----------------------------------------------------------------------------------


def test_predictive_values_follow_bayes_rule() -> None:
    # Of 1,000 people 100 are ill: 90 are called. Of 900 well ones 180 are called, 720 cleared.
    ppv, npv = compute_predictive_values(np.array([0.9]), np.array([0.8]), 0.1)
    assert ppv[0] == pytest.approx(90 / 270)
    assert npv[0] == pytest.approx(720 / 730)


def test_at_the_prevalence_of_the_test_set_predictive_values_are_shares_of_its_images() -> None:
    calls = calls_of([1] * 4 + [0] * 12, [1, 1, 1, 0] + [1] * 2 + [0] * 10)
    (tn, fp), (fn, tp) = confusion_matrix(calls.is_positive, calls.is_called)
    figures = judged(calls, 0.25).figures
    assert figures["sensitivity"].value == 0.75
    assert figures["specificity"].value == round(10 / 12, 6)
    assert figures["ppv_at_0.25"].value == pytest.approx(tp / (tp + fp))
    assert figures["npv_at_0.25"].value == pytest.approx(tn / (tn + fn), abs=1e-6)


def test_precision_and_likelihood_ratios_are_of_the_images_at_hand() -> None:
    calls = calls_of([1] * 4 + [0] * 12, [1, 1, 1, 0] + [1] * 2 + [0] * 10)
    figures = judged(calls).figures
    assert figures["precision"].value == 0.6  # 3 of 5 called
    assert figures["lr_positive"].value == 4.5  # 0.75 / (2 / 12)
    assert figures["lr_negative"].value == 0.3  # 0.25 / (10 / 12)
    assert figures["precision"].low is not None


def test_every_figure_lies_in_its_interval_at_every_prevalence() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    calls = calls_of(truth, rng.random(200) < 0.2 + 0.6 * truth)
    figures = judged(calls, 0.01, 0.1, 0.5).figures
    assert len(figures) == 5 + 2 * 3
    for found in figures.values():
        assert found.low is not None
        assert found.value is not None
        assert found.high is not None
        assert found.low < found.value < found.high
    of_positive = [figures[f"ppv_at_{prevalence}"].value for prevalence in (0.01, 0.1, 0.5)]
    assert of_positive == sorted(v for v in of_positive if v is not None)


def test_copies_of_an_image_of_one_patient_do_not_narrow_an_interval() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1], 20)
    called = rng.random(40) < 0.2 + 0.6 * truth
    groups = np.arange(40)
    once = judged(calls_of(truth, called, groups))
    thrice = judged(calls_of(*(np.tile(a, 3) for a in (truth, called, groups))))
    assert thrice == once


def test_what_a_test_set_does_not_show_is_undefined_with_a_reason() -> None:
    figures = judged(calls_of([1, 1, 0, 0], [0, 0, 0, 0])).figures
    assert figures["sensitivity"].value == 0.0
    assert figures["ppv_at_0.1"] == Estimate(
        None,
        why_undefined="needs an image of class 'covid', an image of another class than 'covid', "
        "and one of them called positive",
    )
    figures = judged(calls_of([1, 1, 1], [1, 1, 0])).figures
    reason = "needs an image of another class than 'covid'"
    assert figures["specificity"] == Estimate(None, why_undefined=reason)


def test_in_json_predictive_values_stand_by_prevalence_and_reasons_by_name() -> None:
    content = judged(calls_of([1] * 4 + [0] * 4, [0] * 8), 0.1, 0.5).to_json()
    assert list(content) == ["test", "prevalences", "undefined"]
    # Wilson's interval of 0 of 4 is (0, z^2 / (4 + z^2)), z = 1.96.
    # LR- is 4 of 4 over 4 of 4, from the lower end of either to its reciprocal.
    assert content["test"] == pytest.approx(
        {
            **{"sensitivity": 0.0, "sensitivity_low": 0.0, "sensitivity_high": 0.489891},
            **{"specificity": 1.0, "specificity_low": 0.510109, "specificity_high": 1.0},
            **dict.fromkeys(("precision", "precision_low", "precision_high"), None),
            **dict.fromkeys(("lr_positive", "lr_positive_low", "lr_positive_high"), None),
            **{"lr_negative": 1.0, "lr_negative_low": 0.510109, "lr_negative_high": 1.960365},
        },
        abs=1e-4,
    )
    assert [row["prevalence"] for row in content["prevalences"]] == [0.1, 0.5]
    for row in content["prevalences"]:
        assert set(row) == {"prevalence"} | {
            name + end for name in ("ppv", "npv") for end in ("", "_low", "_high")
        }
    assert set(content["undefined"]) == {
        f"{name}{end}"
        for name in ("precision", "lr_positive", "ppv_at_0.1", "ppv_at_0.5")
        for end in ("", "_low", "_high")
    }


# ---- runs --------------------------------------------------------------------------------------


def points_of(*runs: ScoredRun) -> dict[str, OperatingPoint]:
    return judge_runs(runs, TASK, [0.1], BOOTSTRAP)


def rates(judged: Judged) -> tuple[float | None, float | None]:
    return judged.figures["sensitivity"].value, judged.figures["specificity"].value


def test_a_threshold_never_depends_on_test() -> None:
    val, test = random_rows(100, 1), random_rows(100, 2)
    found = points_of(ScoredRun("", 1, 0, val, test))
    flipped = test._replace(y_true=1 - np.asarray(test.y_true))
    again = points_of(ScoredRun("", 1, 0, val, flipped))
    for point in OPERATING_POINTS:
        assert again[point].thresholds == found[point].thresholds
        assert again[point].val == found[point].val
        assert again[point].test != found[point].test


def test_figures_of_test_are_those_at_the_threshold_of_val() -> None:
    val = scored([0.2, 0.3, 0.6, 0.7], [0, 0, 1, 1])
    # At 0.6 one of two covid images is found and one of four others called.
    test = scored([0.59, 0.6, 0.61, 0.1, 0.1, 0.1], [1, 1, 0, 0, 0, 0])
    found = points_of(ScoredRun("", 1, 0, val, test))["youden"]
    assert found.thresholds == {"": 0.6}
    assert found.val == {"sensitivity": 1.0, "specificity": 1.0}
    assert rates(found.test) == (0.5, 0.75)
    assert found.to_json()["thresholds"] == [{"name": "", "threshold": 0.6}]


def test_each_run_is_judged_at_its_own_threshold_and_then_pooled() -> None:
    # One model says 0.6 to covid and the other 0.3; each of them is right throughout.
    high = scored([0.5, 0.6, 0.5, 0.6], [0, 1, 0, 1])
    low = scored([0.2, 0.3, 0.2, 0.3], [0, 1, 0, 1])
    found = points_of(ScoredRun("a", 1, 0, high, high), ScoredRun("b", 1, 1, low, low))
    for point in found.values():
        assert point.thresholds == {"a": 0.6, "b": 0.3}
        assert point.val == {"sensitivity": 1.0, "specificity": 1.0}
        assert rates(point.test) == (1.0, 1.0)
