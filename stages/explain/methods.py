"""Class activation maps, by pytorch-grad-cam, with what that library leaves to its user."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, GradCAM
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier
from stages.modeling.outputs import Outputs

BATCH_SIZE = 16


class SignedEigenCAM(EigenCAM):
    """EigenCAM (Muhammad and Yeasin 2020) with a sign.

    A principal component has an arbitrary sign, and the library clips what is negative: half of
    its maps would show the background. Here the component points the way in which gradient times
    activation raises the class score. The component itself is still not class-specific.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(model, target_layers, reshape_transform)
        self.uses_gradients = True

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: list[nn.Module],
        activations: NDArray[np.float32],
        grads: NDArray[np.float32],
        eigen_smooth: bool,
    ) -> NDArray[np.float32]:
        """First principal component (B, h, w) of activations (B, C, h, w)."""
        projections: NDArray[np.float32] = get_2d_projection(activations)
        evidence = (grads * activations).sum(axis=1)
        agreement = (projections * evidence).sum(axis=(1, 2), keepdims=True)
        return np.where(agreement < 0, -projections, projections)


METHODS = {"gradcam": GradCAM, "eigencam": SignedEigenCAM}


def compute_cams(
    classifier: Classifier,
    outputs: Outputs,
    images: Tensor,
    classes: Tensor,
    *,
    method: str,
    target_layer: str,
) -> NDArray[np.float32]:
    """Maps of the evidence for one class per image.

    Args:
        classifier: left as it was found: mode, `requires_grad`, gradients.
        outputs: what its logits mean.
        images: (N, 1, S, S) in [0, 1].
        classes: (N,) class index whose score is explained.
        method: a key of METHODS.
        target_layer: name of a module of the backbone.

    Returns:
        (N, S, S) in [0, 1], each map from its own minimum (where that is positive, else from no
        evidence) to its own maximum.

    Raises:
        UserError: the backbone has no such layer, or the layer gives no maps.
    """
    layer = find_layer(classifier, target_layer)
    to_maps = partial(arrange_as_maps, backbone=classifier.backbone, layer=target_layer)
    with _ready_to_explain(classifier), METHODS[method](classifier, [layer], to_maps) as cam:
        maps = [
            cam(
                batch.clone().requires_grad_(True),
                [_ClassTarget(outputs, wanted) for wanted in batch_classes],
            )
            for batch, batch_classes in zip(
                images.split(BATCH_SIZE), classes.split(BATCH_SIZE), strict=True
            )
        ]
    return np.concatenate(maps)


def find_layer(classifier: Classifier, name: str) -> nn.Module:
    """A module of the backbone by name; an unknown name lists the outermost ones."""
    if not name or not _has_layer(classifier.backbone, name):
        raise UserError(
            f"params.yaml: cam.target_layers: got the layer {name!r}, which this backbone lacks; "
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
            "params.yaml: cam.target_layers: this backbone has no default layer; "
            f"name one of: {_outermost_layers(backbone)}"
        )
    last = str(cast(Sequence[dict[str, Any]], backbone.feature_info)[-1]["module"])
    # A head that reads the class token has no gradient at the patches after the last attention.
    before_attention = f"{last}.norm1"
    has_tokens = hasattr(backbone, "num_prefix_tokens")
    return before_attention if has_tokens and _has_layer(backbone, before_attention) else last


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
            f"params.yaml: cam.target_layers: the layer {layer!r} gives "
            f"{tuple(activations.shape[1:])} per image; allowed: square maps or their tokens"
        )
    return maps


class _ClassTarget:
    """The scalar that a map explains, for one row of logits."""

    def __init__(self, outputs: Outputs, wanted: Tensor) -> None:
        self._outputs = outputs
        self._wanted = wanted

    def __call__(self, logits: Tensor) -> Tensor:
        return self._outputs.class_score(logits[None], self._wanted[None])[0]


@contextmanager
def _ready_to_explain(classifier: Classifier) -> Iterator[None]:
    """Eval mode without parameter gradients, and back.

    Gradients flow from the image, so a frozen network is explained like any other, and none are
    computed for the weights.
    """
    modes = [(module, module.training) for module in classifier.modules()]
    found = [(p, p.requires_grad, p.grad) for p in classifier.parameters()]
    classifier.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training  # one by one: `train` would go by what is frozen now
        for parameter, wants_gradient, gradient in found:
            parameter.requires_grad_(wants_gradient)
            parameter.grad = gradient  # the library clears it
