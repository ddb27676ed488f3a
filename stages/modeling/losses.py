"""Losses as functions of logits and class indices, averaged over the batch last."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stages.config.params import BinaryCrossEntropy, CrossEntropy, Focal, Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]


def build_loss(loss: Loss, *, positive: int) -> LossFunction:
    """The function (logits (B, K), targets (B,)) -> mean loss that a case names."""
    match loss:
        case CrossEntropy(label_smoothing=smoothing):
            return lambda logits, targets: functional.cross_entropy(
                logits, targets, label_smoothing=smoothing
            )
        case BinaryCrossEntropy(label_smoothing=smoothing):
            return lambda logits, targets: binary_cross_entropy(
                logits, targets, positive=positive, label_smoothing=smoothing
            )
        case Focal(gamma=gamma):
            return lambda logits, targets: focal_loss(logits, targets, gamma=gamma).mean()


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, positive: int, label_smoothing: float
) -> Tensor:
    """Mean sigmoid cross-entropy of one logit (B, 1) against class indices (B,).

    Smoothing s moves the target y to y (1 - s) + s / 2, as cross-entropy does with two classes.
    """
    is_positive = (targets == positive).to(logits.dtype)
    smoothed = is_positive * (1 - label_smoothing) + label_smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits[:, 0], smoothed)


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Per-image focal loss (B,): -(1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 4).

    The factor weighs each image by its own p_t; applied to the mean of a batch it would only
    rescale the step.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
    # 1 - p_t without cancellation; p_t = 1 would have gradient nan at gamma < 1.
    one_minus_p = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -(one_minus_p**gamma) * log_p
