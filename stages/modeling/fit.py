"""Training: a Lightning module over a Classifier, the best or the last epoch kept."""

import logging
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.utils.data import DataLoader

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import Batch, to_unit_range
from stages.modeling.losses import LossFunction
from stages.modeling.outputs import Outputs

logger = logging.getLogger(__name__)
# What Lightning says at its start (devices, tips) buries the epochs; its warnings stay.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning 2.6 on torch 2.15
warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # memory-mapped
warnings.filterwarnings("ignore", message=".*module.s. in eval mode.*")  # frozen on purpose


class FitSettings(NamedTuple):
    """How to train; fields as in params.yaml."""

    optimizer: str
    lr: float
    weight_decay: float
    schedule: str
    epochs: int
    patience: int
    keep: str
    ema: float
    seed: int


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


class TrainingModule(L.LightningModule):
    """Steps, optimiser and schedule of one training."""

    def __init__(
        self,
        classifier: Classifier,
        loss_fn: LossFunction,
        outputs: Outputs,
        augment: Callable[[Tensor], Tensor],
        settings: FitSettings,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.loss_fn = loss_fn
        self.outputs = outputs
        self.augment = augment
        self.settings = settings

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss and hits of one augmented batch."""
        return self._step(self.augment(to_unit_range(batch.images)), batch.targets)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss and hits of one batch as it is."""
        result = self._step(to_unit_range(batch.images), batch.targets)
        self.log("val_loss", result["loss"], batch_size=len(batch.targets))
        return result

    def _step(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        # fp32 from the logits on: bf16 has too few digits for a log-softmax.
        logits = self.classifier(images.contiguous(memory_format=torch.channels_last)).float()
        decisions = self.outputs.probabilities(logits.detach()).argmax(dim=1)
        return {"loss": self.loss_fn(logits, targets), "correct": (decisions == targets).sum()}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimiser over the parameters that want gradients, and its schedule by step."""
        optimizer = build_optimizer(self.classifier, self.settings)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_schedule(optimizer, self.settings, steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def build_optimizer(classifier: Classifier, settings: FitSettings) -> Optimizer:
    """SGD with momentum 0.9, Adam or AdamW over the trainable parameters.

    Weight decay is for weights alone: pulling biases and norm scales to zero does not regularise.
    """
    trainable = [p for p in classifier.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.lr, momentum=0.9, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, settings.lr, fused=True)
    return torch.optim.AdamW(groups, settings.lr, fused=True)


def build_schedule(optimizer: Optimizer, settings: FitSettings, steps: int) -> LRScheduler:
    """The learning rate over all steps: constant, cosine to zero, or one cycle (Smith 2018)."""
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if settings.schedule == "onecycle":
        return OneCycleLR(optimizer, max_lr=settings.lr, total_steps=steps)
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


class History(Callback):
    """Records the loss of every batch and sums up each epoch."""

    def __init__(self, n_classes: int) -> None:
        self._batches: list[dict[str, Any]] = []
        self._drawn = torch.zeros(n_classes, dtype=torch.int64)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note a training batch."""
        self._drawn += torch.bincount(batch.targets.cpu(), minlength=len(self._drawn))
        self._note("train", trainer, outputs, batch)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note a validation batch."""
        self._note("val", trainer, outputs, batch)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Print the epoch; runs after its validation."""
        last = self.epochs().query("epoch == @trainer.current_epoch").set_index("split")
        logger.info(
            "epoch %d: train loss %.4f accuracy %.3f | val loss %.4f accuracy %.3f",
            trainer.current_epoch,
            *last.loc["train", ["loss", "accuracy"]],
            *last.loc["val", ["loss", "accuracy"]],
        )

    def _note(self, split: str, trainer: L.Trainer, outputs: Any, batch: Batch) -> None:
        self._batches.append(
            {
                "step": trainer.global_step,
                "epoch": trainer.current_epoch,
                "split": split,
                "loss": float(outputs["loss"]),
                "correct": int(outputs["correct"]),
                "images": len(batch.targets),
            }
        )

    def drawn(self) -> list[float]:
        """Training images of each class in the mean epoch."""
        epochs = 1 + max(batch["epoch"] for batch in self._batches)
        return [round(count / epochs, 2) for count in self._drawn.tolist()]

    def val_loss(self, epoch: int) -> float:
        """Mean validation loss of an epoch."""
        found = self.epochs().query("epoch == @epoch and split == 'val'")["loss"]
        return float(found.item())

    def steps(self) -> pd.DataFrame:
        """One row per batch."""
        return pd.DataFrame(self._batches)[["step", "epoch", "split", "loss"]].round(6)

    def epochs(self) -> pd.DataFrame:
        """One row per epoch and split; means weighted by images."""
        batches = pd.DataFrame(self._batches)
        batches["loss"] *= batches["images"]
        sums = batches.groupby(["epoch", "split"], as_index=False)[
            ["loss", "correct", "images"]
        ].sum(skipna=False)  # else a loss that is nan would stand as 0
        sums["loss"] /= sums["images"]
        sums["accuracy"] = sums["correct"] / sums["images"]
        return sums[["epoch", "split", "loss", "accuracy"]].round(6)


class KeptWeights(Callback):
    """Copies the weights of the epoch to keep, in memory: writing VGG-16 down takes seconds.

    It must stand before the averaging of weights in the list of callbacks, so that at the end of a
    validation it still sees the weights that were validated.
    """

    def __init__(self, history: History, keep: str) -> None:
        self._history = history
        self._keep = keep
        self._loss = math.inf
        self.epoch = 0
        self.state: Mapping[str, Tensor] = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Copy the weights if this epoch is the one to keep so far."""
        assert isinstance(module, TrainingModule)  # `fit` takes no other
        loss = self._history.val_loss(trainer.current_epoch)
        if self._keep == "last" or not self.state or loss < self._loss:
            self._loss, self.epoch = loss, trainer.current_epoch
            state = module.classifier.state_dict()
            self.state = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def fit(
    module: TrainingModule,
    train: DataLoader[Batch],
    val: DataLoader[Batch],
    *,
    hardware: Hardware,
) -> FitResult:
    """Train, stop early, and leave the weights of the epoch to keep in the module's classifier.

    Raises:
        UserError: the validation loss of the epoch to keep is not a number.
    """
    settings = module.settings
    history = History(len(module.outputs.class_names))
    kept = KeptWeights(history, settings.keep)
    trainer = L.Trainer(
        max_epochs=settings.epochs,
        accelerator=hardware.device,
        devices=1,
        precision="bf16-mixed" if hardware.precision == "bf16" else "32-true",
        callbacks=[
            history,
            kept,
            *([average_weights(settings.ema)] if settings.ema else []),
            EarlyStopping("val_loss", patience=settings.patience),
        ],
        deterministic=True,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),  # else History's line per epoch is enough
    )
    module.classifier.to(memory_format=torch.channels_last)
    torch.manual_seed(settings.seed)  # dropout
    trainer.fit(module, train, val)
    _require_convergence(history.val_loss(kept.epoch), kept.epoch, settings)
    module.cpu().classifier.load_state_dict(kept.state)
    return FitResult(history.epochs(), history.steps(), kept.epoch, history.drawn())


def average_weights(decay: float) -> WeightAveraging:
    """Exponential moving average of weights and BatchNorm statistics, validated and kept.

    Counters are copied: an average of integers is cut to the integer below.
    """

    def average(averages: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        for mean, value in zip(averages, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    return WeightAveraging(use_buffers=True, multi_avg_fn=torch.no_grad()(average))


def _require_convergence(loss: float, epoch: int, settings: FitSettings) -> None:
    """Early stopping ends at a loss that is no number; without a better epoch nothing is kept."""
    if not math.isfinite(loss):
        raise UserError(
            f"training diverged: the validation loss of epoch {epoch} is {loss}; "
            f"got lr {settings.lr:g} ({settings.optimizer}); try a smaller lr"
        )
