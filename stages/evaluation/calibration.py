"""Temperature scaling, and how far probabilities can be taken at their word.

A temperature T divides the logits; one number per model, fitted on its own val images. It changes
how sure a model is and never what it decides (Guo et al. 2017, "On Calibration of Modern Neural
Networks", section 4.2).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from stages.dataset.predictions import DECIMALS as PREDICTION_DECIMALS
from stages.dataset.task import Task
from stages.evaluation.class_calibration import ClassCalibration, calibrate_class
from stages.evaluation.metrics import log_losses, squared_errors
from stages.evaluation.scored import Scored, ScoredRun, pool
from stages.evaluation.statistics.bootstrap import draw_figures, estimate
from stages.evaluation.statistics.counts import count_rows
from stages.evaluation.statistics.records import Bootstrap, Estimates, flatten
from stages.evaluation.statistics.rounding import DECIMALS
from stages.evaluation.supports import mean_supports

FloatArray = NDArray[np.float64]

# Of the 6 decimals of a predictions table: what is written as 0 lies below half of the last one.
PROBABILITY_FLOOR = 10**-PREDICTION_DECIMALS / 2
# Without an error in val the log loss falls for ever as T goes to 0: an end is needed.
TEMPERATURE_BOUNDS = (0.1, 10.0)
UNCHANGED = 1.0
N_BINS = 15  # Guo et al. 2017, table 1


class Temperature(NamedTuple):
    """A fitted temperature, above 1 for a model too sure of itself.

    Attributes:
        value: within TEMPERATURE_BOUNDS, rounded to 6 decimals.
        reason: why it stands at a bound; None inside them.
    """

    value: float
    reason: str | None


class Reliability(NamedTuple):
    """Bins of a probability in (0, 1] that hold an image; all (bins,), in rising order.

    Attributes:
        confidence: mean probability.
        accuracy: share of the images that are as the probability is of.
        n: number of rows.
    """

    confidence: FloatArray
    accuracy: FloatArray
    n: NDArray[np.int64]


class Calibration(NamedTuple):
    """How far probabilities can be taken at their word.

    Attributes:
        ece: expected calibration error in [0, 1]. It has no interval: resampling itself makes it
            larger, so that the ends of the draws would not hold the estimate.
        classwise_ece: the mean over the classes of that of the probability of each, whatever is
            predicted (Kull et al. 2019, section 2); without an interval for the same reason.
        losses: `log_loss` and `brier`.
        reliability: of the predicted class.
        classes: each against the rest; of two classes the positive one, of which the other is the
            mirror image.
    """

    ece: float
    classwise_ece: float
    losses: Estimates
    reliability: Reliability
    classes: Mapping[str, ClassCalibration]

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        losses, (confidence, accuracy, count) = flatten(self.losses), self.reliability
        return {
            "ece": self.ece,
            "classwise_ece": self.classwise_ece,
            **losses.values,
            "undefined": losses.undefined,
            "reliability": {
                "confidence": np.round(confidence, DECIMALS).tolist(),
                "accuracy": np.round(accuracy, DECIMALS).tolist(),
                "count": count.tolist(),
            },
            "classes": {name: found.to_json() for name, found in self.classes.items()},
        }


class RunsCalibration(NamedTuple):
    """The temperature of each run by its name, and all test rows without and with them.

    Both sides have the floor under their probabilities, so that the temperatures alone are what
    changes.
    """

    temperatures: Mapping[str, Temperature]
    before: Calibration
    after: Calibration

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        return {
            "temperatures": [
                {"name": name, "temperature": fitted.value, "reason": fitted.reason}
                for name, fitted in self.temperatures.items()
            ],
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


def fit_temperature(probabilities: ArrayLike, y_true: ArrayLike) -> Temperature:
    """Find the temperature with the least log loss; give it val images and never test images.

    Args:
        probabilities: (n, K) in [0, 1], rows sum to 1.
        y_true: (n,) integers, index of the true class.
    """
    from scipy.optimize import minimize_scalar  # 0.2 s: where nothing is fitted, none is spent

    logits, truth = _logits(probabilities), np.asarray(y_true)[:, None]

    def log_loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(np.take_along_axis(scaled, truth, axis=1).mean())

    # One minimum: the log loss is convex in 1 / T.
    low, high = np.log(TEMPERATURE_BOUNDS)
    inside = minimize_scalar(log_loss, bounds=(low, high), method="bounded").x
    best = min((low, high, inside), key=log_loss)
    if best == inside:
        return Temperature(round(float(np.exp(best)), DECIMALS), None)
    bound = TEMPERATURE_BOUNDS[int(best == high)]
    return Temperature(bound, f"at the bound {bound:g}: the log loss of val is least there")


def apply_temperature(probabilities: ArrayLike, temperature: float) -> FloatArray:
    """Return (n, K) softmax(log p / T), rows sum to 1; the order of classes in a row stays.

    Args:
        probabilities: (n, K) in [0, 1]; below PROBABILITY_FLOOR they count as that.
        temperature: T, positive; 1 changes nothing but what lies below the floor.
    """
    scaled: FloatArray = softmax(_logits(probabilities) / temperature, axis=1)
    return scaled


def compute_reliability(
    probabilities: FloatArray, is_so: NDArray[np.bool_], bins: int
) -> Reliability:
    """Set (n,) probabilities against (n,) truths in bins of equal width, open on the left."""
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    bin_of = np.digitize(probabilities, inner_edges, right=True)
    counts = np.bincount(bin_of, minlength=bins)
    filled = counts > 0
    means = [
        np.bincount(bin_of, weights=values, minlength=bins)[filled] / counts[filled]
        for values in (probabilities, is_so)
    ]
    return Reliability(means[0], means[1], counts[filled])


def compute_calibration_error(reliability: Reliability) -> float:
    """Return the expected calibration error in [0, 1] (Guo et al. 2017, equations 3 and 5)."""
    gaps = np.abs(reliability.accuracy - reliability.confidence)
    return float(np.average(gaps, weights=reliability.n))


def compute_classwise_error(probabilities: FloatArray, truth: NDArray[np.int64]) -> float:
    """Return the class-wise expected calibration error in [0, 1] of (n, K) probabilities."""
    of_classes = [
        compute_reliability(column, truth == number, N_BINS)
        for number, column in enumerate(probabilities.T)
    ]
    return float(np.mean([compute_calibration_error(found) for found in of_classes]))


def describe_calibration(scored: Scored, task: Task, bootstrap: Bootstrap) -> Calibration:
    """Of n rows whose predictions are their likeliest classes."""
    truth = np.asarray(scored.y_true, np.int64)
    probabilities = np.asarray(scored.probabilities, np.float64)
    terms = np.column_stack(
        (log_losses(truth, probabilities), squared_errors(truth, probabilities, task.positive))
    )

    groups = np.asarray(scored.group_ids)

    def means(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        log_loss, brier = (weights @ terms / weights.sum(axis=1, keepdims=True)).T
        return {"log_loss": log_loss, "brier": brier}

    needs = dict.fromkeys(("log_loss", "brier"), "an image")
    supports = mean_supports(count_rows(truth >= 0, groups), len(task.class_names))
    is_right = np.asarray(scored.predictions) == truth
    reliability = compute_reliability(probabilities.max(axis=1), is_right, N_BINS)
    return Calibration(
        round(compute_calibration_error(reliability), DECIMALS),
        round(compute_classwise_error(probabilities, truth), DECIMALS),
        estimate(draw_figures(means, groups, needs, bootstrap, supports)),
        reliability,
        _calibrate_classes(scored, task, bootstrap),
    )


def _calibrate_classes(
    scored: Scored, task: Task, bootstrap: Bootstrap
) -> dict[str, ClassCalibration]:
    """Of two classes that of the positive one, of more each."""
    truth, probabilities = np.asarray(scored.y_true), np.asarray(scored.probabilities, np.float64)
    is_told = len(task.class_names) > 2
    return {
        name: calibrate_class(
            probabilities[:, number],
            truth == number,
            np.asarray(scored.group_ids),
            name,
            PROBABILITY_FLOOR,
            bootstrap,
        )
        for number, name in enumerate(task.class_names)
        if is_told or number == task.positive
    }


def calibrate(
    said: Mapping[str, Scored],
    temperatures: Mapping[str, float],
    task: Task,
    bootstrap: Bootstrap,
) -> Calibration:
    """What runs said, each divided by its own temperature, and all of it described together."""
    scaled = pool(
        rows._replace(probabilities=apply_temperature(rows.probabilities, temperatures[name]))
        for name, rows in said.items()
    )
    return describe_calibration(scaled, task, bootstrap)


def calibrate_runs(runs: Sequence[ScoredRun], task: Task, bootstrap: Bootstrap) -> RunsCalibration:
    """Fit each run's temperature on its own val rows and describe all test rows together."""
    tests = {run.name: run.test for run in runs}
    fitted = {run.name: fit_temperature(run.val.probabilities, run.val.y_true) for run in runs}
    values = {name: temperature.value for name, temperature in fitted.items()}
    return RunsCalibration(
        fitted,
        before=calibrate(tests, dict.fromkeys(tests, UNCHANGED), task, bootstrap),
        after=calibrate(tests, values, task, bootstrap),
    )


def _logits(probabilities: ArrayLike) -> FloatArray:
    """(n, K) of which the probabilities are the softmax."""
    logits: FloatArray = np.log(np.maximum(probabilities, PROBABILITY_FLOOR))
    return logits
