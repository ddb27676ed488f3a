"""The layer that a map is taken from: which one, how its output is arranged, a graph from there."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier

KEY = "params.yaml: cam.target_layers"


def find_layer(classifier: Classifier, name: str) -> nn.Module:
    """A module of the backbone by name; an unknown name lists the outermost ones."""
    if not name or not _has_layer(classifier.backbone, name):
        raise UserError(
            f"{KEY}: got the layer {name!r}, which this backbone lacks; "
            f"its outermost are: {_outermost_layers(classifier.backbone)}"
        )
    return classifier.backbone.get_submodule(name)


def _has_layer(backbone: nn.Module, name: str) -> bool:
    return name in dict(backbone.named_modules())


def _outermost_layers(backbone: nn.Module) -> str:
    return ", ".join(name for name, _ in backbone.named_children())


def default_target_layer(classifier: Classifier) -> str:
    """The last feature stage, as timm names it; of a transformer, its last block's first norm.

    Raises:
        UserError: the backbone does not say what its stages are.
    """
    backbone = classifier.backbone
    if not hasattr(backbone, "feature_info"):
        raise UserError(
            f"{KEY}: this backbone has no default layer; name one of: {_outermost_layers(backbone)}"
        )
    last = str(cast(Sequence[dict[str, Any]], backbone.feature_info)[-1]["module"])
    # A head that reads the class token has no gradient at the patches after the last attention.
    before_attention = f"{last}.norm1"
    has_tokens = hasattr(backbone, "num_prefix_tokens")
    return before_attention if has_tokens and _has_layer(backbone, before_attention) else last


@contextmanager
def graph_from(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Let the graph of every forward pass inside start at the layer's output.

    Nothing before the layer is differentiated, which is most of the work of a backward pass. What
    is yielded is the list of outputs, one per run of the layer, that gradients can be asked for.
    """
    outputs: list[Tensor] = []

    def start_graph(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        start = output.detach().clone().requires_grad_(True)
        outputs.append(start)
        # The network goes on with a copy: an in-place ReLU behind a convolution would change the
        # activations, and they would no longer be those that the gradients belong to.
        return start.clone()

    handle = layer.register_forward_hook(start_graph)
    try:
        yield outputs
    finally:
        handle.remove()


def arrange_as_maps(activations: Tensor, *, backbone: nn.Module, layer: str) -> Tensor:
    """Bring a layer's output to maps (B, C, h, w); images are square, so h = w.

    Args:
        activations: maps (B, C, h, w), or (B, h, w, C) where timm says so of the backbone, or
            tokens (B, prefix + h * w, C).
        backbone: which network they are from.
        layer: named in the error.

    Raises:
        UserError: they are none of these.
    """
    maps = activations
    if maps.ndim == 3:
        patches = maps[:, cast(int, getattr(backbone, "num_prefix_tokens", 0)) :]
        side = math.isqrt(patches.shape[1])
        if side**2 == patches.shape[1]:
            maps = patches.transpose(1, 2).unflatten(2, (side, side))
    elif maps.ndim == 4 and getattr(backbone, "output_fmt", "NCHW") == "NHWC":
        maps = maps.permute(0, 3, 1, 2)
    if maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise UserError(
            f"{KEY}: the layer {layer!r} gives {tuple(activations.shape[1:])} per image; "
            "allowed: square maps or their tokens"
        )
    return maps
