"""Trainings that are killed and go on: the same bits as of one that was left alone."""

import errno
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.config.params import Augmentation, CrossEntropy, Recipe
from stages.modeling import resume
from stages.modeling.augment import Augmenter
from stages.modeling.blocks import block_depths
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range, train_loader
from stages.modeling.distributed import Team
from stages.modeling.fit import FitResult, Lesson, fit
from stages.modeling.freeze import freeze
from stages.modeling.inputs import Inputs, behind_boundary
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from stages.modeling.pretext import patient_loader
from stages.modeling.resume import Checkpoints
from tests.modeling.recipes import recipe_with

SIDE, N_TRAIN, N_VAL, BATCH_SIZE = 80, 12, 6, 4
STEPS = 3 + 2  # batches of an epoch, of both splits
CPU = Hardware("cpu", "fp32")
OUTPUTS = Outputs(("a", "b"), positive=0, one_logit=False, implies={})
LIVELY = Augmentation(
    flip=0.5,
    flip_vertical=0,
    crop_area=0.8,
    rotate_deg=10,
    scale=0.1,
    shift=0.1,
    brightness=0.1,
    contrast=0.1,
    noise=0.1,
)


class Killed(BaseException):
    """As nothing in the program expects."""


@pytest.fixture(autouse=True)
def _write_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "COST_SHARE", 1e9)


def new_lesson(
    model: str = "cnn3",
    *,
    train: str = "all",
    sampler: str = "none",
    first_pixel: int = 0,
    views: int = 0,
) -> Lesson:
    """Noise, dark in class 0 and bright in class 1; dropout, augmentation and order are drawn."""
    torch.manual_seed(0)  # of the weights
    build = {"size": SIDE, "head": [8], "dropout": 0.3, "mean": 0.5, "std": 0.25}
    classifier = build_classifier(model, outputs=2, **build)
    freeze(classifier, train)
    count = N_TRAIN + N_VAL
    noise = np.random.default_rng(0).integers(0, 156, (count, SIDE, SIDE), dtype=np.uint8)
    targets = (np.arange(count) % 3 == 0).astype(np.int64)
    images = noise + (100 * targets).astype(np.uint8)[:, None, None]
    images[0, 0, 0] = first_pixel
    rows = np.arange(count)
    training = ImageRows(images, targets, rows[:N_TRAIN])
    loader = train_loader(training, batch_size=BATCH_SIZE, sampler=sampler, seed=0)
    if sampler == "by patient":
        loader = patient_loader(training, batch_size=3, seed=0)
    augment = Augmenter(LIVELY, torch.Generator().manual_seed(0))
    val = ImageRows(images, targets, rows[N_TRAIN:])
    if views:
        images_alone = Inputs(classifier, to_unit_range, augment, training, val)
        return lesson_on_activations(images_alone, classifier, views)
    return Lesson(
        classifier,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, []),
        to_unit_range,
        augment,
        loader,
        ordered_loader(val, batch_size=BATCH_SIZE),
        block_depths(classifier),
    )


def lesson_on_activations(images: Inputs, classifier: Classifier, views: int) -> Lesson:
    with TemporaryDirectory() as scratch:
        inputs = behind_boundary(
            images,
            classifier,
            views=views,
            hardware=CPU,
            scratch=Path(scratch),
            team=Team.of_one(CPU),
        )
    return Lesson(
        inputs.network,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, []),
        inputs.to_input,
        inputs.augment,
        train_loader(inputs.train, batch_size=BATCH_SIZE, sampler="none", seed=0, views=views),
        ordered_loader(inputs.val, batch_size=BATCH_SIZE),
        block_depths(classifier),
    )


def killed_after(lesson: Lesson, batches: int) -> Lesson:
    """The same, whose process ends in the batch after so many."""
    counted = iter(range(batches))

    def loss_fn(logits: Tensor, targets: Tensor) -> Tensor:
        if next(counted, None) is None:
            raise Killed
        return lesson.loss_fn(logits, targets)

    return lesson._replace(loss_fn=loss_fn)


def train(lesson: Lesson, recipe: Recipe, folder: Path, facts: object = "") -> FitResult:
    return fit(lesson, recipe, seed=0, hardware=CPU, checkpoints=Checkpoints(folder, [facts]))


def kill(lesson: Lesson, recipe: Recipe, folder: Path, *, batches: int) -> None:
    with pytest.raises(Killed):
        train(killed_after(lesson, batches), recipe, folder)


