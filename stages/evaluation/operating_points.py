"""Operating points: from which probability on an image is called positive.

A threshold is chosen on the val images of a model and applied to its test images as it is; chosen
on test, sensitivity and specificity would be too high.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.intervals import ENDS, figures_with_intervals
from stages.evaluation.scored import Scored
from stages.dataset.predictions import DECIMALS
from stages.evaluation.scored import ScoredRun

FloatArray = NDArray[np.float64]

OPERATING_POINTS = ("youden", "specificity_95")
MIN_SPECIFICITY = 0.95  # of specificity_95, on val
# Above every probability: calling no image positive is a threshold too, and JSON has no infinity.
NEVER = 1 + 10**-DECIMALS


class Calls(NamedTuple):
    """Which images are positive and which are called so.

    Attributes:
        is_positive: (n,) whether the true class is the positive one.
        is_called: (n,) whether the probability of that class reaches the threshold.
        group_ids: (n,) patient of each row.
    """

    is_positive: NDArray[np.bool_]
    is_called: NDArray[np.bool_]
    group_ids: NDArray[np.generic]


def choose_thresholds(scored: Scored, *, positive: int) -> dict[str, float]:
    """Choose the threshold of each operating point; give it val images and never test images.

    youden: the highest sensitivity + specificity (Youden 1950). specificity_95: the highest
    sensitivity among thresholds whose specificity is at least 0.95. Among equals the highest
    threshold, which calls the fewest images positive.

    Args:
        scored: rows with at least one image of the positive class and one of another.
        positive: index of the positive class.

    Returns:
        Operating point to a threshold: a probability that occurs, or NEVER.
    """
    is_positive, scores = _positives(scored, positive)
    thresholds = np.append(NEVER, np.unique(scores)[::-1])  # (t,), falling
    # Images at or above each threshold; counts, so that equal sums are equal to the last bit.
    hits, false_alarms = (
        len(of_class) - np.searchsorted(np.sort(of_class), thresholds)
        for of_class in (scores[is_positive], scores[~is_positive])
    )
    n_positive, n_negative = is_positive.sum(), (~is_positive).sum()
    youden = hits * n_negative - false_alarms * n_positive
    is_specific = (n_negative - false_alarms) / n_negative >= MIN_SPECIFICITY
    best = (np.argmax(youden), np.argmax(np.where(is_specific, hits, -1)))
    return {
        point: float(thresholds[row]) for point, row in zip(OPERATING_POINTS, best, strict=True)
    }


def apply_threshold(scored: Scored, threshold: float, *, positive: int) -> Calls:
    """Call positive every row whose probability of the positive class is at least a threshold."""
    is_positive, scores = _positives(scored, positive)
    return Calls(is_positive, scores >= threshold, np.asarray(scored.group_ids))


def pool_calls(parts: Iterable[Calls]) -> Calls:
    """The rows of several models, each called with a threshold of its own, as one."""
    return Calls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def compute_predictive_values(
    sensitivity: FloatArray, specificity: FloatArray, prevalence: float
) -> tuple[FloatArray, FloatArray]:
    """Return positive and negative predictive value by Bayes' rule; NaN where nobody is called so.

    Args:
        sensitivity: any shape, in [0, 1].
        specificity: same shape, in [0, 1].
        prevalence: share of positives among the people tested, which is seldom that of a test set.
    """
    ill, well = prevalence, 1 - prevalence
    called, cleared = sensitivity * ill, specificity * well
    return (
        _ratio(called, called + (1 - specificity) * well),
        _ratio(cleared, cleared + (1 - sensitivity) * ill),
    )


def describe_calls(
    calls: Calls, *, positive: str, prevalences: Sequence[float], draws: int, seed: int
) -> dict[str, Any]:
    """Sensitivity, specificity and predictive values with intervals, ready for JSON.

    Args:
        calls: of n rows.
        positive: name of the positive class, for reasons.
        prevalences: at which predictive values are stated.
        draws: bootstrap draws behind the intervals, the same ones for every figure.
        seed: of these draws.

    Returns:
        `test`: `sensitivity` and `specificity`, each with `_low` and `_high`; `prevalences`: one
        entry each with `prevalence`, and `ppv` and `npv` with their ends; `undefined`: name to
        reason, predictive values as `ppv_at_<prevalence>`.
    """

    def figures(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        sensitivity, specificity = _rates(calls, weights)
        values = {"sensitivity": sensitivity, "specificity": specificity}
        for prevalence in prevalences:
            ppv, npv = compute_predictive_values(sensitivity, specificity, prevalence)
            values |= {f"ppv_at_{prevalence}": ppv, f"npv_at_{prevalence}": npv}
        return values

    table = figures_with_intervals(
        figures, calls.group_ids, needs=_needs(positive, prevalences), draws=draws, seed=seed
    )
    return {
        "test": {
            name + end: table.values[name + end]
            for name in ("sensitivity", "specificity")
            for end in ENDS
        },
        "prevalences": [
            {"prevalence": prevalence}
            | {
                name + end: table.values[f"{name}_at_{prevalence}{end}"]
                for name in ("ppv", "npv")
                for end in ENDS
            }
            for prevalence in prevalences
        ],
        "undefined": table.undefined,
    }


def describe_operating_points(
    runs: Sequence[ScoredRun],
    class_names: Sequence[str],
    *,
    positive: int,
    prevalences: Sequence[float],
    draws: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Choose each run's thresholds on its own val rows and describe all test rows together.

    Args:
        runs: what each model said of its val and of its test images.
        class_names: K names.
        positive: index of the positive class.
        prevalences: at which predictive values are stated.
        draws: bootstrap draws behind the intervals.
        seed: of these draws.

    Returns:
        Operating point to `thresholds`, `name` and `threshold` of each run; `val`, what these
        thresholds gave where they were chosen; and the figures of `describe_calls`.
    """
    chosen = [choose_thresholds(run.val, positive=positive) for run in runs]

    def describe(thresholds: Mapping[str, float]) -> dict[str, Any]:
        val, test = (
            pool_calls(
                apply_threshold(getattr(run, split), thresholds[run.name], positive=positive)
                for run in runs
            )
            for split in ("val", "test")
        )
        rates = _rates(val, np.ones((1, len(val.is_called)), np.int32))
        return {
            "thresholds": [{"name": name, "threshold": t} for name, t in thresholds.items()],
            "val": {
                name: round(float(rate[0]), DECIMALS)
                for name, rate in zip(("sensitivity", "specificity"), rates, strict=True)
            },
            **describe_calls(
                test,
                positive=class_names[positive],
                prevalences=prevalences,
                draws=draws,
                seed=seed,
            ),
        }

    return {
        point: describe({run.name: own[point] for run, own in zip(runs, chosen, strict=True)})
        for point in OPERATING_POINTS
    }


def _positives(scored: Scored, positive: int) -> tuple[NDArray[np.bool_], FloatArray]:
    """(n,) whether a row is of the positive class, and the probability that it is."""
    probabilities = np.asarray(scored.probabilities, np.float64)
    return np.asarray(scored.y_true) == positive, probabilities[:, positive]


def _rates(calls: Calls, weights: NDArray[np.int32]) -> tuple[FloatArray, FloatArray]:
    """Sensitivity and specificity, (B,) each, under each of (B, n) weights."""
    positive, called = calls.is_positive, calls.is_called
    cells = np.column_stack((positive, positive & called, ~positive, ~positive & ~called))
    positives, hits, negatives, cleared = (weights @ cells.astype(np.float64)).T
    return _ratio(hits, positives), _ratio(cleared, negatives)


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide a share by its whole; NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator


def _needs(positive: str, prevalences: Sequence[float]) -> dict[str, str]:
    """What each figure needs to have a value."""
    ill, well = f"an image of class {positive!r}", f"an image of another class than {positive!r}"
    needs = {"sensitivity": ill, "specificity": well}
    for prevalence in prevalences:
        needs[f"ppv_at_{prevalence}"] = f"{ill}, {well}, and one of them called positive"
        needs[f"npv_at_{prevalence}"] = f"{ill}, {well}, and one of them called negative"
    return needs
