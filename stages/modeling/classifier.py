"""A network as every case uses it: scaling, backbone, head."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.references import OWN_NETWORKS, keeps_fc, timm_name
from stages.modeling.cnn3 import MIN_SIZE_PX, Cnn3
from stages.modeling.darkcovidnet import DarkCovidNet
from stages.modeling.input_size import (
    require_whole_patches,
    size_arguments,
    usual_size,
)
from stages.modeling.timm_import import import_timm

BACKBONE = "backbone."


class Classifier(nn.Module):
    """Grey images in [0, 1] to logits; scaling to the backbone's range is part of the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, head: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        # Not persistent: kept in meta.json, so that a state dict holds learned tensors only.
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, 1, S, S) in [0, 1]."""
        logits: Tensor = self.head(self.backbone((images - self.mean) / self.std))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but leave frozen modules in evaluation.

        A frozen batch normalisation would otherwise go on counting, and frozen dropout dropping.
        Whoever sets a mode comes through here, so no training loop can forget it.
        """
        super().train(mode)
        keep_frozen_in_evaluation(self)
        return self


def keep_frozen_in_evaluation(network: nn.Module) -> None:
    """Put the frozen modules inside a network into evaluation, whatever its own mode."""
    for part in network.children():
        for _, module in frozen_modules(part):
            module.eval()


def frozen_modules(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that hold parameters of which none is to be trained, by dotted name.

    What has no parameters (dropout, drop path, activations, normalisation without weights) goes
    with the module that it is in.
    """
    wanted = [parameter.requires_grad for parameter in module.parameters()]
    if wanted and not any(wanted):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from frozen_modules(child, f"{name}.{child_name}".lstrip("."))


def build_classifier(
    model: str,
    *,
    size: int,
    head: Sequence[int],
    outputs: int,
    dropout: float,
    mean: float,
    std: float,
    drop_path: float = 0.0,
) -> Classifier:
    """A network with fresh random weights from torch's global generator.

    Args:
        model: one of OWN_NETWORKS, a timm model name (a `.tag` plays no part in the architecture),
            or that of a VGG with `_fc` behind it, which keeps its two old FC layers.
        size: side of the square input in pixels.
        head: widths of hidden Linear+ReLU layers before the logits.
        outputs: number of logits.
        dropout: probability before each Linear of the head.
        mean: of the backbone's input scaling, for images in [0, 1].
        std: likewise.
        drop_path: as for `build_backbone`; of no meaning to a network that is not to be trained.

    Raises:
        UserError: the model does not exist, cannot take images of this size, or has no residual
            branches to drop.
    """
    backbone = build_backbone(model, size, drop_path)
    features = count_features(backbone, model, size)
    return Classifier(backbone, build_head(features, head, outputs, dropout), mean=mean, std=std)


def build_backbone(model: str, size: int | None = None, drop_path: float = 0.0) -> nn.Module:
    """The network without its classifier, for one grey channel, randomly initialised.

    Args:
        model: as for `build_classifier`.
        size: side of the square input in pixels; None for the network's usual one. Only networks
            of a fixed input size differ by it.
        drop_path: probability of dropping the last residual branch in training (stochastic depth,
            Huang et al. 2016, "Deep Networks with Stochastic Depth"; by timm it rises evenly from 0
            at the first one, eq. 4); 0: as timm makes the network.

    Raises:
        UserError: timm does not know the network, cannot build it for that size, or cannot drop
            branches of it.
    """
    if model in OWN_NETWORKS:
        if drop_path:
            raise _no_drop_path(model, drop_path)
        return _build_own(model)
    try:
        backbone = create_timm_backbone(model, pretrained=False, size=size, drop_path=drop_path)
    except RuntimeError as error:
        raise UserError(f"model: timm cannot build {model!r}: {error}") from None
    except TypeError as error:  # what a constructor says of a parameter that it has not
        if "drop_path_rate" not in str(error):
            raise
        raise _no_drop_path(model, drop_path) from None
    return backbone


def _build_own(model: str) -> nn.Module:
    if model == "cnn3":
        return Cnn3()
    return DarkCovidNet(maps=2 if model == "darkcovidnet2" else 3)


def _no_drop_path(model: str, drop_path: float) -> UserError:
    return UserError(
        f"model: got {model!r} with a recipe of drop_path {drop_path:g}, a network without "
        "stochastic depth; allowed: one that has it, as most residual networks and transformers "
        "of timm do, or a recipe with drop_path: 0"
    )


def create_timm_backbone(
    model: str, *, pretrained: bool, size: int | None = None, drop_path: float = 0.0
) -> nn.Module:
    """A timm network without its classifier, for one grey channel; errors are timm's own.

    A VGG is its convolutions and average pooling, 512 features: its two old FC layers, 120 of
    the 134 million parameters of VGG-16, are left out unless the name ends in `_fc`.
    """
    timm = import_timm()
    options: dict[str, Any] = {"in_chans": 1, "num_classes": 0} | size_arguments(model, size)
    if drop_path:
        options["drop_path_rate"] = drop_path
    backbone: nn.Module = timm.create_model(timm_name(model), pretrained=pretrained, **options)
    if isinstance(backbone, timm.models.VGG) and not keeps_fc(model):
        backbone.add_module("pre_logits", nn.Identity())
    return backbone


def build_head(features: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    """Dropout, Linear and ReLU per hidden layer, then dropout and the Linear to the logits."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Dropout(dropout), nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(features, outputs))


def count_features(backbone: nn.Module, model: str, size: int) -> int:
    """Width of the backbone's output for images of that size, by trying one.

    Raises:
        UserError: it cannot take images of that size, or gives something else than one vector each.
    """
    if model == "cnn3" and size < MIN_SIZE_PX:
        raise UserError(f"model: cnn3 got views of {size} px; allowed: at least {MIN_SIZE_PX} px")
    require_whole_patches(backbone, model, size)
    backbone.eval()
    try:
        with torch.inference_mode():
            features = backbone(torch.zeros(1, 1, size, size))
    except Exception as error:  # whatever it is, it says that this network cannot
        raise UserError(_size_refused(backbone, model, size, error)) from None
    finally:
        backbone.train()
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = tuple(features.shape[1:]) if isinstance(features, Tensor) else type(features)
        raise UserError(
            f"model: {model} gives {shape} per image; allowed: networks that give one vector"
        )
    return int(features.shape[1])


def _size_refused(backbone: nn.Module, model: str, size: int, error: Exception) -> str:
    usual = usual_size(backbone)
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"model: {model} cannot take views of {size} px: {reason}" + (
        f"; its usual size is {usual} px" if usual else ""
    )
