"""The layer that a map is taken from: which one, how its output is arranged, a graph from there."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.references import architecture
from stages.modeling.classifier import Classifier
from stages.modeling.outputs import Outputs

KEY = "params.yaml: cam.target_layers"
MIN_SIDE = 2  # cells; a map of one cell has no place to point at


class Evidence(NamedTuple):
    """What a layer gives, (B, C, h, w), and the gradient of the class score with respect to it."""

    activations: Tensor
    gradients: Tensor


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


def target_layer(classifier: Classifier, model: str, named: Mapping[str, str]) -> str:
    """The layer that params.yaml names for an architecture, else the default one.

    Args:
        classifier: the network.
        model: its name, a tag included.
        named: cam.target_layers.

    Raises:
        UserError: none is named, and the backbone does not say what its stages are.
    """
    name = architecture(model)
    return named[name] if name in named else default_target_layer(classifier)


def collect_evidence(
    classifier: Classifier, layer: str, outputs: Outputs, images: Tensor, classes: Tensor
) -> Evidence:
    """One forward pass to a layer's maps, and one backward pass from the class scores to them.

    Args:
        classifier: in the mode in which it is to be explained.
        layer: name of a module of the backbone.
        outputs: what its logits mean.
        images: (B, 1, S, S) in [0, 1].
        classes: (B,) class index whose score is explained.

    Raises:
        UserError: there is no such layer, it does not run once per image, it gives no maps, or the
            logits do not depend on it.
    """
    with graph_from(find_layer(classifier, layer), layer) as starts:
        scores = outputs.class_score(classifier(images), classes)
    if len(starts) != 1:
        raise UserError(
            f"{KEY}: the layer {layer!r} runs {len(starts)} times per image; "
            "allowed: a layer that runs once"
        )
    if not scores.requires_grad:
        raise UserError(
            f"{KEY}: the logits do not depend on the layer {layer!r}; allowed: a layer on the way "
            "to them"
        )
    (gradients,) = torch.autograd.grad(scores.sum(), starts[0], materialize_grads=True)
    values = (
        arrange_as_maps(of, backbone=classifier.backbone, layer=layer).detach()
        for of in (starts[0], gradients)
    )
    return Evidence(*values)


def layers_with_maps(classifier: Classifier, images: Tensor) -> list[str]:
    """Names of the modules of the backbone that could be explained, in the order they finish.

    Args:
        classifier: the network.
        images: (B, 1, S, S), to try it on.
    """
    found: list[str] = []

    def note(name: str, output: object) -> None:
        try:
            arrange_as_maps(output, backbone=classifier.backbone, layer=name)
        except UserError:
            return
        found.append(name)

    modules = [(name, module) for name, module in classifier.backbone.named_modules() if name]
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in modules
    ]
    try:
        with torch.no_grad():
            classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in found if found.count(name) == 1]


@contextmanager
def graph_from(layer: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Let the graph of every forward pass inside start at the layer's output.

    Nothing before the layer is differentiated, which is most of the work of a backward pass. What
    is yielded is the list of outputs, one per run of the layer, that gradients can be asked for.

    Raises:
        UserError: the layer gives something else than one tensor.
    """
    outputs: list[Tensor] = []

    def start_graph(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        start = require_tensor(output, name).detach().clone().requires_grad_(True)
        outputs.append(start)
        # The network goes on with a copy: an in-place ReLU behind a convolution would change the
        # activations, and they would no longer be those that the gradients belong to.
        return start.clone()

    handle = layer.register_forward_hook(start_graph)
    try:
        yield outputs
    finally:
        handle.remove()


def require_tensor(output: object, layer: str) -> Tensor:
    """What a layer gives, if that is one tensor; some give one per resolution, in a list."""
    if isinstance(output, Tensor):
        return output
    count = f" of {len(output)}" if isinstance(output, list | tuple | dict) else ""
    raise UserError(
        f"{KEY}: the layer {layer!r} gives a {type(output).__name__}{count} per image; "
        "allowed: a layer that gives square maps or their tokens"
    )


def arrange_as_maps(output: object, *, backbone: nn.Module, layer: str) -> Tensor:
    """Bring a layer's output to maps (B, C, h, w); images are square, so h = w, at least 2.

    Args:
        output: maps (B, C, h, w), or (B, h, w, C) where timm says so of the backbone or h = w shows
            it, or tokens (B, prefix + h * w, C), the prefix missing where it is not there yet.
        backbone: which network it is from.
        layer: named in the error.

    Raises:
        UserError: it is none of these.
    """
    maps = activations = require_tensor(output, layer)
    if maps.ndim == 3:
        patches = maps[:, _count_prefix_tokens(backbone, maps.shape[1]) :]
        side = math.isqrt(patches.shape[1])
        if side**2 == patches.shape[1]:
            maps = patches.transpose(1, 2).unflatten(2, (side, side))
    elif maps.ndim == 4 and _has_channels_last(backbone, maps):
        maps = maps.permute(0, 3, 1, 2)
    if maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise UserError(
            f"{KEY}: the layer {layer!r} gives {tuple(activations.shape[1:])} per image; "
            "allowed: square maps or their tokens"
        )
    if maps.shape[2] < MIN_SIDE:
        raise UserError(
            f"{KEY}: the layer {layer!r} gives maps of {maps.shape[2]} x {maps.shape[3]} cells; "
            f"allowed: at least {MIN_SIDE} x {MIN_SIDE}, of an earlier layer or a larger view"
        )
    return maps


def _count_prefix_tokens(backbone: nn.Module, count: int) -> int:
    """How many of a layer's tokens are no patches; some networks add these behind early blocks."""
    patches = getattr(getattr(backbone, "patch_embed", None), "num_patches", None)
    return 0 if count == patches else cast(int, getattr(backbone, "num_prefix_tokens", 0))


def _has_channels_last(backbone: nn.Module, maps: Tensor) -> bool:
    _, first, second, third = maps.shape
    return getattr(backbone, "output_fmt", "NCHW") == "NHWC" or first == second != third
