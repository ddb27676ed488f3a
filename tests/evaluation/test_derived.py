import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, class_likelihood_ratios

from stages.dataset.task import Task
from stages.evaluation.derived import add_derived, compute_likelihood_ratios
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.statistics.bootstrap import Draws, estimate
from stages.evaluation.statistics.records import Bootstrap

TASK = Task(("normal", "covid"), 1)


def draws_of(told: list[float], truth: list[int]) -> Draws:
    second = np.array(told)
    rows = np.column_stack((1 - second, second))
    scored = Scored(np.array(truth), rows, rows.argmax(axis=1), np.arange(len(truth)))
    return add_derived(draw_metrics(scored, TASK, Bootstrap(200, 0)), TASK)


TOLD, TRUTH = [0.1, 0.6, 0.2, 0.3, 0.9, 0.7, 0.4, 0.8], [0, 0, 0, 0, 1, 1, 1, 1]


def test_they_are_those_of_scikit_learn() -> None:
    found = estimate(draws_of(TOLD, TRUTH))
    positive, negative = class_likelihood_ratios(TRUTH, np.array(TOLD) > 0.5)
    assert found["lr_positive"].value == pytest.approx(positive) == 3
    assert found["lr_negative"].value == pytest.approx(negative, abs=1e-6)
    root = brier_score_loss(TRUTH, TOLD) ** 0.5
    assert found["root_brier"].value == pytest.approx(root, abs=1e-6)


def test_they_follow_from_the_others_under_every_draw() -> None:
    values = draws_of(TOLD, TRUTH).values
    assert values["root_brier"] ** 2 == pytest.approx(values["brier"])
    defined = values["specificity"] < 1
    expected = values["sensitivity"][defined] / (1 - values["specificity"][defined])
    assert values["lr_positive"][defined] == pytest.approx(expected, nan_ok=True)


def test_without_a_false_alarm_there_is_no_positive_ratio() -> None:
    found = estimate(draws_of([0.1, 0.2, 0.9, 0.4], [0, 0, 1, 1]))
    assert found["lr_positive"].value is None
    assert found["lr_positive"].why_undefined == (
        "needs an image of class 'covid', and one of another class that is called 'covid'"
    )
    assert found["lr_negative"].value == 0.5


def test_where_all_are_called_there_is_no_negative_ratio() -> None:
    positive, negative = compute_likelihood_ratios(np.array([1.0]), np.array([0.0]))
    assert positive.tolist() == [1.0]
    assert np.isnan(negative).all()
