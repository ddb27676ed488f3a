"""Figures that follow from others, with the intervals that follow from theirs."""

import math

import numpy as np
from numpy.typing import NDArray

from stages.dataset.task import Task
from stages.evaluation.metrics import share
from stages.evaluation.statistics.bootstrap import Draws, estimate
from stages.evaluation.statistics.effective_size import ratio_interval
from stages.evaluation.statistics.intervals import Interval, with_ends
from stages.evaluation.statistics.records import Estimate, Estimates
from stages.evaluation.statistics.rounding import rounded

FloatArray = NDArray[np.float64]

LIKELIHOOD_RATIOS = ("lr_positive", "lr_negative")
RATES = ("sensitivity", "specificity")


def estimate_with_derived(draws: Draws, task: Task) -> dict[str, Estimate]:
    """The figures of `draw_metrics`, likelihood ratios and `root_brier` among them.

    The root of the Brier score is on the scale of a probability: how far one is typically off
    (Maier-Hein et al. 2024, "Metrics reloaded"); the ends of its interval are the roots of theirs.
    """
    found = estimate(draws)
    brier = found["brier"]
    value, low, high = (None if end is None else rounded(math.sqrt(end)) for end in brier[:3])
    found["root_brier"] = Estimate(value, low, high, brier.why_undefined)
    return found | estimate_likelihood_ratios(draws, found, task.positive_name)


def estimate_likelihood_ratios(
    rates: Draws, figures: Estimates, positive: str
) -> dict[str, Estimate]:
    """LR+ and LR-, with intervals from the effective sizes of both rates.

    Args:
        rates: of sensitivity and specificity, with their supports.
        figures: both of them, with their intervals.
        positive: the class that is called.
    """
    ratios = compute_likelihood_ratios(*(rates.values[rate] for rate in RATES))
    needs = needs_of_ratios(positive)
    found = {}
    for name, row in zip(LIKELIHOOD_RATIOS, ratios, strict=True):
        value, without = float(row[0]), [r for r in RATES if not figures[r].has_interval]
        if np.isnan(value):
            found[name] = Estimate(None, why_undefined=f"needs {needs[name]}")
        elif without:
            reason = figures[without[0]].why_undefined
            found[name] = with_ends(value, Interval(None, None, reason))
        else:
            found[name] = with_ends(value, _interval(name, rates))
    return found


def compute_likelihood_ratios(
    sensitivity: FloatArray, specificity: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return LR+ and LR-: by what a call, and the lack of one, multiply the odds of the disease.

    LR+ is sensitivity / (1 - specificity), LR- is (1 - sensitivity) / specificity, whatever the
    prevalence (Deeks and Altman 2004); NaN where one would divide by 0.
    """
    return share(sensitivity, 1 - specificity), share(1 - sensitivity, specificity)


def needs_of_ratios(positive: str) -> dict[str, str]:
    """What each needs to have a value."""
    ill, well = f"an image of class {positive!r}", "one of another class"
    return {
        "lr_positive": f"{ill}, and {well} that is called {positive!r}",
        "lr_negative": f"{ill}, and {well} that is not",
    }


def _interval(name: str, rates: Draws) -> Interval:
    (hit, n_hit), (spare, n_spare) = (
        (float(rates.values[rate][0]), rates.effective_size(rate)) for rate in RATES
    )
    if name == "lr_positive":
        return Interval(*ratio_interval((hit, n_hit), (1 - spare, n_spare)))
    return Interval(*ratio_interval((1 - hit, n_hit), (spare, n_spare)))
