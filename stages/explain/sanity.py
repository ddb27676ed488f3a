"""Whether maps tell of the model: does it need what they mark, do they change with its weights?"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.metrics.perturbation_confidence import (
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from torch import Tensor

from stages.config.progress import progress
from stages.explain.imputation import FastImputer
from stages.explain.methods import Asked, FloatArray
from stages.modeling.checkpoint import build_described
from stages.modeling.classifier import Classifier
from stages.modeling.compute import Hardware
from stages.modeling.outputs import Outputs

REMOVED_PERCENT = [10, 30, 50, 70, 90]
MOST_FIRST, LEAST_FIRST = "most_relevant_first", "least_relevant_first"
ROAD_ORDERS = {
    MOST_FIRST: RemoveMostRelevantFirst,
    LEAST_FIRST: RemoveLeastRelevantFirst,
}
BATCH_SIZE = 64


class Judge(NamedTuple):
    """What gives the probabilities that removal changes.

    Attributes:
        classifier: in eval mode; its layers may be fused.
        outputs: what its logits mean.
        precision: fp32 or bf16, in which the case was validated.
    """

    classifier: Classifier
    outputs: Outputs
    precision: str

    def probabilities(self, images: Tensor, classes: Tensor) -> NDArray[np.float64]:
        """(M,) of the class named per image (M, 1, S, S)."""
        with torch.inference_mode(), Hardware("cpu", self.precision).autocast():
            logits = torch.cat([self.classifier(some) for some in images.split(BATCH_SIZE)])
            found = self.outputs.probabilities(logits.float()).gather(1, classes[:, None])[:, 0]
        return found.double().numpy()


def compute_road(
    judge: Judge, asked: Asked, maps: FloatArray, *, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Remove and debias (ROAD, Rong et al. 2022): how the probability changes as pixels go.

    From 10 % to 90 % of the pixels, those that a map marks most, or least, are replaced by noisy
    blends of their neighbours. A faithful map makes the first change strongly negative and the
    second small.

    Args:
        judge: the network, and how it is run.
        asked: N images, and the class of each whose probability is followed.
        maps: (N, S, S).
        seed: of the noise, and of the order of pixels that a map marks alike.

    Returns:
        Per order, (N,) mean change of probability over the shares removed, in [-1, 1].
    """
    ranks = torch.from_numpy(_rank_pixels(maps, seed))
    removed = [_remove_pixels(asked.images, ranks, order, seed) for order in ROAD_ORDERS]
    # All in one pass: first the images as they are, then what is left of them.
    images = torch.cat([asked.images, *removed])
    classes = asked.classes.repeat(len(images) // len(asked.classes))
    found = judge.probabilities(images, classes).reshape(-1, len(asked.classes))
    by_order = found[1:].reshape(len(ROAD_ORDERS), len(REMOVED_PERCENT), -1)
    changes = by_order.mean(axis=1) - found[0]
    return dict(zip(ROAD_ORDERS, changes, strict=True))


def _remove_pixels(images: Tensor, ranks: Tensor, order: str, seed: int) -> Tensor:
    """(shares * N, 1, S, S): images (N, 1, S, S), more and more of which is made up."""
    imputer = FastImputer()
    removals = product(REMOVED_PERCENT, zip(images, ranks, strict=True))
    total = len(REMOVED_PERCENT) * len(images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the library draws its noise from the global generator
        return torch.stack(
            [
                ROAD_ORDERS[order](percent, imputer)(image, ranked)
                for percent, (image, ranked) in progress(removals, "removing pixels", total)
            ]
        )


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
