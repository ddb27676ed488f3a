"""Training: a Lightning module over a Classifier, the best epoch by validation loss."""

import logging
import math
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
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


class FitSettings(NamedTuple):
    """How to train; fields as in params.yaml."""

    optimizer: str
    lr: float
    weight_decay: float
    schedule: str
    epochs: int
    patience: int
    seed: int


class FitResult(NamedTuple):
    """Learning curves and the epoch kept.

    Attributes:
        epochs: columns epoch, split, loss, accuracy. Training figures are running means over the
            epoch's augmented batches, dropout on; validation figures are of its end.
        steps: columns step, epoch, split, loss; a step is one batch.
        best_epoch: number of the epoch, from 0, whose weights the classifier now holds.
    """

    epochs: pd.DataFrame
    steps: pd.DataFrame
    best_epoch: int


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
    """SGD with momentum 0.9, Adam or AdamW over the trainable parameters."""
    parameters = [p for p in classifier.parameters() if p.requires_grad]
    lr, weight_decay = settings.lr, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=weight_decay, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=True)
    return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)


def build_schedule(optimizer: Optimizer, settings: FitSettings, steps: int) -> LRScheduler:
    """The learning rate over all steps: constant, cosine to zero, or one cycle (Smith 2018)."""
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if settings.schedule == "onecycle":
        return OneCycleLR(optimizer, max_lr=settings.lr, total_steps=steps)
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


class History(Callback):
    """Records the loss of every batch and sums up each epoch."""

    def __init__(self) -> None:
        self._batches: list[dict[str, Any]] = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note a training batch."""
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


def fit(
    module: TrainingModule,
    train: DataLoader[Batch],
    val: DataLoader[Batch],
    *,
    hardware: Hardware,
    scratch: Path,
) -> FitResult:
    """Train, stop early, and leave the weights of the best epoch in the module's classifier.

    Raises:
        UserError: not one epoch has a validation loss that is a number.
    """
    history = History()
    best = ModelCheckpoint(scratch, monitor="val_loss", mode="min", save_weights_only=True)
    trainer = L.Trainer(
        max_epochs=module.settings.epochs,
        accelerator=hardware.device,
        devices=1,
        precision="bf16-mixed" if hardware.precision == "bf16" else "32-true",
        callbacks=[history, best, EarlyStopping("val_loss", patience=module.settings.patience)],
        deterministic=True,
        logger=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),  # else History's line per epoch is enough
    )
    module.classifier.to(memory_format=torch.channels_last)
    torch.manual_seed(module.settings.seed)  # dropout
    trainer.fit(module, train, val)
    checkpoint = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    module.cpu().load_state_dict(checkpoint["state_dict"])
    shutil.rmtree(scratch)
    result = FitResult(history.epochs(), history.steps(), best_epoch=int(checkpoint["epoch"]))
    _require_convergence(result, module.settings)
    return result


def _require_convergence(result: FitResult, settings: FitSettings) -> None:
    """Early stopping ends at the first loss that is no number, so only the first can be kept."""
    kept = result.epochs.query("epoch == @result.best_epoch and split == 'val'")["loss"].item()
    if not math.isfinite(kept):
        raise UserError(
            f"training diverged: the validation loss of the first epoch is {kept}; "
            f"got lr {settings.lr:g} ({settings.optimizer}); try a smaller lr"
        )
