"""Learning curves: the loss of every batch, summed up by epoch."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor


class History:
    """Records batches; an epoch's figures are means weighted by images."""

    def __init__(self, n_classes: int) -> None:
        self._batches: list[dict[str, Any]] = []
        self._drawn = torch.zeros(n_classes, dtype=torch.int64)

    def note(
        self, split: str, *, epoch: int, step: int, loss: Tensor, correct: Tensor, targets: Tensor
    ) -> None:
        """Record a batch.

        Args:
            split: train or val.
            epoch: number, from 0.
            step: optimiser steps taken so far, the one on this batch included.
            loss: mean over the batch, a scalar.
            correct: images decided rightly, a scalar.
            targets: (B,) class indices.
        """
        if split == "train":
            self._drawn += torch.bincount(targets.cpu(), minlength=len(self._drawn))
        self._batches.append(
            {
                "step": step,
                "epoch": epoch,
                "split": split,
                "loss": float(loss),
                "correct": int(correct),
                "images": len(targets),
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
        """One row per batch: step, epoch, split, loss."""
        return pd.DataFrame(self._batches)[["step", "epoch", "split", "loss"]].round(6)

    def epochs(self) -> pd.DataFrame:
        """One row per epoch and split: epoch, split, loss, accuracy."""
        batches = pd.DataFrame(self._batches)
        batches["loss"] *= batches["images"]
        sums = batches.groupby(["epoch", "split"], as_index=False)[
            ["loss", "correct", "images"]
        ].sum(skipna=False)  # else a loss that is nan would stand as 0
        sums["loss"] /= sums["images"]
        sums["accuracy"] = sums["correct"] / sums["images"]
        return sums[["epoch", "split", "loss", "accuracy"]].round(6)
