"""Trainings shared by so many processes: `python -m tests.modeling.shared_training 2 <folder>`.

Each process writes what it says of each training, and which images its network saw.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages.config.errors import UserError
from stages.config.params import (
    Augmentation,
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    Recipe,
    WeightedCrossEntropy,
)
from stages.modeling.augment import Augmenter
from stages.modeling.blocks import block_depths
from stages.modeling.classifier import build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import Batch, ImageRows, Rows, ordered_loader, to_unit_range, train_loader
from stages.modeling.distributed import Team
from stages.modeling.fit import FitResult, Lesson, fit
from stages.modeling.freeze import freeze
from stages.modeling.inputs import Inputs, behind_boundary
from stages.modeling.launch import launch
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from tests.modeling.recipes import recipe_with

FP32, BF16 = Hardware("cpu", "fp32"), Hardware("cpu", "bf16")
N_TRAIN, N_VAL = 14, 11
LIVELY = Augmentation(
    flip=0.5,
    flip_vertical=0,
    crop_area=0.8,
    rotate_deg=10,
    scale=0,
    shift=0,
    brightness=0.1,
    contrast=0.1,
    noise=0.1,
)
CE = CrossEntropy(kind="ce", label_smoothing=0.1)


class Setting(NamedTuple):
    """What is trained, and how, apart from the usual."""

    model: str = "test_resnet"
    loss: Loss = CE
    train: str = "all"
    sampler: str = "none"
    hardware: Hardware = FP32
    val_batch: int = 5
    size_px: int = 32
    changes: dict[str, object] = {}  # noqa: RUF012
    has_idle: bool = False


# Batches of 5 images are 2 and 3 for two processes; the last one of validation is a single image.
SETTINGS = {
    "no batch normalisation": Setting("cnn3", size_px=80),
    "transformer": Setting("test_vit"),
    "batch normalisation": Setting(),
    "batch normalisation and activation in one": Setting("test_efficientnet"),
    "weights normalised as batches are": Setting("test_nfnet"),
    "weighted loss": Setting(loss=WeightedCrossEntropy(kind="weighted_ce", label_smoothing=0.0)),
    "one logit": Setting(loss=BinaryCrossEntropy(kind="bce", label_smoothing=0.0)),
    "mixed and averaged": Setting(changes={"mixup": 0.4, "ema": 0.5}),
    "drawn with weights": Setting(sampler="weighted"),
    "the head first": Setting(train="last:2", changes={"head_epochs": 1}),
    "activations kept": Setting(train="last:1", changes={"cache_views": 2}),
    "batches smaller than asked for": Setting(changes={"batch_size": 64}),
    "a parameter that is not used": Setting(
        changes={"strategy": "ddp_find_unused_parameters_true"}, has_idle=True
    ),
    "bf16": Setting(hardware=BF16),
    "stopped early": Setting(changes={"epochs": 6, "patience": 1, "keep": "best_accuracy"}),
}


class Trained(NamedTuple):
    """What a process says of a training, and the weights at its end."""

    result: FitResult
    state: dict[str, Tensor]


def recipe_of(setting: Setting, processes: int) -> Recipe:
    usual = {"optimizer": "sgd", "lr": 0.02, "batch_size": 5, "epochs": 3, "patience": 3}
    return recipe_with(**usual | {"keep": "last", "devices": processes} | setting.changes)


def train(setting: Setting, team: Team, scratch: Path) -> Trained:
    recipe = recipe_of(setting, team.size)
    torch.manual_seed(0)  # of the weights
    one_logit = setting.loss.kind == "bce"
    outputs = Outputs(("a", "b"), positive=0, one_logit=one_logit, implies={})
    classifier = build_classifier(
        setting.model,
        size=setting.size_px,
        head=[8],
        outputs=outputs.count,
        dropout=0.0,
        mean=0.5,
        std=0.25,
    )
    if setting.has_idle:
        classifier.register_parameter("idle", nn.Parameter(torch.ones(3)))
    freeze(classifier, setting.train)
    rows, val = pictures(setting.size_px)
    augment = Augmenter(LIVELY, torch.Generator().manual_seed(0))
    inputs = Inputs(classifier, to_unit_range, augment, rows, val)
    if recipe.cache_views:
        inputs = behind_boundary(
            inputs,
            classifier,
            views=recipe.cache_views,
            hardware=setting.hardware,
            scratch=scratch,
            team=team,
        )
    lesson = Lesson(
        inputs.network,
        outputs,
        build_loss(setting.loss, outputs, [5, 9]),
        inputs.to_input,
        inputs.augment,
        train_loader(
            inputs.train,
            batch_size=recipe.batch_size,
            sampler=setting.sampler,
            seed=0,
            views=max(1, recipe.cache_views),
        ),
        ordered_loader(inputs.val, batch_size=setting.val_batch),
        block_depths(classifier),
    )
    result = fit(lesson, recipe, seed=1, hardware=setting.hardware, team=team)
    return Trained(result, classifier.state_dict())


def pictures(size_px: int) -> tuple[Rows, Rows]:
    """Noise, dark in class 0 and bright in class 1, of which there is more."""
    count = N_TRAIN + N_VAL
    noise = np.random.default_rng(0).integers(0, 156, (count, size_px, size_px), dtype=np.uint8)
    targets = (np.arange(count) % 3 > 0).astype(np.int64)
    images = noise + (60 * targets).astype(np.uint8)[:, None, None]
    rows = np.arange(count)
    return (
        ImageRows(images, targets, rows[:N_TRAIN]),
        ImageRows(images, targets, rows[N_TRAIN:]),
    )


def seen(team: Team) -> dict[str, list[int]]:
    """Numbers of the images that go through the network here, in training and in validation."""
    numbered = np.arange(14, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    rows = ImageRows(numbered, np.arange(14) % 2, np.arange(14))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    numbers: dict[str, list[int]] = {"train": [], "val": []}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        split = "train" if module.training else "val"
        numbers[split] += (inputs[0][:, 0, 0, 0] * 255).round().int().tolist()

    network.register_forward_pre_hook(note)
    outputs = Outputs(("a", "b"), positive=0, one_logit=False, implies={})
    lesson = Lesson(
        network,
        outputs,
        build_loss(CE, outputs, []),
        to_unit_range,
        lambda images: images,
        train_loader(rows, batch_size=7, sampler="none", seed=0),
        ordered_loader(rows, batch_size=5),
        {},
    )
    recipe = recipe_with(epochs=1, batch_size=7, optimizer="sgd")
    fit(lesson, recipe, seed=0, hardware=FP32, team=team)
    return numbers


def loader_of(count: int) -> DataLoader[Batch]:
    images = np.zeros((count, 8, 8), np.uint8)
    rows = ImageRows(images, np.zeros(count, np.int64), np.arange(count))
    return ordered_loader(rows, batch_size=2)


def refusal(work: Callable[[], object]) -> str:
    """The words of the error that some work ends in."""
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def main() -> None:
    processes, folder = int(sys.argv[1]), Path(sys.argv[2])
    said: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        # In the second one the processes are there.
        team = Team(launch(recipe_of(setting, processes), setting.hardware, "a-case"))
        trained = train(setting, team, folder)
        torch.save(trained.state, folder / f"{name}-{team.rank}.pt")
        said[name] = trained.result.epochs.to_dict("list")
    said["seen"] = seen(team)
    said["too few"] = refusal(lambda: team.require_share(loader_of(processes - 1)))
    unused = Setting(has_idle=True)
    team = Team(launch(recipe_of(unused, processes), FP32, "a-case"))
    said["unused"] = refusal(lambda: train(unused, team, folder))
    (folder / f"{team.rank}.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
