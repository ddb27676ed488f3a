from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import logit
from statsmodels.nonparametric.smoothers_lowess import lowess

from stages.evaluation.class_calibration import (
    CURVE_POINTS,
    LEAST_RADIUS,
    SPAN,
    ClassCalibration,
    calibrate_class,
    find_radii,
    fit_intercept,
    fit_slope,
    smooth,
)
from stages.evaluation.statistics.records import Bootstrap

FLOOR = 5e-7


def calibrate(probabilities: Any, is_class: Any, draws: int = 200) -> ClassCalibration:
    """Of as many patients."""
    told, truth = np.asarray(probabilities, float), np.asarray(is_class, bool)
    patients = np.arange(len(told))
    return calibrate_class(told, truth, patients, "covid", FLOOR, Bootstrap(draws, 0))


def drawn(n: int, intercept: float, slope: float, seed: int = 0) -> tuple[Any, Any]:
    """Truths that follow intercept + slope * logit of what is told."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=n)
    is_class = rng.random(n) < 1 / (1 + np.exp(-(intercept + slope * logits)))
    return (1 / (1 + np.exp(-logits))).round(6), is_class


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.5), (-0.5, 2.0)])
def test_the_slope_that_made_the_truth_is_found(intercept: float, slope: float) -> None:
    found = calibrate(*drawn(4000, intercept, slope)).figures["calibration_slope"]
    assert found.value == pytest.approx(slope, abs=0.12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < slope < found.high


def test_the_intercept_is_0_where_as_many_are_of_the_class_as_was_foretold() -> None:
    told, truth = drawn(4000, 0.0, 1.0)
    found = calibrate(told, truth).figures["calibration_intercept"]
    assert found.value == pytest.approx(0, abs=0.1)
    more = calibrate(told, drawn(4000, 1.0, 1.0)[1]).figures["calibration_intercept"]
    assert more.value == pytest.approx(1, abs=0.12)


def test_of_one_probability_the_intercept_is_the_distance_of_the_logits() -> None:
    # Told 0.5 of each; 3 of 4 are of the class: logit 0.75 - logit 0.5 = log 3.
    figures = calibrate([0.5] * 8, [True] * 6 + [False] * 2).figures
    assert figures["calibration_intercept"].value == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_intercept_and_slope_are_those_of_statsmodels(seed: int) -> None:
    told, truth = drawn(120, 0.4, 0.7, seed)
    logits, family = logit(told), sm.families.Binomial()
    once = np.ones((1, 120))
    offset_model = sm.GLM(truth.astype(float), np.ones((120, 1)), family=family, offset=logits)
    slope_model = sm.GLM(truth.astype(float), sm.add_constant(logits), family=family)
    expected = offset_model.fit(tol=1e-12).params[0], slope_model.fit(tol=1e-12).params[1]
    found = fit_intercept(logits, truth, once)[0], fit_slope(logits, truth, once)[0]
    assert found == pytest.approx(expected, abs=1e-7)


def test_a_weight_of_two_is_a_row_twice() -> None:
    told, truth = drawn(60, 0.0, 1.0)
    weights = np.random.default_rng(1).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    for fit in (fit_intercept, fit_slope):
        weighed = fit(logit(told), truth, weights[None].astype(float))
        repeated = fit(logit(told[rows]), truth[rows], np.ones((1, len(rows))))
        assert weighed == pytest.approx(repeated, abs=1e-7)


@pytest.mark.parametrize(
    ("told", "truth"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]),  # told apart
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]),  # the wrong way round
        ([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1]),  # but for a tie
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1]),  # told nothing
        ([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1]),  # certain
    ],
)
def test_where_a_threshold_tells_all_apart_there_is_no_slope(told: Any, truth: Any) -> None:
    found = calibrate(told, truth)
    slope = found.figures["calibration_slope"]
    assert slope.value is None
    assert slope.why_undefined == (
        "needs an image of class 'covid' and one of another class, and probabilities of 'covid' "
        "that no threshold tells apart"
    )
    assert found.figures["calibration_intercept"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("truth", [[True] * 4, [False] * 4])
def test_of_one_class_alone_there_is_nothing(truth: list[bool]) -> None:
    found = calibrate([0.1, 0.4, 0.6, 0.9], truth)
    assert [figure.value for figure in found.figures.values()] == [None, None]
    nothing: dict[str, list[float]] = {"value": [], "low": [], "high": []}
    assert found.to_json()["curve"] == {"predicted": [], "observed": nothing}


def test_of_one_patient_there_is_a_value_and_no_interval() -> None:
    told, truth = drawn(40, 0.0, 1.0)
    found = calibrate_class(told, truth, np.zeros(40), "covid", FLOOR, Bootstrap(200, 0))
    for figure in (*found.figures.values(), *found.observed):
        assert figure.value is not None
        assert figure.low is None


def test_certain_mistakes_leave_an_intercept_and_a_slope() -> None:
    told = [0.0] * 5 + [1.0] * 5
    figures = calibrate(told, [False] * 4 + [True] + [True] * 4 + [False]).figures
    # Four of five are right where log odds of log(2e6) were told: log 4 of 14.5.
    assert figures["calibration_slope"].value == pytest.approx(np.log(4) / 14.508657, abs=1e-5)
    assert figures["calibration_intercept"].value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_is_the_lowess_of_statsmodels(seed: int) -> None:
    told, truth = drawn(150, 0.3, 0.8, seed)
    points = np.linspace(told.min(), told.max(), CURVE_POINTS)
    [found] = smooth(told, truth, points, find_radii(told, points), np.ones((1, 150)))
    expected = lowess(truth.astype(float), told, frac=SPAN, it=0, xvals=points)
    assert found == pytest.approx(np.clip(expected, 0, 1), abs=2e-4)


def test_the_curve_of_a_straight_truth_is_straight_and_ends_where_was_told() -> None:
    told = np.repeat(np.linspace(0.05, 0.95, 10), 20)
    # Of the twenty told 0.05 one is of the class, of those told 0.15 three, and so on.
    truth = np.concatenate([np.arange(20) < 20 * p - 1e-9 for p in np.linspace(0.05, 0.95, 10)])
    found = calibrate(told, truth)
    assert (found.predicted[0], found.predicted[-1]) == (0.05, 0.95)
    observed = [point.value for point in found.observed]
    assert observed == pytest.approx(found.predicted, abs=1e-4)
    assert all(p.low is not None and p.value is not None for p in found.observed)
    assert all((p.low or 0) <= (p.value or 0) <= (p.high or 0) for p in found.observed)


def test_equal_probabilities_have_their_mean() -> None:
    found = calibrate([0.3] * 10, [True] * 4 + [False] * 6)
    assert {point.value for point in found.observed} == {0.4}


def test_the_nearest_rows_make_a_point_and_have_a_least_width() -> None:
    told = np.array([0.0, 0.0, 0.0, 1.0])
    # Three of four are nearest: to 0 those at 0, to 1 and to 0.5 those at 0 as well.
    radii = find_radii(told, np.array([0.0, 0.5, 1.0]))
    assert radii == pytest.approx([LEAST_RADIUS, 0.5, 1.0])
