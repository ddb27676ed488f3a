"""Net benefit: what it is worth to act on a probability (Vickers and Elkin 2006).

Whoever acts from a probability t on says that a false alarm costs t / (1 - t) of what a hit is
worth. Net benefit counts in hits per image: TP / n - FP / n * t / (1 - t). Acting on all images and
on none are what a model has to be better than.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.dataset.task import Task
from stages.evaluation.bands import to_band
from stages.evaluation.metrics import in_blocks, share
from stages.evaluation.scored import Scored
from stages.evaluation.statistics.bootstrap import draw_figures, estimate
from stages.evaluation.statistics.records import Bootstrap, Estimate
from stages.evaluation.statistics.rounding import rounded

FloatArray = NDArray[np.float64]

# Divisions, not sums of hundredths: a probability that is written as 0.07 has to reach it.
THRESHOLDS: FloatArray = np.arange(1, 100) / 100


class Standardised(NamedTuple):
    """Net benefit at a prevalence that is not that of the images; both (t,).

    Attributes:
        net_benefit: None where sensitivity or specificity is undefined.
        treat_all: that of acting on everybody.
    """

    net_benefit: list[float | None]
    treat_all: list[float | None]


class DecisionCurve(NamedTuple):
    """Of the positive class against the rest, at each of THRESHOLDS.

    Attributes:
        prevalence: share of the images that are positive, seldom that of a clinic.
        net_benefit: of acting on probabilities that reach the threshold.
        gain: net benefit above that of acting on all images or on none, whichever is more.
        treat_all: net benefit of acting on all images; that of acting on none is 0.
        standardised: by prevalence: sensitivity and specificity as they are.
    """

    prevalence: float
    net_benefit: Sequence[Estimate]
    gain: Sequence[Estimate]
    treat_all: list[float | None]
    standardised: Mapping[float, Standardised]

    def to_json(self) -> dict[str, Any]:
        """As reports have it; None where there is no value or no interval."""
        return {
            "prevalence": rounded(self.prevalence),
            "threshold": THRESHOLDS.tolist(),
            "treat_all": self.treat_all,
            "net_benefit": to_band(self.net_benefit),
            "gain": to_band(self.gain),
            "at_prevalences": [
                {"prevalence": prevalence, **found._asdict()}
                for prevalence, found in self.standardised.items()
            ],
        }


def build_decision_curve(
    scored: Scored, task: Task, prevalences: Sequence[float], bootstrap: Bootstrap
) -> DecisionCurve:
    """Net benefit of n rows with intervals by draws of the patients.

    Args:
        scored: at least one row.
        task: says which class is positive.
        prevalences: at which net benefit is stated too.
        bootstrap: draws and their seed.
    """
    is_positive = np.asarray(scored.y_true) == task.positive
    scores = np.asarray(scored.probabilities, np.float64)[:, task.positive]

    def figures(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        found = [_benefit_and_gain(scores, is_positive, block) for block in in_blocks(weights)]
        return dict(zip(names, np.concatenate(found).T, strict=True))

    names = [f"{what}_{t}" for what in ("net_benefit", "gain") for t in range(len(THRESHOLDS))]
    needs = dict.fromkeys(names, "an image")
    found = list(estimate(draw_figures(figures, scored.group_ids, needs, bootstrap)).values())
    prevalence = float(is_positive.mean())
    return DecisionCurve(
        prevalence,
        found[: len(THRESHOLDS)],
        found[len(THRESHOLDS) :],
        _treat_all(prevalence),
        {share_ill: _standardise(scores, is_positive, share_ill) for share_ill in prevalences},
    )


def _benefit_and_gain(
    scores: FloatArray, is_positive: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """(B, 2 t) net benefit at each threshold, then what it has above the better of all and none."""
    hits, alarms, positives, negatives = count_calls(scores, is_positive, weights)
    total = positives + negatives
    benefit = _net_benefit(hits / total, alarms / total)
    rival = np.maximum(_net_benefit(positives / total, negatives / total), 0)
    return np.concatenate((benefit, benefit - rival), axis=1)


def count_calls(
    scores: FloatArray, is_positive: NDArray[np.bool_], weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Weigh the rows that reach each of THRESHOLDS.

    Args:
        scores: (n,) probabilities of the positive class.
        is_positive: (n,) the truth.
        weights: (B, n) non-negative.

    Returns:
        (B, t) hits and false alarms, and (B, 1) all positives and all negatives.
    """
    reached = np.searchsorted(THRESHOLDS, scores, side="right")  # (n,) so many thresholds
    counts = [
        _at_least(weights[:, rows], reached[rows], len(THRESHOLDS))
        for rows in (is_positive, ~is_positive)
    ]
    (hits, positives), (alarms, negatives) = ((c[:, 1:], c[:, :1]) for c in counts)
    return hits, alarms, positives, negatives


def _at_least(weights: FloatArray, levels: NDArray[np.intp], highest: int) -> FloatArray:
    """(B, highest + 1) weight of the rows whose level is at least 0, 1, and so on."""
    order = np.argsort(levels, kind="stable")
    summed = np.zeros((len(weights), len(levels) + 1))
    np.cumsum(weights[:, order], axis=1, out=summed[:, 1:])
    below = np.searchsorted(levels[order], np.arange(highest + 1))  # (highest + 1,) rows
    at_least: FloatArray = summed[:, -1:] - summed[:, below]
    return at_least


def _net_benefit(hits: FloatArray, alarms: FloatArray) -> FloatArray:
    """(B, t) from shares of all images."""
    benefit: FloatArray = hits - alarms * THRESHOLDS / (1 - THRESHOLDS)
    return benefit


def _treat_all(prevalence: float) -> list[float | None]:
    benefit = _net_benefit(np.array(prevalence), np.array(1 - prevalence))
    return [rounded(value) for value in benefit]


def _standardise(
    scores: FloatArray, is_positive: NDArray[np.bool_], prevalence: float
) -> Standardised:
    """What it would be among people of whom another share is ill, and otherwise alike."""
    once = np.ones((1, len(scores)))
    hits, alarms, positives, negatives = count_calls(scores, is_positive, once)
    [benefit] = _net_benefit(
        prevalence * share(hits, np.broadcast_to(positives, hits.shape)),
        (1 - prevalence) * share(alarms, np.broadcast_to(negatives, alarms.shape)),
    )
    return Standardised([rounded(value) for value in benefit], _treat_all(prevalence))