def batches_trained(lesson: Lesson) -> tuple[Lesson, list[int]]:
    """The same, and a list that grows by one item for each batch."""
    seen: list[int] = []

    def loss_fn(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append(len(targets))
        return lesson.loss_fn(logits, targets)

    return lesson._replace(loss_fn=loss_fn), seen


def assert_same(ours: tuple[Lesson, FitResult], theirs: tuple[Lesson, FitResult]) -> None:
    """Weights, curves, and what was kept, to the bit."""
    first, second = (lesson.classifier.state_dict() for lesson, _ in (ours, theirs))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert ours[1].steps.equals(theirs[1].steps)
    assert ours[1].epochs.equals(theirs[1].epochs)
    assert ours[1][2:] == theirs[1][2:]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


EPOCHS = 4
TRAININGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sgd": ({}, {"optimizer": "sgd", "lr": 1e-2}),
    "adamw, one cycle": ({}, {"schedule": "onecycle", "lr": 3e-3, "weight_decay": 0.1}),
    "adam, cosine": ({}, {"optimizer": "adam", "schedule": "cosine"}),
    "averaged weights": ({"model": "test_resnet"}, {"ema": 0.9}),
    "averaged weights, last blocks": ({"model": "test_resnet", "train": "last:1"}, {"ema": 0.5}),
    "head": ({"model": "test_resnet", "train": "head"}, {}),
    "kept activations": ({"model": "test_resnet", "train": "last:1", "views": 3}, {}),
    "slower blocks": ({}, {"layer_decay": 0.5, "schedule": "onecycle"}),
    "the head first": ({"model": "test_resnet"}, {"head_epochs": 2, "schedule": "onecycle"}),
    "the head first, averaged": ({"model": "test_resnet"}, {"head_epochs": 1, "ema": 0.5}),
    "the head first, kept activations": (
        {"model": "test_resnet", "train": "last:2", "views": 2},
        {"head_epochs": 2},
    ),
    "mixed images": ({}, {"mixup": 0.4}),
    "weighted sampler": ({"sampler": "weighted"}, {}),
    "sampler of patients": ({"sampler": "by patient"}, {}),
    "the last epoch is kept": ({}, {"keep": "last", "lr": 2e-2}),
    "the best epoch is kept": ({}, {"keep": "best", "lr": 2e-2}),
}


@pytest.mark.parametrize("batches", [STEPS, 3 * STEPS - 1])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_goes_on_to_the_same_bits(
    tmp_path: Path, name: str, batches: int
) -> None:
    of_lesson, of_recipe = TRAININGS[name]
    steps = STEPS + (1 if of_lesson.get("sampler") == "by patient" else 0)  # four of three images
    steps += 3 if "mixup" in of_recipe else 0  # two losses of each training batch
    recipe = recipe_with(**({"epochs": EPOCHS, "patience": EPOCHS} | of_recipe))
    whole, cut = new_lesson(**of_lesson), new_lesson(**of_lesson)
    expected = fit(whole, recipe, seed=0, hardware=CPU)
    kill(cut, recipe, tmp_path, batches=batches)
    torch.rand(7)  # what else the process may have drawn before
    later, seen = batches_trained(new_lesson(**of_lesson))
    assert_same((later, train(later, recipe, tmp_path)), (whole, expected))
    assert len(seen) == EPOCHS * steps - batches // steps * steps  # finished epochs stay finished


def with_val_losses(lesson: Lesson, of_epochs: list[float]) -> Lesson:
    """The validation batches of these epochs have these losses; training goes on as it is."""
    left = iter([loss for loss in of_epochs for _ in range(2)])

    def prescribed(logits: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return lesson.loss_fn(logits, targets)
        return torch.tensor(next(left))

    return lesson._replace(loss_fn=prescribed)


def test_patience_goes_on_where_it_was(tmp_path: Path) -> None:
    # Epoch 1 is the best, so that with a patience of 3 epoch 4 is the last; killed in epoch 3.
    losses = [0.5, 0.4, 0.45, 0.42, 0.41, 0.1, 0.1, 0.1]
    recipe = recipe_with(epochs=8, patience=3)
    whole = with_val_losses(new_lesson(), losses)
    expected = fit(whole, recipe, seed=0, hardware=CPU)
    kill(with_val_losses(new_lesson(), losses), recipe, tmp_path, batches=3 * STEPS + 1)
    later = with_val_losses(new_lesson(), losses[3:])
    result = train(later, recipe, tmp_path)
    assert (result.kept_epoch, result.epochs["epoch"].max()) == (1, 4)
    assert_same((later, result), (whole, expected))


@pytest.mark.parametrize("losses", [[0.5, 0.4, 0.3, 0.2], [0.5, 0.6, 0.6]], ids=["end", "patience"])
def test_a_finished_training_is_not_trained_again(tmp_path: Path, losses: list[float]) -> None:
    recipe = recipe_with(epochs=4, patience=2)
    first = with_val_losses(new_lesson(), losses)
    expected = train(first, recipe, tmp_path)
    later, seen = batches_trained(new_lesson())
    assert_same((later, train(later, recipe, tmp_path)), (first, expected))
    assert seen == []
    assert len(files(tmp_path)) == 2  # the last epoch alone, and its note


def test_the_last_two_epochs_are_there_while_it_trains(tmp_path: Path) -> None:
    kill(new_lesson(), recipe_with(epochs=4, patience=4), tmp_path, batches=3 * STEPS)
    names = [f"epoch-{epoch:06d}" for epoch in (1, 2)]
    assert files(tmp_path) == [f"{name}{ending}" for name in names for ending in (".json", ".pt")]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_note(path: Path) -> None:
    path.with_suffix(".json").unlink()


def half_a_note(path: Path) -> None:
    path.with_suffix(".json").write_text('{"of": ', encoding="utf-8")


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, without_note, half_a_note, Path.unlink])
def test_a_damaged_file_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_with(epochs=4, patience=4)
    whole = new_lesson()
    expected = fit(whole, recipe, seed=0, hardware=CPU)
    kill(new_lesson(), recipe, tmp_path, batches=3 * STEPS)
    damage(tmp_path / "epoch-000002.pt")
    later, seen = batches_trained(new_lesson())
    with caplog.at_level(logging.INFO, logger=resume.__name__):
        assert_same((later, train(later, recipe, tmp_path)), (whole, expected))
    assert len(seen) == 2 * STEPS  # epochs 2 and 3
    assert "epoch-000001.pt: the training goes on from here" in caplog.text
    if damage is not without_note:  # then it was never there
        assert "epoch-000002.pt: " in caplog.text


