"""Trainings that end in numbers that are none: what is refused, and what is advised."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
from torch import nn

from stages.config.errors import UserError
from stages.config.params import Recipe


@contextmanager
def naming_recipe(name: str) -> Iterator[None]:
    """Put the entry of `recipes` that a training follows before what is said of it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"recipes.{name}: {error}") from None


def diverged(what: str, recipe: Recipe, steps: pd.DataFrame) -> UserError:
    """The error of a training that diverged.

    Args:
        what: is no number.
        recipe: of the training.
        steps: the losses of all batches, as `FitResult` has them.
    """
    losses = steps.loc[steps["split"] == "train", ["step", "loss"]]
    broken = losses[~losses["loss"].map(math.isfinite)]
    rate = f"got lr {recipe.lr:g} ({recipe.optimizer}, {recipe.schedule})"
    if len(broken) and broken["step"].iloc[0] == losses["step"].min():
        return UserError(
            f"training diverged: {what}; the loss of the first batch was none either, before any "
            f"step, so it is not the learning rate ({rate}); give other initial weights, or their "
            "own scaling (mean and std)"
        )
    since = f", since step {broken['step'].iloc[0]}" if len(broken) else ""
    return UserError(f"training diverged: {what}{since}; {rate}; try a smaller lr")


def ended_in_divergence(epochs: pd.DataFrame) -> bool:
    """Whether the last epoch, not the one kept, had a validation loss that is no number."""
    losses = epochs.loc[epochs["split"] == "val", "loss"]
    return not math.isfinite(losses.iloc[-1])


def require_finite_weights(network: nn.Module, recipe: Recipe, steps: pd.DataFrame) -> None:
    """Refuse weights and statistics that are no numbers, whatever the loss says.

    Raises:
        UserError: a tensor is not finite; the first is named.
    """
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise diverged(f"{name} holds NaN or infinity", recipe, steps)
