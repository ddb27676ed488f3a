"""Training: epochs of a Classifier, each validated, the best or the last of them kept.

The loop is here to be read; Lightning Fabric brings networks, batches and gradients to devices.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages.config.params import Recipe
from stages.config.progress import progress
from stages.modeling.augment import Augmenter, Mixed, Mixup
from stages.modeling.compute import Hardware, describe_device
from stages.modeling.data import EVAL_BATCH_SIZE, Batch, as_channels_last, order_generator
from stages.modeling.depthwise import fast_depthwise
from stages.modeling.distributed import Team
from stages.modeling.freeze import head_alone
from stages.modeling.history import EpochFigures, History
from stages.modeling.kept import KeptWeights, unfrozen_state
from stages.modeling.losses import LossFunction
from stages.modeling.optimizer import (
    average_weights,
    build_optimizer,
    build_schedule,
    phase_steps,
)
from stages.modeling.outputs import Outputs
from stages.modeling.resume import Checkpoints

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
        depths: how many blocks behind the head a parameter is, by name, for `layer_decay`.
    """

    classifier: nn.Module
    outputs: Outputs
    loss_fn: LossFunction
    to_input: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    train: DataLoader[Batch]
    val: DataLoader[Batch]
    depths: Mapping[str, int]


class FitResult(NamedTuple):
    """Learning curves and the epoch kept.

    Attributes:
        epochs: columns epoch, split, loss, accuracy. Training figures are running means over the
            epoch's augmented batches, dropout on; where these are mixed, an image is of the class
            that there is more of; validation figures are of its end.
        steps: columns step, epoch, split, loss; a step is one batch.
        kept_epoch: number of the epoch, from 0, whose weights the classifier now holds.
        drawn: training images of each class, by index, in the mean epoch.
    """

    epochs: pd.DataFrame
    steps: pd.DataFrame
    kept_epoch: int
    drawn: list[float]


def fit(
    lesson: Lesson,
    recipe: Recipe,
    *,
    seed: int,
    hardware: Hardware,
    checkpoints: Checkpoints | None = None,
    team: Team | None = None,
) -> FitResult:
    """Train, stop early, and leave the weights of the epoch to keep in the classifier, on the CPU.

    The recipe's `head_epochs` first epochs train the head alone: linear probing, then fine-tuning
    (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution"). A training that was killed goes on from its last checkpoint and gives the
    same bits.

    Args:
        lesson: what is learned.
        recipe: how.
        seed: of dropout and mixup; loaders and augmentation bring generators of their own.
        hardware: device and precision.
        checkpoints: where the ends of epochs are written; None writes nothing.
        team: the processes that share the batches; None: this one alone.

    Raises:
        UserError: the validation loss of the epoch to keep is not a number, or there are fewer
            images than processes.
    """
    team = team or Team.of_one(hardware)
    history = History(lesson.outputs)
    kept = KeptWeights(recipe)
    with _deterministic():
        loop = _Loop(lesson, recipe, hardware, history, seed, team)
        torch.manual_seed(team.own_seed(seed))
        course = _Course(loop, kept, history, checkpoints, team)
        epochs = range(course.start(lesson, recipe, hardware), recipe.epochs)
        for epoch in progress(epochs, "epochs", len(epochs)):
            of_train = loop.train_epoch(epoch)
            of_val = team.told_by_first(loop.validate(epoch))  # or roundings could divide them
            logger.info(
                "epoch %d: train loss %.4f accuracy %.3f | val loss %.4f accuracy %.3f",
                epoch,
                *of_train,
                *of_val,
            )
            stops = kept.offer(epoch, of_val, loop.validated)
            course.note(epoch, is_last=stops or epoch + 1 == recipe.epochs)
            if stops:
                break
    kept.require_convergence(history.steps())
    kept.restore(lesson.classifier.cpu())
    return FitResult(history.epochs(), history.steps(), kept.epoch, history.drawn())


def log_start(who: str, n_images: Mapping[str, int], recipe: Recipe, hardware: Hardware) -> None:
    """Say which network will be trained, on how many images of each split, how long and where."""
    counts = ", ".join(f"{count} {split}" for split, count in n_images.items())
    shared = f" shared by {recipe.processes} processes" if recipe.processes > 1 else ""
    logger.info(
        "%s: %s images; at most %d epochs, in batches of %d%s; %s, %s",
        *(who, counts, recipe.epochs, recipe.batch_size, shared),
        *(describe_device(hardware.device), hardware.precision),
    )


