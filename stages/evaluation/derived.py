"""Figures that follow from others under the same draws."""

import numpy as np
from numpy.typing import NDArray

from stages.dataset.task import Task
from stages.evaluation.metrics import share
from stages.evaluation.statistics.bootstrap import Draws

FloatArray = NDArray[np.float64]

LIKELIHOOD_RATIOS = ("lr_positive", "lr_negative")


def add_derived(draws: Draws, task: Task) -> Draws:
    """The draws of `draw_metrics`, likelihood ratios and `root_brier` among them.

    The root of the Brier score is on the scale of a probability: how far one is typically off
    (Maier-Hein et al. 2024, "Metrics reloaded").
    """
    values = draws.values
    ratios = compute_likelihood_ratios(values["sensitivity"], values["specificity"])
    found: dict[str, FloatArray] = dict(zip(LIKELIHOOD_RATIOS, ratios, strict=True))
    found["root_brier"] = np.sqrt(values["brier"])
    needs = needs_of_ratios(task.positive_name) | {"root_brier": "an image"}
    return draws._replace(values={**values, **found}, needs={**draws.needs, **needs})


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
