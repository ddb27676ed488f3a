"""The product's side of a training benchmark: `train_run`, as the stage `train` calls it."""

import logging
from pathlib import Path
from typing import NamedTuple

from stages.config.load import load_params
from stages.config.params import BinaryCrossEntropy, CrossEntropy, Recipe
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run
from stages.modeling.checkpoint import save_model
from stages.modeling.classifier import BACKBONE
from stages.modeling.compute import choose_hardware, keep_freed_memory
from stages.modeling.initial import random_weights
from stages.modeling.training import Plan, TrainedRun, train_run
from tests.benchmarks.measure import Cost, Stopwatch


class Training(NamedTuple):
    """What is trained, in the words of a case; the rest is that of the first case in params.yaml.

    Attributes:
        model: cnn3 or a timm architecture.
        train: all, head or last:<n>.
        head: widths of the hidden layers.
        dropout: before each Linear of the head.
        recipe: how.
        one_logit: binary cross-entropy and a weighted sampler, else plain cross-entropy.
    """

    model: str
    train: str
    head: list[int]
    dropout: float
    recipe: Recipe
    one_logit: bool = False


class Trained(NamedTuple):
    """What a training gave, and what it cost.

    Attributes:
        run: the network and its facts.
        whole: from the initial weights to the trained network.
        later_epochs: all epochs but the first, which is also a warm-up; None of a single epoch.
    """

    run: TrainedRun
    whole: Cost
    later_epochs: Cost | None

    @property
    def parameters(self) -> int:
        """Number of scalars of the network."""
        return sum(tensor.numel() for tensor in self.run.classifier.parameters())


class _EpochClock(logging.Handler):
    """Reads a stopwatch whenever the loop reports an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Stopwatch()
        self.costs: list[Cost] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was spent up to the end of an epoch."""
        if record.getMessage().startswith("epoch "):
            self.costs.append(self.watch.cost())


def train_product(view: ImageSet, run: Run, training: Training, *, scratch: Path) -> Trained:
    """Train on the CPU with the project's augmentation and precision, from random weights."""
    keep_freed_memory()
    params = load_params()
    case = next(iter(params.cases.values())).model_copy(update=_case_of(training))
    plan = Plan(case, training.recipe, params.augmentation("light"), params.protocol("once"))
    hardware = choose_hardware(params.compute.model_copy(update={"accelerator": "cpu"}))
    initial = save_random_weights(training.model, scratch / "initial")
    clock = _EpochClock()
    loop_logger = logging.getLogger("stages.modeling.fit")
    loop_logger.setLevel(logging.INFO)
    loop_logger.addHandler(clock)
    trained = train_run(
        plan, view, run, initial=initial, hardware=hardware, scratch=scratch / "run"
    )
    whole = clock.watch.cost()
    if len(clock.costs) != training.recipe.epochs:
        raise RuntimeError(f"{len(clock.costs)} epochs reported of {training.recipe.epochs}")
    return Trained(trained, whole, _later_epochs(clock.costs))


def _later_epochs(costs: list[Cost]) -> Cost | None:
    first, *_, last = costs[0], costs[-1]
    if len(costs) == 1:
        return None
    return Cost(last.seconds - first.seconds, last.cpu_seconds - first.cpu_seconds, last.peak_mib)


def save_random_weights(model: str, folder: Path) -> Path:
    """Write random initial weights as the stage `weights` does; gives their folder."""
    initial = random_weights(model, seed=0)
    state = {f"{BACKBONE}{name}": tensor for name, tensor in initial.backbone.state_dict().items()}
    save_model(folder, state, {"model": model, "mean": initial.mean, "std": initial.std})
    return folder


def _case_of(training: Training) -> dict[str, object]:
    loss = (
        BinaryCrossEntropy(kind="bce", label_smoothing=0.0)
        if training.one_logit
        else CrossEntropy(kind="ce", label_smoothing=0.0)
    )
    return {
        "model": training.model,
        "weights": "random",
        "train": training.train,
        "head": training.head,
        "dropout": training.dropout,
        "loss": loss,
        "sampler": "weighted" if training.one_logit else "none",
    }
