"""What moves the weights: optimiser, learning rate by step, moving average."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from stages.config.errors import UserError
from stages.config.params import Recipe

# The only step of a cycle is its end, at 1/250,000 of the learning rate; two reach four fifths.
MIN_CYCLE_STEPS = 2
MOMENTUM = 0.9
# Averaged weights must not be those after the first step to more than this share.
MAX_FIRST_SHARE = 0.9


def build_optimizer(network: nn.Module, recipe: Recipe, depths: Mapping[str, int]) -> Optimizer:
    """SGD with momentum 0.9, Adam or AdamW over the trainable parameters.

    Weight decay is for weights alone: pulling biases and norm scales to zero does not regularise.

    Args:
        network: what trains of it has gradients switched on.
        recipe: how to train; a parameter at depth k learns at lr * layer_decay^k, as the layers of
            ULMFiT (Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text
            Classification", section 3.2) and of BEiT (Bao et al. 2022, section 3.1).
        depths: of parameters by name, see `block_depths`; those that it does not name, the head's,
            have depth 0.
    """
    alike: dict[float, list[Parameter]] = {}  # learning rate to parameters
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            lr = recipe.lr * recipe.layer_decay ** depths.get(name, 0)
            alike.setdefault(lr, []).append(parameter)
    groups: list[dict[str, Any]] = []
    for lr, of in alike.items():
        decayed, free = [p for p in of if p.ndim > 1], [p for p in of if p.ndim <= 1]
        groups += [
            {"params": decayed, "lr": lr, "weight_decay": recipe.weight_decay},
            {"params": free, "lr": lr, "weight_decay": 0.0},
        ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=MOMENTUM, fused=True)
    betas = (MOMENTUM, recipe.beta2)  # one cycle moves the first of them too
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.lr, betas=betas, fused=True)
    return torch.optim.AdamW(groups, recipe.lr, betas=betas, fused=True)


def build_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The learning rate over all steps: constant, cosine to zero, or one cycle (Smith 2018).

    Each group of parameters has its own, which is that of the recipe or a share of it throughout.
    One cycle also takes the momentum, or Adam's first beta, from 0.95 to 0.85 and back.
    """
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if recipe.schedule == "onecycle":
        return OneCycleLR(optimizer, [g["lr"] for g in optimizer.param_groups], total_steps=steps)
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def phase_steps(recipe: Recipe, steps: int) -> tuple[int, int]:
    """How many of all steps train the head alone, and how many all that is to train.

    Each of these phases has an optimiser and a whole schedule of its own, as in fastai's
    `fine_tune`: a cycle that began in the first would have its top at any place of the second.
    """
    of_head = steps * recipe.head_epochs // recipe.epochs
    return of_head, steps - of_head


def require_enough_steps(recipe: Recipe, steps: int) -> None:
    """Refuse a recipe whose schedule or whose average needs more steps than there will be.

    Args:
        recipe: how to train.
        steps: of the optimiser, over all epochs.

    Raises:
        UserError: one cycle has a single step, or the averaged weights would still be those
            after the first step to more than 90 %.
    """
    got = describe_steps(recipe, steps)
    phases = [of_phase for of_phase in phase_steps(recipe, steps) if of_phase]
    steps = phases[-1]  # in which the last block begins to move
    if recipe.schedule == "onecycle" and min(phases) < MIN_CYCLE_STEPS:
        raise UserError(
            f"schedule: {got}; allowed for onecycle: at least {MIN_CYCLE_STEPS} steps, as the "
            "only one is its end, with next to no learning rate; give more epochs, a smaller "
            "batch_size or more images, or schedule: cosine or constant"
        )
    first_share = recipe.ema ** (steps - 1)
    if steps > 1 and first_share > MAX_FIRST_SHARE:
        allowed = MAX_FIRST_SHARE ** (1 / (steps - 1))
        raise UserError(
            f"ema: got {recipe.ema:g}; {got}; the averaged weights would be to {first_share:.1%} "
            f"those after the first step; allowed here: ema up to {allowed:.4g}; or give more "
            "epochs"
        )


def describe_steps(recipe: Recipe, steps: int) -> str:
    """What decides how far weights can move, for messages."""
    decay = f", layer_decay {recipe.layer_decay:g}" if recipe.layer_decay < 1 else ""
    of_head = f" (head_epochs {recipe.head_epochs})" if recipe.head_epochs else ""
    return (
        f"got lr {recipe.lr:g} ({recipe.optimizer}, {recipe.schedule}{decay}), {recipe.epochs} "
        f"epochs{of_head} of batch_size {recipe.batch_size}: {steps} steps"
    )


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
