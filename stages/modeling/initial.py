"""Initial weights that need no training: random, timm's, or a file's."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from stages.config.errors import UserError
from stages.modeling.checkpoint import load_meta, load_state
from stages.modeling.classifier import build_backbone, load_backbone

# Scaling of grey images in [0, 1] for networks that bring none: roughly unit variance around 0.
GREY_MEAN, GREY_STD = 0.5, 0.25


class InitialWeights(NamedTuple):
    """A backbone with its weights, its input scaling, and facts for meta.json."""

    backbone: nn.Module
    mean: float
    std: float
    facts: dict[str, Any]


def random_weights(model: str, *, seed: int) -> InitialWeights:
    """The architecture's own random initialisation."""
    torch.manual_seed(seed)
    return InitialWeights(build_backbone(model), GREY_MEAN, GREY_STD, {})


def timm_weights(model: str) -> InitialWeights:
    """Timm's pretrained weights, from the hub or its cache.

    The first convolution is summed over its colour channels, timm's way to a one-channel input;
    its scaling is the mean of the colours' scalings, of which grey is made.

    Raises:
        UserError: there are no such weights, or they cannot be fetched.
    """
    import timm  # here, so that random cnn3 weights need not wait for it

    try:
        backbone = timm.create_model(model, pretrained=True, in_chans=1, num_classes=0)
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"model: timm's weights of {model!r} cannot be had: {reason}; allowed: a name from "
            "timm.list_pretrained() and a network, or `source: pretext`, or a .safetensors file"
        ) from None
    mean, std = grey_scaling(backbone)
    return InitialWeights(backbone, mean, std, {"tag": pretrained_config(backbone)["tag"]})


def file_weights(model: str, path: Path) -> InitialWeights:
    """Weights from a .safetensors file, of this project or of timm (three colour channels).

    A file of this project has its scaling in the meta.json beside it.

    Raises:
        UserError: a tensor of the backbone is missing or has another shape.
    """
    from timm.models import adapt_input_conv

    state = load_state(path)
    backbone = build_backbone(model)
    mean, std = GREY_MEAN, GREY_STD
    if (path.parent / "meta.json").exists():
        meta = load_meta(path.parent)
        mean, std = meta["mean"], meta["std"]
    elif model != "cnn3":
        first = f"{pretrained_config(backbone)['first_conv']}.weight"
        if first in state:
            state[first] = adapt_input_conv(1, state[first])
            mean, std = grey_scaling(backbone)
    left_out = load_backbone(backbone, state, str(path))
    return InitialWeights(backbone, mean, std, {"tensors_left_out": left_out})


def grey_scaling(backbone: nn.Module) -> tuple[float, float]:
    """Mean over the colours of the scaling that a timm network was pretrained with."""
    config = pretrained_config(backbone)
    return sum(config["mean"]) / len(config["mean"]), sum(config["std"]) / len(config["std"])


def pretrained_config(backbone: nn.Module) -> dict[str, Any]:
    """What timm knows of a network's pretraining: names, scaling, tag."""
    return cast(dict[str, Any], backbone.pretrained_cfg)
