"""The weights of the epoch to keep, and whether there is hope of a better one."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import Tensor, nn

from stages.config.params import Recipe
from stages.modeling.classifier import frozen_modules
from stages.modeling.convergence import diverged
from stages.modeling.history import EpochFigures


class KeptWeights:
    """A copy of the weights of the epoch to keep so far, in memory: writing VGG-16 takes seconds.

    What is frozen stays as it is and is not copied.

    Attributes:
        epoch: its number, from 0.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loss = self._least_cost = math.inf
        self._best_epoch = 0
        self.epoch = 0
        self._state: dict[str, Tensor] = {}

    def offer(self, epoch: int, of_val: EpochFigures, model: nn.Module) -> bool:
        """Copy the weights if this epoch is the one to keep; whether training should stop.

        It stops when so many epochs in a row as the recipe's patience were not the best so far,
        or when the validation loss is no number. Of equally good epochs the first is the best. An
        epoch that trained the head alone is none to keep: it is not of what the case says that
        trains.
        """
        loss = round(of_val.loss, 6)
        if epoch < self._recipe.head_epochs and math.isfinite(loss):
            return False
        by_accuracy = self._recipe.keep == "best_accuracy"
        cost = -round(of_val.accuracy, 6) if by_accuracy else loss
        is_best = math.isfinite(loss) and cost < self._least_cost
        if is_best:
            self._least_cost, self._best_epoch = cost, epoch
        if is_best or self._recipe.keep == "last" or not self._state:
            self._loss, self.epoch = loss, epoch
            self._copy(model)
        return not math.isfinite(loss) or epoch - self._best_epoch >= self._recipe.patience

    def restore(self, model: nn.Module) -> None:
        """Put the copied weights back."""
        model.load_state_dict(self._state, strict=False)  # the frozen ones are not among them

    def state(self) -> dict[str, Any]:
        """All that is known of the epochs so far, for a file, by reference."""
        return {
            "losses": (self._loss, self._least_cost),
            "epochs": (self.epoch, self._best_epoch),
            "weights": self._state,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._loss, self._least_cost = state["losses"]
        self.epoch, self._best_epoch = state["epochs"]
        self._state = state["weights"]

    def _copy(self, model: nn.Module) -> None:
        for name, tensor in unfrozen_state(model).items():
            if name in self._state:
                self._state[name].copy_(tensor)
            else:
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


def unfrozen_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without what frozen modules hold, by reference."""
    frozen = tuple(f"{name}." for name, _ in frozen_modules(model))
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(frozen)}
