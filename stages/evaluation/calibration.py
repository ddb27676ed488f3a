"""Temperature scaling, and how far probabilities can be taken at their word.

A temperature T divides the logits; one number per model, fitted on its own val images. It changes
how sure a model is and never what it decides (Guo et al. 2017, "On Calibration of Modern Neural
Networks", section 4.2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from stages.evaluation.scored import Scored
from stages.evaluation.intervals import figures_with_intervals
from stages.evaluation.metrics import log_losses, squared_errors
from stages.dataset.predictions import DECIMALS
from stages.evaluation.scored import ScoredRun, pool

FloatArray = NDArray[np.float64]

# Of the 6 decimals of a predictions table: what is written as 0 lies below half of the last one.
PROBABILITY_FLOOR = 10**-DECIMALS / 2
# Without an error in val the log loss falls for ever as T goes to 0: an end is needed.
TEMPERATURE_BOUNDS = (0.1, 10.0)
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
    """Bins of the confidence in (0, 1] that hold an image; all (bins,), in rising order.

    Attributes:
        confidence: mean probability of the predicted class.
        accuracy: share of right predictions.
        n: number of rows.
    """

    confidence: FloatArray
    accuracy: FloatArray
    n: NDArray[np.int64]


def fit_temperature(probabilities: ArrayLike, y_true: ArrayLike) -> Temperature:
    """Find the temperature with the least log loss; give it val images and never test images.

    Args:
        probabilities: (n, K) in [0, 1], rows sum to 1.
        y_true: (n,) integers, index of the true class.
    """
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


def compute_reliability(scored: Scored) -> Reliability:
    """Set confidence against accuracy in N_BINS bins of equal width, open on the left."""
    confidence = np.asarray(scored.probabilities, np.float64).max(axis=1)
    is_right = np.asarray(scored.predictions) == np.asarray(scored.y_true)
    inner_edges = np.linspace(0, 1, N_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    counts = np.bincount(bins, minlength=N_BINS)
    filled = counts > 0
    means = [
        np.bincount(bins, weights=values, minlength=N_BINS)[filled] / counts[filled]
        for values in (confidence, is_right)
    ]
    return Reliability(means[0], means[1], counts[filled])


def compute_calibration_error(reliability: Reliability) -> float:
    """Return the expected calibration error in [0, 1] (Guo et al. 2017, equations 3 and 5)."""
    gaps = np.abs(reliability.accuracy - reliability.confidence)
    return float(np.average(gaps, weights=reliability.n))


def describe_calibration(scored: Scored, *, positive: int, draws: int, seed: int) -> dict[str, Any]:
    """Everything said of how far probabilities can be taken at their word, ready for JSON.

    The calibration error has no interval: resampling itself makes it larger, so that the ends of
    the draws would not hold the estimate.

    Args:
        scored: n rows whose predictions are their likeliest classes.
        positive: index of the positive class.
        draws: bootstrap draws behind the intervals.
        seed: of these draws.

    Returns:
        `ece`; `log_loss` and `brier` with `_low` and `_high`; `undefined`, name to reason;
        `reliability`: `confidence`, `accuracy` and `count` of Reliability.
    """
    truth = np.asarray(scored.y_true, np.int64)
    probabilities = np.asarray(scored.probabilities, np.float64)
    terms = np.column_stack(
        (log_losses(truth, probabilities), squared_errors(truth, probabilities, positive))
    )

    def means(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        log_loss, brier = (weights @ terms / weights.sum(axis=1, keepdims=True)).T
        return {"log_loss": log_loss, "brier": brier}

    needs = dict.fromkeys(("log_loss", "brier"), "an image")
    table = figures_with_intervals(means, scored.group_ids, needs=needs, draws=draws, seed=seed)
    reliability = compute_reliability(scored)
    return {
        "ece": round(compute_calibration_error(reliability), DECIMALS),
        **table.values,
        "undefined": table.undefined,
        "reliability": {
            "confidence": np.round(reliability.confidence, DECIMALS).tolist(),
            "accuracy": np.round(reliability.accuracy, DECIMALS).tolist(),
            "count": reliability.n.tolist(),
        },
    }


def calibrate_runs(
    runs: Sequence[ScoredRun], *, positive: int, draws: int, seed: int
) -> dict[str, Any]:
    """Fit each run's temperature on its own val rows and describe all test rows together.

    Args:
        runs: what each model said of its val and of its test images.
        positive: index of the positive class.
        draws: bootstrap draws behind the intervals.
        seed: of these draws.

    Returns:
        `temperatures`: `name`, `temperature` and `reason` of each run; `before` and `after`: see
        `describe_calibration`. Both have the floor under their probabilities, so that the
        temperature alone is what changes.
    """
    fitted = [fit_temperature(run.val.probabilities, run.val.y_true) for run in runs]

    def describe(temperatures: Sequence[float]) -> dict[str, Any]:
        scaled = pool(
            run.test._replace(probabilities=apply_temperature(run.test.probabilities, temperature))
            for run, temperature in zip(runs, temperatures, strict=True)
        )
        return describe_calibration(scaled, positive=positive, draws=draws, seed=seed)

    return {
        "temperatures": [
            {"name": run.name, "temperature": value, "reason": reason}
            for run, (value, reason) in zip(runs, fitted, strict=True)
        ],
        "before": describe([1.0] * len(runs)),
        "after": describe([value for value, _ in fitted]),
    }


def _logits(probabilities: ArrayLike) -> FloatArray:
    """(n, K) of which the probabilities are the softmax."""
    logits: FloatArray = np.log(np.maximum(probabilities, PROBABILITY_FLOOR))
    return logits
