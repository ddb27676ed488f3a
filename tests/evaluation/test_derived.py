import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, class_likelihood_ratios

from stages.dataset.task import Task
from stages.evaluation.derived import compute_likelihood_ratios, estimate_with_derived
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.statistics.records import Bootstrap, Estimate

TASK = Task(("normal", "covid"), 1)


def figures_of(told: list[float], truth: list[int]) -> dict[str, Estimate]:
    second = np.array(told)
    rows = np.column_stack((1 - second, second))
    scored = Scored(np.array(truth), rows, rows.argmax(axis=1), np.arange(len(truth)))
    return estimate_with_derived(draw_metrics(scored, TASK, Bootstrap(200, 0)), TASK)


TOLD, TRUTH = [0.1, 0.6, 0.2, 0.3, 0.9, 0.7, 0.4, 0.8], [0, 0, 0, 0, 1, 1, 1, 1]


def test_they_are_those_of_scikit_learn() -> None:
    found = figures_of(TOLD, TRUTH)
    positive, negative = class_likelihood_ratios(TRUTH, np.array(TOLD) > 0.5)
    assert found["lr_positive"].value == pytest.approx(positive) == 3
    assert found["lr_negative"].value == pytest.approx(negative, abs=1e-6)
    root = brier_score_loss(TRUTH, TOLD) ** 0.5
    assert found["root_brier"].value == pytest.approx(root, abs=1e-6)


def test_their_intervals_follow_from_those_of_the_others() -> None:
    found = figures_of(TOLD, TRUTH)
    assert found["root_brier"].low == pytest.approx(found["brier"].low ** 0.5, abs=1e-6)
    assert found["root_brier"].high == pytest.approx(found["brier"].high ** 0.5, abs=1e-6)
    # Sensitivity and specificity 3 of 4, of which Wilson's interval is 0.3006 to 0.9544, and the
    # product with a false-alarm rate of 1 in 4 is 0.1875. LR+ of 3, by Donner and Zou:
    # 0.3606 / (0.1875 + sqrt(0.1875^2 + 0.3606 * 0.1395)) = 0.7515, and
    # (0.1875 + sqrt(0.1875^2 - 0.5207 * 0.0207)) / 0.0207 = 16.58. LR- of 1 in 3 is its reciprocal.
    assert found["lr_positive"].low == pytest.approx(0.7515, abs=1e-3)
    assert found["lr_positive"].high == pytest.approx(16.58, abs=0.02)
    assert found["lr_negative"].low == pytest.approx(1 / 16.58, abs=1e-3)
    assert found["lr_negative"].high == pytest.approx(1 / 0.7515, abs=1e-3)


def test_of_one_patient_they_have_values_and_no_intervals() -> None:
    scored = Scored(np.array(TRUTH), np.tile([0.4, 0.6], (8, 1)), np.ones(8, int), np.zeros(8, int))
    found = estimate_with_derived(draw_metrics(scored, TASK, Bootstrap(200, 0)), TASK)
    assert found["lr_positive"].value == 1
    assert not found["lr_positive"].has_interval
    assert found["root_brier"].why_undefined == found["brier"].why_undefined


def test_without_a_false_alarm_there_is_no_positive_ratio() -> None:
    found = figures_of([0.1, 0.2, 0.9, 0.4], [0, 0, 1, 1])
    assert found["lr_positive"].value is None
    assert found["lr_positive"].why_undefined == (
        "needs an image of class 'covid', and one of another class that is called 'covid'"
    )
    assert found["lr_negative"].value == 0.5


def test_where_all_are_called_there_is_no_negative_ratio() -> None:
    positive, negative = compute_likelihood_ratios(np.array([1.0]), np.array([0.0]))
    assert positive.tolist() == [1.0]
    assert np.isnan(negative).all()
