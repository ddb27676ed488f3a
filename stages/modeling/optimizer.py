"""What moves the weights: optimiser, learning rate by step, moving average."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from stages.config.params import Recipe


def build_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """SGD with momentum 0.9, Adam or AdamW over the trainable parameters.

    Weight decay is for weights alone: pulling biases and norm scales to zero does not regularise.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=0.9, fused=True)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.lr, fused=True)
    return torch.optim.AdamW(groups, recipe.lr, fused=True)


def build_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The learning rate over all steps: constant, cosine to zero, or one cycle (Smith 2018)."""
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if recipe.schedule == "onecycle":
        return OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=steps)
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """A copy that becomes the exponential moving average of weights and BatchNorm statistics.

    The first update copies. Counters are always copied: an average of integers would be cut to
    the integer below.
    """

    @torch.no_grad()
    def average(averages: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        for mean, value in zip(averages, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    return AveragedModel(network, use_buffers=True, multi_avg_fn=average)
