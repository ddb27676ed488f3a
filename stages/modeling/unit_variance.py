"""A start for networks without normalisation: every layer gives values of unit variance."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from stages.modeling.classifier import Classifier

NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def scale_to_unit_variance(classifier: Classifier, images: Tensor) -> None:
    """Scale the weights of each convolution and linear layer of the backbone, in place, by images.

    Layer-sequential unit variance (Mishkin and Matas 2016, "All you need is a good init"), in one
    pass: each layer is scaled as the images reach it. From timm's start VGG-16 learned nothing of
    the pretext task in the time that it has; from this one it does. Networks that normalise their
    activations are left as they are.

    Args:
        classifier: a network that has not been trained.
        images: (B, 1, S, S) in [0, 1].
    """
    if any(isinstance(module, NORMALISATIONS) for module in classifier.backbone.modules()):
        return
    layers = [m for m in classifier.backbone.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(_scale) for layer in layers]
    try:
        with torch.no_grad():
            classifier(images)
    finally:
        for hook in hooks:
            hook.remove()


def _scale(layer: nn.Conv2d | nn.Linear, _inputs: object, output: Tensor) -> Tensor:
    deviation = output.std()
    if deviation == 0:  # nothing reaches this layer
        return output
    for parameter in layer.parameters():
        parameter.div_(deviation)
    return output / deviation
