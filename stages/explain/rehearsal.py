"""A case without its values: its network on torch's `meta` device, one pass and one map.

Tensors on `meta` have a shape and nothing else, so a network of any size takes no memory. What a
network cannot do with the views of a case shows here before anything is trained, since the code
that is run is that of the training and of the maps.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn

from stages.config.errors import UserError
from stages.config.references import OWN_NETWORKS
from stages.explain.layers import collect_evidence, layers_with_maps, target_layer
from stages.modeling.classifier import (
    Classifier,
    build_backbone,
    build_classifier,
    build_head,
)
from stages.modeling.freeze import freeze
from stages.modeling.input_size import fit_positions, size_arguments, usual_size
from stages.modeling.outputs import Outputs

# Of hidden layers and logits: 0.4 GB in float32, four times that while they train with Adam.
MAX_HEAD_PARAMETERS = 100_000_000
# Of a backbone: 4 GB, 16 GB while it trains.
MAX_PARAMETERS = 1_000_000_000
OUTPUTS = Outputs(("0", "1"), positive=0, one_logit=False, implies={})  # of whatever meaning
BATCH = 2  # batch normalisation cannot train on one image of one cell
NAMED = 3  # layers in an error


def rehearse(model: str, size: int, target_layers: Mapping[str, str]) -> Classifier:
    """Build a network with a small head, run it in evaluation and in training, and make a map.

    Args:
        model: as for `build_classifier`.
        size: side of the views in pixels.
        target_layers: cam.target_layers.

    Returns:
        The network, on `meta`.

    Raises:
        UserError: one of these cannot be done; the message starts with `model`, a field of the
            case, or with cam.target_layers.
    """
    with torch.device("meta"):
        classifier = build_classifier(
            model, size=size, head=[], outputs=OUTPUTS.count, dropout=0.0, mean=0.0, std=1.0
        )
        _require_moderate(classifier.backbone, model)
        images = torch.zeros(BATCH, 1, size, size)
        _try_training(classifier, model, images)
        _try_map(classifier, model, images, target_layers)
    return classifier


def require_trainable(
    classifier: Classifier, head: Sequence[int], outputs: int, level: str
) -> None:
    """Give a network the head of a case, and freeze what the case does not train.

    Args:
        classifier: from `rehearse`.
        head: widths of the hidden layers.
        outputs: number of logits.
        level: what trains: all, head or last:<n>.

    Raises:
        UserError: the head is too large, or there are no such blocks; the message starts with
            `head` or `train`, a field of the case.
    """
    features = cast(nn.Linear, cast(nn.Sequential, classifier.head)[-1]).in_features
    with torch.device("meta"):
        size = _count_scalars(build_head(features, head, outputs, 0.0))
    if size > MAX_HEAD_PARAMETERS:
        raise UserError(
            f"head: got {list(head)}, which makes {size:,} parameters behind {features} "
            f"features; allowed: at most {MAX_HEAD_PARAMETERS:,}"
        )
    freeze(classifier, level)


def require_fitting_weights(
    classifier: Classifier, model: str, size: int, weights_size: int | None
) -> None:
    """Hold a network against weights for images of another size, fitted as where they are loaded.

    Args:
        classifier: from `rehearse`, for views of `size` pixels.
        model: its name.
        size: side of the views in pixels.
        weights_size: side of the images that the weights are for; None for the usual one.

    Raises:
        UserError: timm cannot fit them; the message starts with `weights`, a field of the case.
    """
    if model in OWN_NETWORKS or not size_arguments(model, size):
        return
    wanted = classifier.backbone.state_dict()
    with torch.device("meta"):
        made = build_backbone(model, weights_size).state_dict()
    state = {
        name: tensor
        if tensor.shape == wanted[name].shape
        else torch.zeros(tensor.shape)  # what is resampled needs values
        for name, tensor in made.items()
        if name in wanted
    }
    fitted = fit_positions(state, classifier.backbone)
    other = [name for name, want in wanted.items() if fitted[name].shape != want.shape]
    if other:
        made_at = f"{weights_size or usual_size(classifier.backbone)} px"
        has, wants = tuple(fitted[other[0]].shape), tuple(wanted[other[0]].shape)
        raise UserError(
            f"weights: those of {model} for {made_at} cannot be fitted to views of {size} px: "
            f"tensor {other[0]!r} is {has} and not {wants}; allowed with these weights: views of "
            f"{made_at}, or with these views: weights of kind pretext and pretext.size_px {size}"
        )


def require_drop_path(model: str, drop_path: float) -> None:
    """Build a network with the stochastic depth of a recipe, where the recipe has some.

    Raises:
        UserError: it has no branches to drop; the message starts with `model`, a field of the case.
    """
    if drop_path:
        with torch.device("meta"):
            build_backbone(model, drop_path=drop_path)


def _require_moderate(backbone: nn.Module, model: str) -> None:
    size = _count_scalars(backbone)
    if size > MAX_PARAMETERS:
        raise UserError(
            f"model: got {model!r}, which has {size:,} parameters; allowed: at most "
            f"{MAX_PARAMETERS:,}, which take 16 GB to train"
        )


def _count_scalars(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _try_training(classifier: Classifier, model: str, images: torch.Tensor) -> None:
    classifier.train()
    try:
        classifier(images)
    except Exception as error:  # of somebody else's network; in evaluation it ran
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"model: {model} cannot train on views of {images.shape[-1]} px: {reason}"
        ) from None


def _try_map(
    classifier: Classifier, model: str, images: torch.Tensor, target_layers: Mapping[str, str]
) -> None:
    classifier.eval().requires_grad_(False)
    classes = torch.zeros(len(images), dtype=torch.int64)
    layer = ""
    try:
        layer = target_layer(classifier, model, target_layers)
        collect_evidence(classifier, layer, OUTPUTS, images, classes)
    except UserError as error:
        # No deeper than the layer that was tried: the last ones, from the output to the input.
        names = [
            n for n in layers_with_maps(classifier, images) if n.count(".") <= layer.count(".")
        ]
        hint = f"; of {model} these do, among others: {', '.join(names[: -1 - NAMED : -1])}"
        raise UserError(f"{error}{hint if names else ''}") from None