def test_where_both_files_are_damaged_the_training_begins_anew(tmp_path: Path) -> None:
    recipe = recipe_with(epochs=3, patience=3)
    whole = new_lesson()
    expected = fit(whole, recipe, seed=0, hardware=CPU)
    kill(new_lesson(), recipe, tmp_path, batches=2 * STEPS)
    for path in tmp_path.glob("*.pt"):
        cut_off(path)
    later, seen = batches_trained(new_lesson())
    assert_same((later, train(later, recipe, tmp_path)), (whole, expected))
    assert len(seen) == 3 * STEPS


OTHERS: dict[str, dict[str, Any]] = {
    "another parameter of the case": {"facts": "other"},
    "another recipe": {"recipe": {"lr": 2e-3}},
    "another network": {"lesson": {"model": "test_resnet"}},
    "another level": {"lesson": {"train": "last:1"}},
    "another image": {"lesson": {"first_pixel": 1}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_training_is_not_used(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, plain = OTHERS[name], recipe_with(epochs=2)
    kill(new_lesson(), plain, tmp_path, batches=STEPS)
    later, seen = batches_trained(new_lesson(**other.get("lesson", {})))
    recipe = plain.model_copy(update=other.get("recipe", {}))
    train(later, recipe, tmp_path, other.get("facts", ""))
    assert len(seen) == 2 * STEPS
    assert "epoch-000000.pt: of a training with other parameters, code, data" in caplog.text


def other_threads(_: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    yield
    torch.set_num_threads(before)


def other_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resume, "_code", lambda: [("modeling/fit.py", b"other")])
    yield


def other_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resume, "library_versions", lambda: {"torch": "0"})
    yield


def other_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resume, "describe_device", lambda device: f"another {device}")
    yield


@pytest.mark.parametrize("change", [other_threads, other_code, other_library, other_processor])
def test_a_file_from_where_the_bits_would_be_others_is_not_used(
    tmp_path: Path,
    change: Callable[[pytest.MonkeyPatch], Iterator[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_with(epochs=2)
    kill(new_lesson(), recipe, tmp_path, batches=STEPS)
    later, seen = batches_trained(new_lesson())
    for _ in change(monkeypatch):
        train(later, recipe, tmp_path)
    assert len(seen) == 2 * STEPS


def test_every_source_file_that_a_training_imports_is_in_the_fingerprint() -> None:
    from tests.test_pipeline import imported_files

    covered = {f"stages/{name}" for name, _ in resume._code()}
    imported = imported_files("stages.modeling.pretext") | imported_files(
        "stages.modeling.training"
    )
    assert {file for file in imported if file != "stages/__init__.py"} <= covered


def test_a_short_epoch_is_not_worth_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "COST_SHARE", 0.02)
    monkeypatch.setattr(resume, "LATENCY_S", 10.0)
    train(new_lesson(), recipe_with(epochs=1), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_full_disk_is_said_and_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, later = new_lesson(), new_lesson()
    recipe = recipe_with(epochs=2)
    expected = fit(whole, recipe, seed=0, hardware=CPU)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    assert_same((later, train(later, recipe, tmp_path)), (whole, expected))
    assert "no checkpoint of epoch 0" in caplog.text
    assert "No space left on device" in caplog.text
    assert files(tmp_path) == []


def test_a_checkpoint_is_read_without_running_what_it_says(tmp_path: Path) -> None:
    """`torch.load` of a pickle from elsewhere would run it."""

    class Harm:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    recipe = recipe_with(epochs=2)
    kill(new_lesson(), recipe, tmp_path, batches=STEPS)
    path = tmp_path / "epoch-000000.pt"
    torch.save({"epoch": 0, "loop": Harm()}, path)
    note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    note["sha256"] = resume._digest_file(path)
    path.with_suffix(".json").write_text(json.dumps(note), encoding="utf-8")
    later, seen = batches_trained(new_lesson())
    train(later, recipe, tmp_path)
    assert len(seen) == 2 * STEPS
    assert not (tmp_path / "harm").exists()
