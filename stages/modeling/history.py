"""Learning curves: the loss of every batch, summed up by epoch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from stages.modeling.outputs import Outputs

STEP_COLUMNS = ["step", "epoch", "split", "loss"]
EPOCH_COLUMNS = ["epoch", "split", "loss", "accuracy"]


class EpochFigures(NamedTuple):
    """Means of an epoch's batches, weighted by images."""

    loss: float
    accuracy: float


class _Batch(NamedTuple):
    """What is left of a batch until the end of its epoch: reading it would wait for a GPU."""

    step: int
    loss: Tensor
    logits: Tensor
    targets: Tensor


class History:
    """Records batches; figures are made of them once, when their epoch is summed up."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._open: list[_Batch] = []
        self._steps: list[tuple[int, int, str, float]] = []
        self._epochs: list[tuple[int, str, float, float]] = []
        self._drawn = torch.zeros(len(outputs.class_names), dtype=torch.int64)

    def note(self, step: int, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Record a batch of the epoch that goes on.

        Args:
            step: optimiser steps taken so far, the one on this batch included.
            loss: mean over the batch, a scalar.
            logits: (B, count) of the batch.
            targets: (B,) class indices.
        """
        self._open.append(_Batch(step, loss.detach(), logits.detach(), targets))

    def sum_up(self, epoch: int, split: str) -> EpochFigures:
        """Close an epoch of a split, train or val; its figures."""
        steps, losses, logits, targets = zip(*self._open, strict=True)
        self._open = []
        of_batches = torch.stack(losses).tolist()
        truth, said = torch.cat(targets), self._outputs.probabilities(torch.cat(logits))
        weights = [len(batch) for batch in targets]
        total = sum(loss * weight for loss, weight in zip(of_batches, weights, strict=True))
        right = int((said.argmax(dim=1) == truth).sum())
        figures = EpochFigures(total / len(truth), right / len(truth))
        for step, loss in zip(steps, of_batches, strict=True):
            self._steps.append((step, epoch, split, loss))
        self._epochs.append((epoch, split, *figures))
        if split == "train":
            self._drawn += torch.bincount(truth.cpu(), minlength=len(self._drawn))
        return figures

    def drawn(self) -> list[float]:
        """Training images of each class in the mean epoch."""
        epochs = sum(split == "train" for _, split, *_ in self._epochs)
        return [round(count / epochs, 2) for count in self._drawn.tolist()]

    def state(self) -> dict[str, Any]:
        """All that the finished epochs left, for a file; not what is open."""
        return {"steps": self._steps, "epochs": self._epochs, "drawn": self._drawn}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._steps, self._epochs = list(state["steps"]), list(state["epochs"])
        self._drawn = state["drawn"]

    def steps(self) -> pd.DataFrame:
        """One row per batch: step, epoch, split, loss."""
        return pd.DataFrame(self._steps, columns=STEP_COLUMNS).round(6)

    def epochs(self) -> pd.DataFrame:
        """One row per epoch and split: epoch, split, loss, accuracy."""
        return pd.DataFrame(self._epochs, columns=EPOCH_COLUMNS).round(6)
