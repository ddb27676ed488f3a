"""Every network of timm at two sizes: accepted with a map, refused with a reason, or a fault.

What `check` does with a case of each is done, on `meta`, with weights for the network's usual size.
Of some that are accepted and small, the map is then made of random weights, as the stage `cam`
makes it, and the network is fused, as for predictions. A traceback anywhere is a fault.
"""

import argparse
import json
import random
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch

from stages.config.errors import UserError
from stages.explain.layers import target_layer
from stages.explain.methods import Asked, Explainer, compute_cams
from stages.explain.rehearsal import (
    OUTPUTS,
    rehearse,
    require_fitting_weights,
    require_trainable,
)
from stages.modeling.classifier import build_backbone, build_classifier
from stages.modeling.fused import fuse
from stages.modeling.loading import load_backbone

ACCEPTED, REFUSED, FAULT = "accepted", "refused", "fault"
TOO_LARGE = "refused for more than 1,000,000,000 parameters, 4 GB of weights"


class Outcome(NamedTuple):
    model: str
    size: int
    result: str  # ACCEPTED, REFUSED or FAULT
    reason: str
    n_parameters: int
    seconds: float


def usual_size(model: str) -> int:
    return int(timm.models.get_pretrained_cfg(model).input_size[-1])


def try_check(model: str, size: int) -> Outcome:
    """What `check` says of a case with this network, random weights and views of this size."""
    start, n_parameters = time.perf_counter(), 0
    result, reason = ACCEPTED, ""
    try:
        classifier = rehearse(model, size, {})
        n_parameters = sum(p.numel() for p in classifier.backbone.parameters())
        require_trainable(classifier, [], OUTPUTS.count, "all")
        require_fitting_weights(classifier, model, size, None)
    except UserError as error:
        result, reason = REFUSED, str(error)
    except Exception:
        result, reason = FAULT, traceback.format_exc()
    seconds = time.perf_counter() - start
    return Outcome(model, size, result, reason, n_parameters, round(seconds, 3))


def try_map(model: str, size: int) -> Outcome:
    """What `weights`, `train` and `cam` do with a network, without the training between them."""
    start, n_parameters = time.perf_counter(), 0
    result, reason = ACCEPTED, ""
    try:
        torch.manual_seed(0)
        classifier = build_classifier(
            model, size=size, head=[], outputs=OUTPUTS.count, dropout=0.0, mean=0.5, std=0.25
        ).eval()
        n_parameters = sum(p.numel() for p in classifier.parameters())
        load_backbone(classifier.backbone, build_backbone(model).state_dict(), "random weights")
        asked = Asked(torch.rand(2, 1, size, size), torch.tensor([0, 1]))
        layer = target_layer(classifier, model, {})
        methods = ["gradcam", "eigencam"]
        maps = compute_cams(Explainer(classifier, OUTPUTS, methods, layer), asked)
        reason = _judge(maps)
        with torch.inference_mode():
            logits, fused = classifier(asked.images), fuse(classifier)(asked.images)
        if not torch.allclose(fused, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max())):
            result, reason = FAULT, f"fused, the logits are {fused}, not {logits}"
    except Exception:
        result, reason = FAULT, traceback.format_exc()
    seconds = time.perf_counter() - start
    return Outcome(model, size, result, reason, n_parameters, round(seconds, 3))


def _judge(maps: dict[str, np.ndarray]) -> str:
    """Which maps are empty: with random weights that may be, but not of every image and method."""
    assert all(np.isfinite(of).all() for of in maps.values())
    empty = [name for name, of in maps.items() if not of.any()]
    return f"empty: {', '.join(empty)}" if empty else ""


def kind_of(reason: str) -> str:
    """A refusal without its names and numbers, to count by."""
    for kind, words in KINDS.items():
        if any(word in reason for word in words):
            return kind
    return "other: " + reason[:60]


KINDS = {
    "size: patches do not fill it": ["whole: its patches"],
    "size: the network cannot take it": ["cannot take views", "cannot train on"],
    "weights of the usual size do not fit": ["cannot be fitted"],
    "map of one cell": ["cells; allowed"],
    "layer gives a list or tuple": ["gives a list", "gives a tuple", "gives a dict"],
    "layer gives no square map": ["allowed: square maps"],
    "layer does not run once": ["times per image"],
    "no default layer": ["has no default layer"],
    TOO_LARGE: ["parameters; allowed"],
    "layer that timm names is not there": ["which this backbone lacks"],
    "no vector of features": ["networks that give one vector"],
}


def run(models: list[str], other: int, seconds: float, out: Path | None) -> Iterator[Outcome]:
    """Outcomes of `check`, each network at both sizes, until the time is up."""
    start = time.perf_counter()
    for model in models:
        if time.perf_counter() - start > seconds:
            return
        for size in dict.fromkeys((usual_size(model), other)):
            outcome = try_check(model, size)
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(outcome._asdict()) + "\n")
            yield outcome


def summarise(outcomes: list[Outcome], title: str) -> None:
    counts = Counter(outcome.result for outcome in outcomes)
    said = ", ".join(f"{result} {counts[result]}" for result in (ACCEPTED, REFUSED, FAULT))
    print(f"{title}: {len(outcomes)} networks: {said}")
    kinds = Counter(kind_of(o.reason) for o in outcomes if o.result == REFUSED)
    for kind, count in kinds.most_common():
        print(f"    {count:5d}  {kind}")
    for outcome in outcomes:
        if outcome.result == FAULT:
            print(f"    fault: {outcome.model} at {outcome.size} px\n{outcome.reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=96, help="the other size in pixels")
    parser.add_argument("--models", default="*", help="names to try, such as 'vit_*'")
    parser.add_argument("--seconds", type=float, default=60, help="when to stop; order is random")
    parser.add_argument("--maps", type=int, default=3, help="networks of which maps are made")
    parser.add_argument("--small", type=float, default=10e6, help="parameters of these at most")
    parser.add_argument("--out", type=Path, help="file of one line of JSON per outcome")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    models = timm.list_models(given.models)
    random.Random(0).shuffle(models)  # so that those tried in time are a fair sample
    outcomes = list(run(models, given.size, given.seconds, given.out))
    tried = list(dict.fromkeys(outcome.model for outcome in outcomes))
    print(f"{len(tried)} of {len(models)} networks of timm {timm.__version__} tried in time")
    fitting = [o for o in outcomes if kind_of(o.reason) != TOO_LARGE]
    print(f"{len(outcomes) - len(fitting)} outcomes not counted: {TOO_LARGE}")
    usual = [o for o in fitting if o.size == usual_size(o.model)]
    others = [o for o in fitting if o.size == given.size]
    summarise(usual, "usual size")
    summarise(others, f"{given.size} px")
    small = [o for o in others if o.result == ACCEPTED and o.n_parameters <= given.small]
    maps = [try_map(o.model, o.size) for o in small[: given.maps]]
    summarise(maps, f"maps at {given.size} px of {len(maps)} that are accepted and small")
    for outcome in maps:
        if outcome.result == ACCEPTED and outcome.reason:
            print(f"    {outcome.model}: {outcome.reason}")


if __name__ == "__main__":
    main()