class _Loop:
    """One training and one validation epoch, of this process's share of every batch."""

    _train: DataLoader[Batch]
    _val: DataLoader[Batch]

    def __init__(
        self,
        lesson: Lesson,
        recipe: Recipe,
        hardware: Hardware,
        history: History,
        seed: int,
        team: Team,
    ) -> None:
        self._lesson = lesson
        self._history = history
        self._step = 0
        self._hardware = hardware
        self._team = team
        team.require_share(lesson.train)
        classifier = lesson.classifier.to(memory_format=torch.channels_last)
        of_head, of_all = phase_steps(recipe, recipe.epochs * len(lesson.train))
        self._head_epochs = recipe.head_epochs
        self._head_descent = None  # of the epochs that train the head alone, until they are over
        if of_head:
            with head_alone(classifier):
                self._head_descent = _Descent(team.fabric, lesson, recipe, of_head)
        self._descent = _Descent(team.fabric, lesson, recipe, of_all)
        self._train, self._val = team.setup_loaders(lesson.train, lesson.val)
        self._mixup = None
        if recipe.mixup:
            self._mixup = Mixup(recipe.mixup, torch.Generator().manual_seed(seed))
        self._average = average_weights(classifier, recipe.ema) if recipe.ema else None
        # What is validated and kept.
        self.validated: nn.Module = self._average.module if self._average else classifier

    def train_epoch(self, epoch: int) -> EpochFigures:
        """Learn from every batch once: the head alone, or all that is to train."""
        if epoch < self._head_epochs:
            assert self._head_descent
            with head_alone(self._lesson.classifier):
                self._learn(self._head_descent, epoch)
        else:
            self._head_descent = None
            self._learn(self._descent, epoch)
        return self._history.sum_up(epoch, "train")

    def _learn(self, descent: "_Descent", epoch: int) -> None:
        """Take a step by each batch; nothing in it waits for a GPU."""
        descent.model.train()
        with fast_depthwise(descent.model, self._hardware):
            # No further: when torch's RandomSampler is asked for more than it has, it draws another
            # permutation, and the next epoch would have another order.
            batches = islice(self._train, len(self._train))
            for batch in progress(batches, f"epoch {epoch}: training", len(self._train)):
                self._take_step(batch, descent)

    def _take_step(self, batch: Batch, descent: "_Descent") -> None:
        self._step += 1
        # Outside of autocast, which would round the positions that pixels are taken from.
        inputs = self._lesson.augment(self._lesson.to_input(batch.images))
        mixed = self._mixup(inputs) if self._mixup else None
        with self._hardware.autocast():
            loss = self._judge(descent.model, inputs, batch.targets, mixed)
        descent.optimizer.zero_grad()
        self._team.backward(loss)
        descent.step()
        if self._average:
            self._average.update_parameters(self._lesson.classifier)

    def validate(self, epoch: int) -> EpochFigures:
        """Judge every validation batch as it is."""
        self.validated.eval()
        with torch.inference_mode(), self._hardware.autocast():
            for batch in progress(self._val, f"epoch {epoch}: validating", len(self._val)):
                self._judge(self.validated, self._lesson.to_input(batch.images), batch.targets)
        return self._history.sum_up(epoch, "val")

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, by reference; what is frozen is left out."""
        average = self._average
        return {
            "step": self._step,
            "weights": unfrozen_state(self._lesson.classifier),
            "average": unfrozen_state(average.module) if average else {},
            "n_averaged": average.n_averaged if average else None,
            "head_descent": self._head_descent.state() if self._head_descent else None,
            "descent": self._descent.state(),
            "drawn": [generator.get_state() for generator in self._generators()],
            "drawn_cpu": self._team.of_all(torch.get_rng_state()),
            "drawn_gpu": self._team.of_all(
                torch.cuda.get_rng_state() if self._hardware.device == "cuda" else None
            ),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._step = state["step"]
        self._lesson.classifier.load_state_dict(state["weights"], strict=False)
        if self._average:
            self._average.module.load_state_dict(state["average"], strict=False)
            self._average.n_averaged.copy_(state["n_averaged"])
        if self._head_descent and state["head_descent"]:
            self._head_descent.load(state["head_descent"])
        self._descent.load(state["descent"])
        for generator, drawn in zip(self._generators(), state["drawn"], strict=True):
            generator.set_state(drawn)
        torch.set_rng_state(state["drawn_cpu"][self._team.rank])
        if (drawn_gpu := state["drawn_gpu"][self._team.rank]) is not None:
            torch.cuda.set_rng_state(drawn_gpu)

    def _generators(self) -> list[torch.Generator]:
        """Of the order of the images and, where they are augmented and mixed, of that."""
        drawing = (self._lesson.augment, self._mixup)
        drawn = [d.generator for d in drawing if isinstance(d, Augmenter | Mixup)]
        return [order_generator(self._lesson.train), *drawn]

    def _judge(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, mixed: Mixed | None = None
    ) -> Tensor:
        """Mean loss of a batch, as it is or mixed, which goes down in the history."""
        # fp32 from the logits on: bf16 has too few digits for a log-softmax.
        images = as_channels_last(mixed.images if mixed else inputs)
        logits = self._team.apply(model, images).float()
        loss = self._lesson.loss_fn(logits, targets)
        if mixed:  # of plain cross-entropy the loss of mixed labels
            of_partners = self._lesson.loss_fn(logits, targets[mixed.partners])
            loss = mixed.share * loss + (1 - mixed.share) * of_partners
        self._history.note(self._step, loss, logits, targets)
        return loss


class _Descent:
    """An optimiser of what trains now, and its learning rates over so many steps.

    Attributes:
        model: the classifier as Fabric wraps it, to add up the gradients of what trains now.
        optimizer: as Fabric wraps it.
    """

    def __init__(self, fabric: Fabric, lesson: Lesson, recipe: Recipe, steps: int) -> None:
        self.model = fabric.setup_module(lesson.classifier)
        self._plain = build_optimizer(lesson.classifier, recipe, lesson.depths)
        self._schedule = build_schedule(self._plain, recipe, steps)
        # Shows and moves the state of the plain one.
        self.optimizer = cast(_FabricOptimizer, fabric.setup_optimizers(self._plain))

    def step(self) -> None:
        """Move the weights by their gradients, and on to the next learning rate."""
        self.optimizer.step()
        self._schedule.step()

    def state(self) -> dict[str, Any]:
        """By reference."""
        return {"optimizer": self._plain.state_dict(), "schedule": self._schedule.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._plain.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class _Course:
    """A training with its checkpoints, or without any."""

    def __init__(
        self,
        loop: _Loop,
        kept: KeptWeights,
        history: History,
        checkpoints: Checkpoints | None,
        team: Team,
    ) -> None:
        self._loop, self._kept, self._history = loop, kept, history
        self._checkpoints = checkpoints
        self._team = team

    def start(self, lesson: Lesson, recipe: Recipe, hardware: Hardware) -> int:
        """The epoch to begin with; all is put to where its predecessor left it."""
        if not self._checkpoints:
            return 0
        begin = chain([recipe, self._loop.state()], _named(lesson.classifier), _images(lesson))
        is_first = self._team.is_first
        state = self._team.told_by_first(
            self._checkpoints.open(begin, hardware) if is_first else None
        )
        if state is None:
            return 0
        self._kept.load(state["kept"])
        self._history.load(state["history"])
        if state["loop"] is None:  # there are no more epochs
            return recipe.epochs
        self._loop.load(state["loop"])
        return int(state["epoch"]) + 1

    def note(self, epoch: int, *, is_last: bool) -> None:
        """Offer the end of an epoch to the checkpoints."""
        if self._checkpoints:
            state = {
                "epoch": epoch,
                "loop": None if is_last else self._loop.state(),
                "kept": self._kept.state(),
                "history": self._history.state(),
            }
            if self._team.is_first:
                self._checkpoints.offer(epoch, state, is_last=is_last)


def _named(network: nn.Module) -> Iterator[object]:
    """Every parameter and buffer of a network, frozen ones too, and whether it trains."""
    for name, tensor in chain(network.named_parameters(), network.named_buffers()):
        yield name, tensor.requires_grad, tensor


def _images(lesson: Lesson) -> Iterator[Batch]:
    """What a training learns from and is judged by, in the order of the rows.

    Not through the loaders, which would draw a random number.
    """
    for loader in (lesson.train, lesson.val):
        rows: Any = loader.dataset
        for start in range(0, len(rows), EVAL_BATCH_SIZE):
            yield rows[list(range(start, min(start + EVAL_BATCH_SIZE, len(rows))))]


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
