"""Operating points: from which probability on an image is called positive.

A threshold is chosen on the val images of a model and applied to its test images as it is; chosen
on test, sensitivity and specificity would be too high. Where one of the two has to be at least so
much, the other is what the model is worth there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.dataset.predictions import DECIMALS
from stages.dataset.task import Task
from stages.evaluation.derived import (
    LIKELIHOOD_RATIOS,
    estimate_likelihood_ratios,
    needs_of_ratios,
)
from stages.evaluation.metrics import share
from stages.evaluation.scored import Scored, ScoredRun
from stages.evaluation.statistics.bootstrap import Draws, draw_figures, estimate
from stages.evaluation.statistics.counts import count_rows, share_support
from stages.evaluation.statistics.effective_size import ratio_interval
from stages.evaluation.statistics.intervals import Interval, with_ends
from stages.evaluation.statistics.records import Bootstrap, Estimate, Estimates, flatten, select
from stages.evaluation.statistics.rounding import rounded

FloatArray = NDArray[np.float64]

OPERATING_POINTS = (
    "youden",
    *("specificity_90", "specificity_95"),
    *("sensitivity_90", "sensitivity_95"),
)
RATES = ("sensitivity", "specificity")
COUNTED = (*RATES, "precision")
JUDGED = (*COUNTED, *LIKELIHOOD_RATIOS)
LEAST_RATES = (0.90, 0.95)  # of specificity_90 and specificity_95, and of sensitivity, on val
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


class Judged(NamedTuple):
    """What calls are worth.

    Attributes:
        figures: JUDGED, of which `precision` is the positive predictive value at the prevalence of
            these images; `ppv_at_<prevalence>` and `npv_at_<prevalence>`.
        prevalences: at which predictive values are stated.
    """

    figures: Estimates
    prevalences: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        return {
            "test": flatten(select(self.figures, JUDGED)).values,
            "prevalences": [
                {
                    "prevalence": prevalence,
                    **self.figures[f"ppv_at_{prevalence}"].named("ppv"),
                    **self.figures[f"npv_at_{prevalence}"].named("npv"),
                }
                for prevalence in self.prevalences
            ],
            "undefined": flatten(self.figures).undefined,
        }


class OperatingPoint(NamedTuple):
    """Thresholds of a case's runs and what they give.

    Attributes:
        thresholds: run to threshold.
        val: sensitivity and specificity where the thresholds were chosen.
        test: of all test rows together.
    """

    thresholds: Mapping[str, float]
    val: Mapping[str, float | None]
    test: Judged

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        return {
            "thresholds": [
                {"name": name, "threshold": threshold}
                for name, threshold in self.thresholds.items()
            ],
            "val": dict(self.val),
            **self.test.to_json(),
        }


def choose_thresholds(scored: Scored, task: Task) -> dict[str, float]:
    """Choose the threshold of each operating point; give it val images and never test images.

    youden: the highest sensitivity + specificity (Youden 1950). specificity_90, specificity_95: the
    highest sensitivity among thresholds whose specificity is at least 0.90, 0.95. sensitivity_90,
    sensitivity_95: the highest specificity where sensitivity is. Among equals the highest
    threshold, which calls the fewest images positive.

    Args:
        scored: rows with at least one image of the positive class and one of another.
        task: says which class is positive.

    Returns:
        Operating point to a threshold: a probability that occurs, or NEVER.
    """
    is_positive, scores = _positives(scored, task)
    thresholds = np.append(NEVER, np.unique(scores)[::-1])  # (t,), falling
    # Images at or above each threshold; counts, so that equal sums are equal to the last bit.
    hits, false_alarms = (
        len(of_class) - np.searchsorted(np.sort(of_class), thresholds)
        for of_class in (scores[is_positive], scores[~is_positive])
    )
    n_positive, n_negative = is_positive.sum(), (~is_positive).sum()
    youden = hits * n_negative - false_alarms * n_positive
    specificity, sensitivity = (n_negative - false_alarms) / n_negative, hits / n_positive
    specific = [np.where(specificity >= least, hits, -1) for least in LEAST_RATES]
    sensitive = [np.where(sensitivity >= least, -false_alarms, -np.inf) for least in LEAST_RATES]
    best = [np.argmax(worth) for worth in (youden, *specific, *sensitive)]
    return {
        point: float(thresholds[row]) for point, row in zip(OPERATING_POINTS, best, strict=True)
    }


def call_all(said: Mapping[str, Scored], thresholds: Mapping[str, float], task: Task) -> Calls:
    """The rows of several runs as one, each called positive from the threshold of its run on."""
    calls = [apply_threshold(rows, thresholds[name], task) for name, rows in said.items()]
    return Calls(*(np.concatenate(columns) for columns in zip(*calls, strict=True)))


def apply_threshold(scored: Scored, threshold: float, task: Task) -> Calls:
    """Call positive every row whose probability of the positive class is at least a threshold."""
    is_positive, scores = _positives(scored, task)
    return Calls(is_positive, scores >= threshold, np.asarray(scored.group_ids))


def compute_predictive_values(
    sensitivity: FloatArray, specificity: FloatArray, prevalence: float | FloatArray
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
        share(called, called + (1 - specificity) * well),
        share(cleared, cleared + (1 - sensitivity) * ill),
    )


def compute_rates(calls: Calls, weights: NDArray[np.int32]) -> tuple[FloatArray, FloatArray]:
    """Sensitivity and specificity, (B,) each, under each of (B, n) weights; NaN where undefined."""
    positive, called = calls.is_positive, calls.is_called
    cells = np.column_stack((positive, positive & called, ~positive, ~positive & ~called))
    positives, hits, negatives, cleared = (weights @ cells.astype(np.float64)).T
    return share(hits, positives), share(cleared, negatives)


def _compute_shares(calls: Calls, weights: NDArray[np.int32]) -> tuple[FloatArray, ...]:
    """COUNTED, (B,) each: the rates, and the share of positives among those that are called so."""
    called = np.column_stack((calls.is_positive & calls.is_called, calls.is_called))
    hits, all_called = (weights @ called.astype(np.float64)).T
    return (*compute_rates(calls, weights), share(hits, all_called))


def judge(calls: Calls, task: Task, prevalences: Sequence[float], bootstrap: Bootstrap) -> Judged:
    """Every figure of n rows, with other patients as well."""
    needs, groups = _needs(task.positive_name, prevalences), calls.group_ids
    rates = draw_figures(
        lambda weights: dict(zip(COUNTED, _compute_shares(calls, weights), strict=True)),
        groups,
        {rate: needs[rate] for rate in COUNTED},
        bootstrap,
        {
            "sensitivity": share_support(count_rows(calls.is_positive, groups)),
            "specificity": share_support(count_rows(~calls.is_positive, groups)),
            "precision": share_support(count_rows(calls.is_called, groups)),
        },
    )
    figures = estimate(rates)
    figures |= estimate_likelihood_ratios(rates, figures, task.positive_name)
    for prevalence in prevalences:
        sensitivity, specificity = (rates.values[rate] for rate in RATES)
        values = compute_predictive_values(sensitivity, specificity, prevalence)
        for name, value, order in zip(("ppv", "npv"), values, (RATES, RATES[::-1]), strict=True):
            key = f"{name}_at_{prevalence}"
            of_predicted = prevalence if name == "ppv" else 1 - prevalence
            figures[key] = _predictive_value(
                float(value[0]), rates, figures, order, of_predicted, needs[key]
            )
    return Judged(figures, prevalences)


def _predictive_value(
    value: float,
    rates: Draws,
    figures: Estimates,
    order: Sequence[str],
    prevalence: float,
    need: str,
) -> Estimate:
    """A predictive value with its interval, from the rates in the order of what is predicted.

    By Bayes' rule its odds are those of the prevalence times the likelihood ratio.
    """
    if np.isnan(value):
        return Estimate(None, why_undefined=f"needs {need}")
    for rate in order:
        if not figures[rate].has_interval:
            return with_ends(value, Interval(None, None, figures[rate].why_undefined))
    (hit, n_hit), (spare, n_spare) = (
        (float(rates.values[rate][0]), rates.effective_size(rate)) for rate in order
    )
    odds = prevalence / (1 - prevalence)
    ratios = ratio_interval((hit, n_hit), (1 - spare, n_spare))
    low, high = (1 - 1 / (1 + odds * ratio) for ratio in ratios)
    return with_ends(value, Interval(low, high))


def judge_runs(
    runs: Sequence[ScoredRun], task: Task, prevalences: Sequence[float], bootstrap: Bootstrap
) -> dict[str, OperatingPoint]:
    """Choose each run's thresholds on its own val rows and judge all test rows together."""
    chosen = {run.name: choose_thresholds(run.val, task) for run in runs}
    points = {}
    for point in OPERATING_POINTS:
        thresholds = {name: own[point] for name, own in chosen.items()}
        val, test = (
            call_all({run.name: getattr(run, split) for run in runs}, thresholds, task)
            for split in ("val", "test")
        )
        rates = compute_rates(val, np.ones((1, len(val.is_called)), np.int32))
        points[point] = OperatingPoint(
            thresholds,
            {name: rounded(float(rate[0])) for name, rate in zip(RATES, rates, strict=True)},
            judge(test, task, prevalences, bootstrap),
        )
    return points


def _positives(scored: Scored, task: Task) -> tuple[NDArray[np.bool_], FloatArray]:
    """(n,) whether a row is of the positive class, and the probability that it is."""
    probabilities = np.asarray(scored.probabilities, np.float64)
    return np.asarray(scored.y_true) == task.positive, probabilities[:, task.positive]


def _needs(positive: str, prevalences: Sequence[float]) -> dict[str, str]:
    """What each figure needs to have a value."""
    ill, well = f"an image of class {positive!r}", f"an image of another class than {positive!r}"
    needs = {"sensitivity": ill, "specificity": well, **needs_of_ratios(positive)}
    needs["precision"] = f"{ill}, {well}, and one of them called positive"
    for prevalence in prevalences:
        needs[f"ppv_at_{prevalence}"] = f"{ill}, {well}, and one of them called positive"
        needs[f"npv_at_{prevalence}"] = f"{ill}, {well}, and one of them called negative"
    return needs
