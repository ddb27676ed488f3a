"""Losses as functions of logits and class indices, averaged over the batch last."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stages.config.errors import UserError
from stages.config.params import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    Loss,
    WeightedCrossEntropy,
)
from stages.modeling.outputs import Outputs

LossFunction = Callable[[Tensor, Tensor], Tensor]


def build_loss(loss: Loss, outputs: Outputs, class_counts: Sequence[int]) -> LossFunction:
    """The function (logits (B, count), targets (B,) of class indices) -> mean loss of a case.

    Args:
        loss: the entry of the case.
        outputs: what its logits mean; where classes imply others, sigmoid losses see all labels.
        class_counts: training images per class, for weighted_ce.

    Raises:
        UserError: weighted_ce for a class without a training image.
    """
    match loss:
        case CrossEntropy(label_smoothing=smoothing):
            return lambda logits, targets: functional.cross_entropy(
                logits, targets, label_smoothing=smoothing
            )
        case WeightedCrossEntropy(label_smoothing=smoothing):
            weights = balanced_class_weights(class_counts, outputs.class_names)
            return lambda logits, targets: functional.cross_entropy(
                logits, targets, weight=weights.to(logits), label_smoothing=smoothing
            )
        case BinaryCrossEntropy(label_smoothing=smoothing):
            return lambda logits, targets: binary_cross_entropy(
                logits, outputs.label_targets(targets), label_smoothing=smoothing
            )
        case Focal():
            return _build_focal(loss, outputs)


def _build_focal(loss: Focal, outputs: Outputs) -> LossFunction:
    if outputs.implies:
        return lambda logits, targets: sigmoid_focal_loss(
            logits, outputs.label_targets(targets), gamma=loss.gamma, alpha=loss.alpha
        ).mean()
    return lambda logits, targets: focal_loss(
        logits, targets, gamma=loss.gamma, alpha=loss.alpha, positive=outputs.positive
    ).mean()


def balanced_class_weights(class_counts: Sequence[int], class_names: Sequence[str]) -> Tensor:
    """(K,) weights n / (K n_c) of classes with n_c of n training images, K classes.

    They are scikit-learn's `class_weight="balanced"`: the images of each class weigh n / K in sum.

    Raises:
        UserError: a class without a training image has no weight.
    """
    if min(class_counts) < 1:
        pairs = zip(class_names, class_counts, strict=True)
        got = ", ".join(f"{name} {count}" for name, count in pairs)
        raise UserError(
            f"loss weighted_ce: got training images per class: {got}; allowed: at least one of "
            "each; take another loss, or a split with training images of every class"
        )
    counts = torch.tensor(class_counts, dtype=torch.float32)
    return counts.sum() / (len(counts) * counts)


def binary_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float) -> Tensor:
    """Mean over labels and images of the sigmoid cross-entropy of logits and 0/1 labels (B, L).

    Smoothing s moves the label y to y (1 - s) + s / 2, as cross-entropy does with two classes.
    """
    smoothed = labels * (1 - label_smoothing) + label_smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits, smoothed)


def focal_loss(
    logits: Tensor, targets: Tensor, *, gamma: float, alpha: float | None, positive: int
) -> Tensor:
    """Per-image softmax focal loss (B,): -a_t (1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 5).

    a_t is alpha for images of the positive class and 1 - alpha for those of all others; without
    alpha it is 1 (eq. 4). The factor weighs each image by its own p_t; applied to the mean of a
    batch it would only rescale the step.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
    # 1 - p_t without cancellation; p_t = 1 would have gradient nan at gamma < 1.
    one_minus_p = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return _alpha_weights(targets == positive, alpha) * -(one_minus_p**gamma) * log_p


def sigmoid_focal_loss(
    logits: Tensor, labels: Tensor, *, gamma: float, alpha: float | None
) -> Tensor:
    """Per-image focal loss (B,) of logits and 0/1 labels (B, L), mean over the labels.

    Per label it is -a_t (1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 5), where p_t is the
    probability of what is true: that the label is present, or that it is absent. a_t is alpha
    where the label is present and 1 - alpha where it is absent; without alpha it is 1 (eq. 4).
    """
    present = labels > 0.5
    evidence = torch.where(present, logits, -logits)  # p_t is its sigmoid
    # As an exponential, the factor has a finite gradient where 1 - p_t is rounded to 0.
    factor = (gamma * functional.logsigmoid(-evidence)).exp()
    per_label = -_alpha_weights(present, alpha) * factor * functional.logsigmoid(evidence)
    return per_label.mean(dim=1)


def _alpha_weights(is_positive: Tensor, alpha: float | None) -> Tensor:
    """Of a mask of any shape: alpha where it is true, 1 - alpha elsewhere; no alpha, 1."""
    ones = torch.ones_like(is_positive, dtype=torch.float32)
    return ones if alpha is None else torch.where(is_positive, alpha * ones, (1 - alpha) * ones)
