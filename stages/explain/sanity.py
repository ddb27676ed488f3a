"""Whether maps tell of the model: does it need what they mark, do they change with its weights?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.metrics.road import (
    ROADLeastRelevantFirstAverage,
    ROADMostRelevantFirstAverage,
)

from stages.explain.methods import Asked, ClassScore, FloatArray
from stages.modeling.checkpoint import build_described
from stages.modeling.classifier import Classifier
from stages.modeling.outputs import Outputs

REMOVED_PERCENT = [10, 30, 50, 70, 90]
MOST_FIRST, LEAST_FIRST = "most_relevant_first", "least_relevant_first"
ROAD_ORDERS = {
    MOST_FIRST: ROADMostRelevantFirstAverage,
    LEAST_FIRST: ROADLeastRelevantFirstAverage,
}


def compute_road(
    classifier: Classifier, outputs: Outputs, asked: Asked, maps: FloatArray, *, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Remove and debias (ROAD, Rong et al. 2022): how the probability changes as pixels go.

    From 10 % to 90 % of the pixels, those that a map marks most, or least, are replaced by noisy
    blends of their neighbours. A faithful map makes the first change strongly negative and the
    second small.

    Args:
        classifier: in eval mode.
        outputs: what its logits mean.
        asked: N images, and the class of each whose probability is followed.
        maps: (N, S, S).
        seed: of the noise, and of the order of pixels that a map marks alike.

    Returns:
        Per order, (N,) mean change of probability over the shares removed, in [-1, 1].
    """
    targets = [_class_probability(outputs, int(wanted)) for wanted in asked.classes]
    orders = _rank_pixels(maps, seed)
    changes = {}
    for name, road in ROAD_ORDERS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the library draws its noise from the global generator
            change = road(REMOVED_PERCENT)(asked.images, orders, targets, classifier)
        changes[name] = change.astype(np.float64)
    return changes


def _class_probability(outputs: Outputs, wanted: int) -> ClassScore:
    """The probability of one class, of one row of logits (K,), as the library asks for it."""
    return lambda logits: outputs.probabilities(logits[None])[0, wanted]


def _rank_pixels(maps: FloatArray, seed: int) -> FloatArray:
    """Maps with the same order of pixels, evenly spread over [0, 1], and no two alike.

    A map is zero over large parts. The library cuts at a percentile, which then takes all of them
    or none, and where no pixel is left its imputation is undefined.
    """
    flat = maps.reshape(len(maps), -1)
    noise = np.random.default_rng(seed).random(flat.shape[1])
    ranks = np.empty(flat.shape, np.float32)
    for row, values in zip(ranks, flat, strict=True):
        row[np.lexsort((noise, values))] = np.linspace(0, 1, len(values))
    return ranks.reshape(maps.shape)


def randomise(
    classifier: Classifier, meta: Mapping[str, Any], *, seed: int
) -> dict[str, Classifier]:
    """The same network with random weights (Adebayo et al. 2018): a new head, and all new.

    A map that stays the same does not depend on what was learned there.

    Args:
        classifier: the trained network, whose backbone the first one shares.
        meta: of its training: architecture, size, outputs.
        seed: of the one draw of weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = build_described(meta).eval()
    new_head = Classifier(classifier.backbone, new.head, mean=meta["mean"], std=meta["std"]).eval()
    return {"head": new_head, "all": new}
