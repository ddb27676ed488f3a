"""Initial weights that need no training: random, timm's, or a file's."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.checkpoint import load_meta, load_state
from stages.modeling.classifier import build_backbone, create_timm_backbone, load_backbone

# Scaling of grey images in [0, 1] for networks that bring none: roughly unit variance around 0.
GREY_MEAN, GREY_STD = 0.5, 0.25
DEFAULT_SCALING = f"default {GREY_MEAN}/{GREY_STD}"


class InitialWeights(NamedTuple):
    """A backbone with its weights, its input scaling, and facts for meta.json.

    Among the facts is `scaling`, where mean and std come from: meta.json, timm, or the default.
    """

    backbone: nn.Module
    mean: float
    std: float
    facts: dict[str, Any]


def random_weights(model: str, *, seed: int) -> InitialWeights:
    """The architecture's own random initialisation."""
    torch.manual_seed(seed)
    return InitialWeights(build_backbone(model), GREY_MEAN, GREY_STD, {"scaling": DEFAULT_SCALING})


def timm_weights(model: str) -> InitialWeights:
    """Timm's pretrained weights, from the hub or its cache.

    The first convolution is summed over its colour channels, timm's way to a one-channel input;
    its scaling is the mean of the colours' scalings, of which grey is made.

    Where the hub cannot be reached, its client retries for some 50 s and has no setting for that;
    with the environment variable HF_HUB_OFFLINE=1 it looks into its cache alone.

    Raises:
        UserError: there are no such weights, or they cannot be fetched.
    """
    try:
        backbone = create_timm_backbone(model, pretrained=True)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"model: timm's weights of {model!r} cannot be had: {reason}; allowed: a name from "
            "timm.list_pretrained() and a network (HF_HUB_OFFLINE=1: the hub's cache at once, no "
            "retries), or `kind: pretext`, or `kind: file` and a .safetensors file"
        ) from None
    mean, std = grey_scaling(backbone)
    facts = {"scaling": "timm", "tag": pretrained_config(backbone)["tag"]}
    return InitialWeights(backbone, mean, std, facts)


def file_weights(model: str, path: Path) -> InitialWeights:
    """Weights from a .safetensors file, of this project or of timm (three colour channels).

    The scaling is that of the meta.json beside the file; without one it is timm's, for a file that
    has timm's first convolution; else the default.

    Raises:
        UserError: a tensor of the backbone is missing or has another shape, or the meta.json has
            no scaling.
    """
    state = load_state(path)
    backbone = build_backbone(model)
    mean, std = GREY_MEAN, GREY_STD
    facts: dict[str, Any] = {"scaling": DEFAULT_SCALING}
    if (path.parent / "meta.json").exists():
        meta = _meta_with_scaling(path.parent)
        mean, std = meta["mean"], meta["std"]
        facts = {"scaling": "meta.json", "knows": meta.get("knows")}
    elif model != "cnn3" and _sum_colours(backbone, state):
        mean, std = grey_scaling(backbone)
        facts = {"scaling": "timm"}
    left_out = load_backbone(backbone, state, str(path))
    return InitialWeights(backbone, mean, std, facts | {"tensors_left_out": left_out})


def _meta_with_scaling(folder: Path) -> dict[str, Any]:
    meta = load_meta(folder)
    if "mean" not in meta or "std" not in meta:
        raise UserError(
            f"{folder / 'meta.json'}: has no mean and std; allowed: the meta.json of a model of "
            "this project beside its weights, or none"
        )
    return meta


def _sum_colours(backbone: nn.Module, state: dict[str, Tensor]) -> bool:
    """Make timm's first convolution one for grey images; whether the state has it."""
    from timm.models import adapt_input_conv  # here, as above

    first = f"{pretrained_config(backbone)['first_conv']}.weight"
    if first not in state:
        return False
    state[first] = adapt_input_conv(1, state[first])
    return True


def grey_scaling(backbone: nn.Module) -> tuple[float, float]:
    """Mean over the colours of the scaling that a timm network was pretrained with."""
    config = pretrained_config(backbone)
    return sum(config["mean"]) / len(config["mean"]), sum(config["std"]) / len(config["std"])


def pretrained_config(backbone: nn.Module) -> dict[str, Any]:
    """What timm knows of a network's pretraining: names, scaling, tag."""
    return cast(dict[str, Any], backbone.pretrained_cfg)
