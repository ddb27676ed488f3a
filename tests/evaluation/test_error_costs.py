from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from stages.config.params import Evaluate
from stages.evaluation.error_costs import ErrorCosts, score_errors
from stages.evaluation.scored import Scored
from stages.evaluation.statistics.records import Bootstrap, Estimates

# A missed one costs ten false alarms.
COSTS = np.array([[0.0, 1.0], [10.0, 0.0]])
GRADES = np.arange(3)


def figures(
    probabilities: Any, truth: Any, costs: Any = None, ranks: Any = None, decided: Any = None
) -> Estimates:
    told = np.asarray(probabilities, float)
    decisions = told.argmax(axis=1) if decided is None else np.asarray(decided)
    scored = Scored(np.asarray(truth), told, decisions, np.arange(len(told)))
    return score_errors(scored, ErrorCosts(costs, ranks), Bootstrap(200, 0))


def of_second(values: Any) -> Any:
    second = np.asarray(values, float)
    return np.column_stack((1 - second, second))


def test_without_costs_or_order_there_is_no_figure() -> None:
    assert figures(of_second([0.1, 0.9]), [0, 1]) == {}


def test_the_expected_cost_is_the_mean_over_the_images() -> None:
    # Decided 0, 0, 1, 1: one missed (10) and one false alarm (1), of four.
    found = figures(of_second([0.1, 0.2, 0.8, 0.9]), [0, 1, 0, 1], COSTS)
    assert found["expected_cost"].value == 2.75
    # Calling all of them costs 2 / 4, calling none 20 / 4: the cheaper is 0.5.
    assert found["expected_cost_normalised"].value == 5.5
    # Called from 1 / 11 on, as by its costs: all four are.
    assert found["expected_cost_cheapest"].value == 0.5
    assert found["expected_cost"].low is not None


def test_equal_costs_are_the_share_of_errors() -> None:
    rng = np.random.default_rng(0)
    told, truth = rng.dirichlet(np.ones(3), 50), rng.integers(0, 3, 50)
    found = figures(told, truth, 1 - np.eye(3))
    assert found["expected_cost"].value == (told.argmax(axis=1) != truth).mean()
    assert found["expected_cost_cheapest"].value == found["expected_cost"].value
    likeliest = np.bincount(truth).max() / 50
    expected = found["expected_cost"].value / (1 - likeliest)
    assert found["expected_cost_normalised"].value == pytest.approx(expected, abs=1e-6)


def test_rows_of_the_costs_are_the_truth() -> None:
    # Of class 2 taken for 0, and of class 0 taken for 1.
    costs = np.array([[0.0, 3, 1], [1, 0, 1], [7, 1, 0]])
    told = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    assert figures(told, [2, 0], costs)["expected_cost"].value == 5.0


def test_where_one_decision_is_right_for_all_there_is_nothing_to_normalise_by() -> None:
    found = figures(of_second([0.4, 0.6]), [1, 1], COSTS)
    assert found["expected_cost"].value == 5.0
    assert found["expected_cost_normalised"].value is None
    assert found["expected_cost_normalised"].why_undefined == (
        "needs images of which no one decision is right, or free, for all"
    )


@pytest.mark.parametrize("seed", range(4))
def test_weighted_kappa_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 60)
    decided = np.clip(truth + rng.integers(-1, 2, 60), 0, 2)
    found = figures(np.full((60, 3), 1 / 3), truth, ranks=GRADES, decided=decided)
    expected = cohen_kappa_score(truth, decided, weights="quadratic")
    assert found["weighted_kappa"].value == pytest.approx(expected, abs=1e-6)


def test_the_order_and_not_the_columns_says_what_is_far_apart() -> None:
    truth, decided = [0, 1, 2, 0, 1, 2], [1, 1, 2, 0, 1, 2]
    near, far = (
        figures(np.full((6, 3), 1 / 3), truth, ranks=np.array(ranks), decided=decided)
        for ranks in ([0, 1, 2], [0, 2, 1])
    )
    # Squared places, of 36: 6 and 24 observed; 42 and 48 expected, from 2, 2, 2 and 1, 3, 2.
    assert near["weighted_kappa"].value == pytest.approx(1 - 6 / 42, abs=1e-6)
    assert far["weighted_kappa"].value == pytest.approx(1 - 24 / 48, abs=1e-6)


def test_of_one_class_alone_there_is_no_kappa() -> None:
    found = figures(np.full((4, 3), 1 / 3), [1] * 4, ranks=GRADES, decided=[1] * 4)
    assert found["weighted_kappa"].value is None
    constant = figures(np.full((4, 3), 1 / 3), [0, 1, 2, 2], ranks=GRADES, decided=[1] * 4)
    assert constant["weighted_kappa"].value == 0


def test_what_params_say_of_a_data_set_is_in_the_order_of_its_classes() -> None:
    settings = Evaluate(
        bootstrap_draws=100,
        prevalences=[],
        costs={"ct": {"covid": {"normal": 10}, "normal": {"covid": 1}}},
        ordered={"ct": ["normal", "covid"], "grades": ["mild", "moderate", "severe"]},
    )
    found = ErrorCosts.of(settings, "ct", ["normal", "covid"])
    assert found.costs is not None
    assert found.costs.tolist() == [[0, 1], [10, 0]]
    grades = ErrorCosts.of(settings, "grades", ["severe", "mild", "moderate"])
    assert grades.costs is None
    assert grades.ranks is not None
    assert grades.ranks.tolist() == [2, 0, 1]
    assert ErrorCosts.of(settings, "xray", ["normal", "covid"]) == (None, None)
