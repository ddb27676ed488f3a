"""Training: epochs of a Classifier, each validated, the best or the last of them kept.

The loop is here to be read; Lightning Fabric brings networks, batches and gradients to devices.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, cast

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages.config.params import Recipe
from stages.modeling.classifier import frozen_modules
from stages.modeling.compute import Hardware
from stages.modeling.convergence import diverged
from stages.modeling.data import Batch, as_channels_last
from stages.modeling.history import EpochFigures, History
from stages.modeling.losses import LossFunction
from stages.modeling.optimizer import average_weights, build_optimizer, build_schedule
from stages.modeling.outputs import Outputs

logger = logging.getLogger(__name__)


class Lesson(NamedTuple):
    """Who learns what: the network, and what it is shown and told.

    Attributes:
        classifier: or the part of one behind the freeze boundary; what of it wants gradients is
            trained, in place.
        outputs: what its logits mean.
        loss_fn: of logits (B, count) and class indices (B,).
        to_input: of what the loaders give, what the network takes: of bytes (B, S, S) images
            (B, 1, S, S) in [0, 1]; activations stay as they are.
        augment: random changes of such training inputs.
        train: batches to learn from, drawn anew in each epoch.
        val: batches to choose the epoch by.
    """

    classifier: nn.Module
    outputs: Outputs
    loss_fn: LossFunction
    to_input: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    train: DataLoader[Batch]
    val: DataLoader[Batch]


class FitResult(NamedTuple):
    """Learning curves and the epoch kept.

    Attributes:
        epochs: columns epoch, split, loss, accuracy. Training figures are running means over the
            epoch's augmented batches, dropout on; validation figures are of its end.
        steps: columns step, epoch, split, loss; a step is one batch.
        kept_epoch: number of the epoch, from 0, whose weights the classifier now holds.
        drawn: training images of each class, by index, in the mean epoch.
    """

    epochs: pd.DataFrame
    steps: pd.DataFrame
    kept_epoch: int
    drawn: list[float]


def fit(lesson: Lesson, recipe: Recipe, *, seed: int, hardware: Hardware) -> FitResult:
    """Train, stop early, and leave the weights of the epoch to keep in the classifier, on the CPU.

    Args:
        lesson: what is learned.
        recipe: how.
        seed: of dropout; loaders and augmentation bring generators of their own.
        hardware: device and precision.

    Raises:
        UserError: the validation loss of the epoch to keep is not a number.
    """
    history = History(lesson.outputs)
    kept = KeptWeights(recipe)
    with _deterministic():
        loop = _Loop(lesson, recipe, hardware, history)
        torch.manual_seed(seed)
        for epoch in range(recipe.epochs):
            of_train = loop.train_epoch(epoch)
            of_val = loop.validate(epoch)
            logger.info(
                "epoch %d: train loss %.4f accuracy %.3f | val loss %.4f accuracy %.3f",
                epoch,
                *of_train,
                *of_val,
            )
            if kept.offer(epoch, round(of_val.loss, 6), loop.validated):
                break
    kept.require_convergence(history.steps())
    kept.restore(lesson.classifier.cpu())
    return FitResult(history.epochs(), history.steps(), kept.epoch, history.drawn())


class _Loop:
    """One training and one validation epoch; several devices would be Fabric's arguments."""

    _train: DataLoader[Batch]
    _val: DataLoader[Batch]

    def __init__(
        self, lesson: Lesson, recipe: Recipe, hardware: Hardware, history: History
    ) -> None:
        self._lesson = lesson
        self._history = history
        self._step = 0
        self._hardware = hardware
        # Its own mixed precision would round images to bf16 before they are scaled.
        self._fabric = Fabric(accelerator=hardware.device, devices=1, precision="32-true")
        classifier = lesson.classifier.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(classifier, recipe)
        self._schedule = build_schedule(optimizer, recipe, recipe.epochs * len(lesson.train))
        self._model, self._optimizer = self._fabric.setup(classifier, optimizer)
        self._train, self._val = self._fabric.setup_dataloaders(lesson.train, lesson.val)
        self._average = average_weights(classifier, recipe.ema) if recipe.ema else None
        # What is validated and kept.
        self.validated: nn.Module = self._average.module if self._average else classifier

    def train_epoch(self, epoch: int) -> EpochFigures:
        """Learn from every batch once; nothing in it waits for a GPU."""
        self._model.train()
        # No further: when torch's RandomSampler is asked for more than it has, it draws another
        # permutation, and the next epoch would have another order.
        for batch in islice(self._train, len(self._train)):
            self._step += 1
            # Outside of autocast, which would round the positions that pixels are taken from.
            inputs = self._lesson.augment(self._lesson.to_input(batch.images))
            with self._hardware.autocast():
                loss = self._judge(self._model, inputs, batch.targets)
            self._optimizer.zero_grad()
            self._fabric.backward(loss)
            self._optimizer.step()
            self._schedule.step()
            if self._average:
                self._average.update_parameters(self._lesson.classifier)
        return self._history.sum_up(epoch, "train")

    def validate(self, epoch: int) -> EpochFigures:
        """Judge every validation batch as it is."""
        self.validated.eval()
        with torch.inference_mode(), self._hardware.autocast():
            for batch in self._val:
                self._judge(self.validated, self._lesson.to_input(batch.images), batch.targets)
        return self._history.sum_up(epoch, "val")

    def _judge(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch, which goes down in the history."""
        # fp32 from the logits on: bf16 has too few digits for a log-softmax.
        logits = model(as_channels_last(inputs)).float()
        loss = self._lesson.loss_fn(logits, targets)
        self._history.note(self._step, loss, logits, targets)
        return loss


class KeptWeights:
    """A copy of the weights of the epoch to keep so far, in memory: writing VGG-16 takes seconds.

    What is frozen stays as it is and is not copied.

    Attributes:
        epoch: its number, from 0.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loss = self._best_loss = math.inf
        self._best_epoch = 0
        self.epoch = 0
        self._state: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float, model: nn.Module) -> bool:
        """Copy the weights if this epoch is the one to keep; whether training should stop.

        It stops when so many epochs in a row as the recipe's patience were not the best so far,
        or when the validation loss is no number.
        """
        is_best = loss < self._best_loss
        if is_best:
            self._best_loss, self._best_epoch = loss, epoch
        if is_best or self._recipe.keep == "last" or not self._state:
            self._loss, self.epoch = loss, epoch
            self._copy(model)
        return not math.isfinite(loss) or epoch - self._best_epoch >= self._recipe.patience

    def restore(self, model: nn.Module) -> None:
        """Put the copied weights back."""
        model.load_state_dict(self._state, strict=False)  # the frozen ones are not among them

    def _copy(self, model: nn.Module) -> None:
        frozen = tuple(f"{name}." for name, _ in frozen_modules(model))
        for name, tensor in model.state_dict().items():
            if name in self._state:
                self._state[name].copy_(tensor)
            elif not name.startswith(frozen):
                self._state[name] = tensor.detach().cpu().clone()

    def require_convergence(self, steps: pd.DataFrame) -> None:
        """Refuse an epoch to keep whose validation loss is no number.

        Args:
            steps: the losses of all batches, as `FitResult` has them.

        Raises:
            UserError: it is none.
        """
        if not math.isfinite(self._loss):
            what = f"the validation loss of epoch {self.epoch} is {self._loss}"
            raise diverged(what, self._recipe, steps)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Only kernels that give the same bits each time, or an error where there is none."""
    # cuBLAS reads this when it is first used (docs.nvidia.com/cuda/cublas, "Reproducibility").
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    memory = cast(Any, torch.utils.deterministic)  # a property that its stub does not tell of
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # With the switch torch also fills every new tensor with NaN, a fifth of a step's time, to
    # make alike what reads memory that nobody wrote; nothing here does.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled
