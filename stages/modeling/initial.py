"""Initial weights that need no training: random, timm's, or a file's."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from stages.config.errors import UserError
from stages.config.params import FileWeights, FixedScaling, ImageNetScaling, MetaScaling
from stages.modeling.classifier import build_backbone, create_timm_backbone
from stages.modeling.loading import Fitting, fit_tensors
from stages.modeling.weights_file import read_weights
from stages.modeling.weights_meta import read_weights_meta

# Scaling of grey images in [0, 1] for networks that bring none: roughly unit variance around 0.
GREY_MEAN, GREY_STD = 0.5, 0.25
# Means over the colours of IMAGENET_DEFAULT_MEAN and _STD of timm.
IMAGENET_GREY = ((0.485 + 0.456 + 0.406) / 3, (0.229 + 0.224 + 0.225) / 3)
DEFAULT_SCALING = f"default {GREY_MEAN}/{GREY_STD}"


class InitialWeights(NamedTuple):
    """A backbone with its weights, its input scaling, and facts for meta.json.

    Among the facts is `scaling`, where mean and std come from.
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
            "retries), or `kind: pretext`, or `kind: file` and a file of weights"
        ) from None
    mean, std = grey_scaling(backbone)
    config = pretrained_config(backbone)
    facts = {
        "scaling": "timm",
        "tag": config["tag"],
        "licence": config.get("license"),
        "origin": f"timm's {config['architecture']}.{config['tag']}",
    }
    return InitialWeights(backbone, mean, std, facts)


def file_weights(model: str, source: FileWeights) -> InitialWeights:
    """Weights from a file, of this project, of timm or of others.

    Raises:
        UserError: the file is not readable or does not fit, or its meta.json is wrong.
    """
    backbone = build_backbone(model)
    fitting, scaling, facts = _read_file(backbone, model, source)
    backbone.load_state_dict(fitting.tensors)
    facts |= {"tensors_left_out": fitting.left_out, "colours_summed": fitting.summed}
    return InitialWeights(backbone, *scaling, facts)


def check_file(model: str, source: FileWeights) -> None:
    """Refuse what `file_weights` would, without the memory of a network."""
    with torch.device("meta"):
        backbone = build_backbone(model)
    _read_file(backbone, model, source)


def _read_file(
    backbone: nn.Module, model: str, source: FileWeights
) -> tuple[Fitting, tuple[float, float], dict[str, Any]]:
    """Tensors for the backbone, mean and std, and where these come from."""
    path = Path(source.path)
    facts: dict[str, Any]
    match source.scaling:
        case FixedScaling(mean=mean, std=std):
            scaling, facts = (mean, std), {"scaling": f"params.yaml {mean:g}/{std:g}"}
        case ImageNetScaling():
            scaling, facts = IMAGENET_GREY, {"scaling": "imagenet"}
        case MetaScaling():
            meta = read_weights_meta(path, model)
            handed_on = meta.model_dump(include={"knows", "licence", "origin"})
            scaling, facts = (meta.mean, meta.std), {"scaling": "meta.json", **handed_on}
            path /= "model.safetensors"
    return fit_tensors(backbone, read_weights(path), str(path)), scaling, facts


def grey_scaling(backbone: nn.Module) -> tuple[float, float]:
    """Mean over the colours of the scaling that a timm network was pretrained with."""
    config = pretrained_config(backbone)
    return sum(config["mean"]) / len(config["mean"]), sum(config["std"]) / len(config["std"])


def pretrained_config(backbone: nn.Module) -> dict[str, Any]:
    """What timm knows of a network's pretraining: names, scaling, tag."""
    return cast(dict[str, Any], backbone.pretrained_cfg)
