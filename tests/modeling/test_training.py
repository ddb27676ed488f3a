import logging
import re
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stages.config import progress
from stages.config.errors import UserError
from stages.config.params import (
    Augmentation,
    BinaryCrossEntropy,
    Case,
    CrossEntropy,
    Focal,
    Protocol,
    WeightedCrossEntropy,
)
from stages.dataset.image_set import DatasetInfo, ImageSet
from stages.dataset.runs import Run
from stages.modeling import resume
from stages.modeling.checkpoint import load_classifier, load_state, save_model
from stages.modeling.classifier import BACKBONE
from stages.modeling.compute import Hardware
from stages.modeling.initial import random_weights
from stages.modeling.training import Plan, TrainedRun, train_run, training_facts
from tests.dataset.sample import PREPARED
from tests.modeling.recipes import recipe_with

SIDE = 80
# Twelve images train (8 of class a, 4 of b), four validate, four are left for testing.
SPLITS = np.array(["train"] * 12 + ["val"] * 4 + ["test"] * 4)
LABELS = [*"aaaaaaaabbbb", *"abab", *"abab"]
CPU = Hardware("cpu", "fp32")
LIGHT = Augmentation(
    flip=0.5,
    flip_vertical=0,
    crop_area=1,
    rotate_deg=5,
    scale=0,
    shift=0,
    brightness=0,
    contrast=0.1,
    noise=0,
)
CASE = Case(
    view="view",
    model="cnn3",
    weights="start",
    train="all",
    head=[4],
    dropout=0.2,
    loss=CrossEntropy(kind="ce", label_smoothing=0.0),
    sampler="none",
    augment="light",
    recipe="short",
    protocol="once",
)
ONCE = Protocol(
    folds=1,
    held_out="test",
    grouping="group",
    augmented_copies=0,
    seeds=[1],
    ensemble=False,
    mirror=False,
)


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of random initial weights with a scaling of its own."""
    folder = tmp_path_factory.mktemp("start")
    backbone = random_weights("cnn3", seed=0).backbone
    state = {f"{BACKBONE}{name}": tensor for name, tensor in backbone.state_dict().items()}
    save_model(folder, state, {"mean": 0.4, "std": 0.2})
    return folder


def view_of(
    labels: list[str], implies: dict[str, list[str]], images: NDArray[np.uint8] | None = None
) -> ImageSet:
    """Noise with labels; the manifest puts every image into test, which a run must not read."""
    if images is None:
        shape = (len(labels), SIDE, SIDE)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    names = sorted(set(labels))
    info = DatasetInfo(
        "d", "folder", False, "ct", names, "b", len(labels), 0, 0, [], implies, {}, PREPARED
    )
    manifest = pd.DataFrame({"label": labels, "split": "test"})
    return ImageSet(info, manifest, images, None, None, None)


VIEW = view_of(LABELS, {})


def run_of(seed: int = 1, splits: NDArray[np.str_] = SPLITS) -> Run:
    return Run("", 1, seed, splits)


def trained(
    initial: Path,
    *,
    view: ImageSet = VIEW,
    run: Run | None = None,
    scratch: Path | None = None,
    **changes: object,
) -> TrainedRun:
    of_case = {key: value for key, value in changes.items() if key in Case.model_fields}
    of_recipe = {key: value for key, value in changes.items() if key not in of_case}
    plan = Plan(CASE.model_copy(update=of_case), recipe_with(**of_recipe), LIGHT, ONCE)
    scratch = scratch or Path(mkdtemp(dir=initial.parent))
    return train_run(plan, view, run or run_of(), initial=initial, hardware=CPU, scratch=scratch)


def state_of(done: TrainedRun) -> dict[str, torch.Tensor]:
    return dict(done.classifier.state_dict())


def are_equal(first: TrainedRun, second: TrainedRun) -> bool:
    ours, theirs = state_of(first), state_of(second)
    return ours.keys() == theirs.keys() and all(ours[n].equal(theirs[n]) for n in ours)


def blackened(rows: slice) -> ImageSet:
    images = np.array(VIEW.images)
    images[rows] = 0
    return view_of(LABELS, {}, images)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(initial: Path) -> None:
    first = trained(initial)
    assert are_equal(first, trained(initial))
    assert not are_equal(first, trained(initial, run=run_of(seed=2)))


def test_another_seed_starts_from_another_head(initial: Path) -> None:
    # Six steps of Adam move a weight by about 6 lr at most: what is left is the start.
    first, second = (trained(initial, run=run_of(seed), lr=1e-6) for seed in (1, 2))
    difference = state_of(first)["head.1.weight"] - state_of(second)["head.1.weight"]
    assert difference.abs().max() > 0.01


def test_the_splits_are_those_of_the_run_and_its_test_images_are_not_seen(initial: Path) -> None:
    first = trained(initial)
    assert are_equal(first, trained(initial, view=blackened(slice(16, 20))))
    assert not are_equal(first, trained(initial, view=blackened(slice(0, 12))))
    swapped = run_of(splits=np.roll(SPLITS, 8))  # other rows train
    assert not are_equal(first, trained(initial, run=swapped))


def test_meta_tells_what_is_needed_to_rebuild_the_network(initial: Path) -> None:
    meta = trained(initial).meta
    assert meta["model"] == "cnn3"
    assert meta["size"] == SIDE
    assert meta["head"] == [4]
    assert (meta["mean"], meta["std"]) == (0.4, 0.2)  # of the initial weights
    assert meta["class_names"] == ["a", "b"]
    assert meta["positive"] == 1
    assert (meta["fold"], meta["seed"]) == (1, 1)
    assert meta["started_from"] == "start"
    assert meta["tensors_left_out"] == []
    assert meta["ensemble"] is False
    assert meta["mirror"] is False


def test_what_other_peoples_weights_know_and_whose_they_are_goes_on_to_the_model_and_the_report(
    initial: Path, tmp_path: Path
) -> None:
    assert training_facts(trained(initial), VIEW, run_of())["start_origin"] is None
    said = {"knows": {"task": "dogs"}, "licence": "CC0-1.0", "origin": "kennel"}
    state = load_state(initial / "model.safetensors")
    save_model(tmp_path, state, {"mean": 0.4, "std": 0.2, **said})
    done = trained(tmp_path)
    facts = training_facts(done, VIEW, run_of())
    assert facts["start_knows"] == {"task": "dogs"}
    assert (facts["start_licence"], facts["start_origin"]) == ("CC0-1.0", "kennel")
    assert (done.meta["licence"], done.meta["origin"]) == ("CC0-1.0", "kennel")


THREE = view_of([*"aaaabbbbcccc", *"abca", *"abcb"], {"b": ["a"]})
BCE = BinaryCrossEntropy(kind="bce", label_smoothing=0.0)


@pytest.mark.parametrize(
    ("view", "loss", "one_logit", "logits"),
    [(VIEW, CASE.loss, False, 2), (VIEW, BCE, True, 1), (THREE, BCE, False, 3)],
    ids=["softmax", "one logit", "a logit per label"],
)
def test_the_loss_and_the_labels_say_how_many_logits_there_are(
    initial: Path, view: ImageSet, loss: object, one_logit: bool, logits: int
) -> None:
    done = trained(initial, view=view, loss=loss)
    assert done.meta["one_logit"] == one_logit
    assert done.classifier(torch.zeros(1, 1, SIDE, SIDE)).shape == (1, logits)
    assert done.meta["implies"] == view.info.implies


def test_only_the_head_is_trained_where_that_is_asked_for(initial: Path) -> None:
    done = trained(initial, train="head")
    start = load_state(initial / "model.safetensors")
    after = state_of(done)
    assert all(after[name].equal(tensor) for name, tensor in start.items())
    # cnn3: 32 * 8 * 8 + 32, 64 * 32 * 7 * 7 + 64, 64 * 64 * 4 * 4 + 64; one cell of 64 features
    # to 4 and 4 to 2 in the head.
    frozen = (2048 + 32) + (100352 + 64) + (65536 + 64)
    head = (64 * 4 + 4) + (4 * 2 + 2)
    assert done.meta["counts"] == {
        "trained": head,
        "frozen": frozen,
        "trained_tensors": 4,
        "frozen_tensors": 6,
    }
    facts = training_facts(done, VIEW, run_of())
    assert facts["parameters"] == {"trained": head, "frozen": frozen}
    assert facts["blocks_trained"] == ["head"]


def test_facts_count_the_images_that_train_and_those_that_were_drawn(initial: Path) -> None:
    counts = training_facts(trained(initial), VIEW, run_of())["class_counts"]
    # Twelve images fill three batches of four, so that every epoch draws each of them once.
    assert counts == {"train": {"a": 8, "b": 4}, "drawn_per_epoch": {"a": 8.0, "b": 4.0}}


def flop_of(initial: Path, **changes: object) -> dict[str, int]:
    flop: dict[str, int] = training_facts(trained(initial, **changes), VIEW, run_of())["flop"]
    return flop


def test_operations_of_a_training_are_those_of_its_images(initial: Path) -> None:
    flop = flop_of(initial, epochs=2)
    forward = flop["per_image"]
    # Twelve images are learned from and four judged, twice; the first layer has no gradient of the
    # image, so a step is less than three passes.
    step = (flop["training"] - 2 * 4 * forward) / (2 * 12)
    assert 2 * forward < step < 3 * forward
    assert flop_of(initial, epochs=1)["training"] * 2 == flop["training"]


def test_a_head_alone_costs_little_more_than_forward_passes(initial: Path) -> None:
    flop = flop_of(initial, train="head")
    forward = flop["per_image"]
    # Of the head 64 * 4 and 4 * 2 products: two gradients of the last layer, one of the other.
    backward = 2 * (64 * 4 + 2 * 4 * 2)
    assert flop["training"] == 2 * (12 * (forward + backward) + 4 * forward)
    # Kept activations: two views of twelve images and four others through the backbone, once.
    head = 2 * (64 * 4 + 4 * 2)
    kept = 2 * 12 + 4
    assert flop_of(initial, train="head", cache_views=2)["training"] == (
        kept * (forward - head) + 2 * (12 * (head + backward) + 4 * head)
    )


def test_a_weighted_sampler_draws_the_rare_class_as_often(initial: Path) -> None:
    done = trained(initial, sampler="weighted", epochs=30, patience=30)
    drawn = training_facts(done, VIEW, run_of())["class_counts"]["drawn_per_epoch"]
    assert drawn["a"] + drawn["b"] == pytest.approx(12)
    # 360 draws of two equally likely classes: a standard deviation of 9.5, or 0.3 an epoch.
    assert drawn["b"] == pytest.approx(6, abs=1)


def test_the_epoch_of_the_lowest_validation_loss_or_the_last_is_kept(initial: Path) -> None:
    best, last = (  # lr so large that the loss goes up again
        trained(initial, keep=keep, epochs=4, patience=4, lr=0.05) for keep in ("best", "last")
    )
    losses = best.result.epochs.query("split == 'val'")["loss"].tolist()  # by epoch
    assert best.meta["kept_epoch"] == losses.index(min(losses))
    assert best.meta["kept_epoch"] < 3
    assert last.meta["kept_epoch"] == 3
    assert (last.meta["kept"], last.meta["epochs_run"]) == ("last", 4)
    assert not are_equal(best, last)


def test_a_block_that_the_network_lacks_is_refused_by_name(initial: Path) -> None:
    with pytest.raises(UserError, match=r"got 'last:3' .* 3 blocks \(conv1, conv2, conv3\)"):
        trained(initial, train="last:3")


def test_weights_per_class_need_an_image_of_each_in_training(initial: Path) -> None:
    loss = WeightedCrossEntropy(kind="weighted_ce", label_smoothing=0.0)
    only_a = run_of(splits=np.array(["train"] * 8 + ["test"] * 4 + ["val"] * 8))
    with pytest.raises(UserError, match=r"weighted_ce: got .* a 8, b 0; allowed"):
        trained(initial, run=only_a, loss=loss)


@pytest.mark.parametrize("level", ["head", "last:1"])
def test_kept_activations_train_what_is_to_be_trained_and_say_so(initial: Path, level: str) -> None:
    done = trained(initial, train=level, cache_views=2)
    whole = trained(initial, train=level)
    assert done.meta["cache_views"] == 2
    assert whole.meta["cache_views"] == 0
    assert done.meta["blocks_trained"] == whole.meta["blocks_trained"]
    assert done.meta["unchanged_though_trained"] == []
    assert not are_equal(done, whole)
    assert done.classifier.backbone.training is False or level == "last:1"


def test_kept_activations_give_the_same_bits_again(initial: Path) -> None:
    first, second = (trained(initial, train="head", cache_views=2) for _ in range(2))
    assert are_equal(first, second)


@pytest.mark.parametrize("cache_views", [0, 2])
def test_blocks_learn_more_slowly_the_farther_from_the_head_also_on_kept_activations(
    initial: Path, cache_views: int
) -> None:
    # One step of Adam moves a weight by its learning rate.
    step = {"epochs": 1, "batch_size": 12, "optimizer": "adam", "lr": 1e-3}
    done = trained(initial, train="last:2", layer_decay=0.5, cache_views=cache_views, **step)
    start = load_state(initial / "model.safetensors")
    moved = {
        name: (tensor - start[f"backbone.{name}.bias"]).abs().max().item()
        for name in ("conv1", "conv2", "conv3")
        for tensor in [state_of(done)[f"backbone.{name}.bias"]]
    }
    assert moved == pytest.approx({"conv1": 0.0, "conv2": 2.5e-4, "conv3": 5e-4}, rel=1e-2)


@pytest.mark.parametrize("cache_views", [0, 2])
def test_what_is_to_train_waits_for_the_epochs_of_the_head_and_then_does(
    initial: Path, cache_views: int
) -> None:
    # A step an epoch, of which the second alone moves conv3, by Adam's learning rate.
    step = {"epochs": 2, "batch_size": 12, "optimizer": "adam", "lr": 1e-3}
    done = trained(initial, train="last:1", head_epochs=1, cache_views=cache_views, **step)
    start = load_state(initial / "model.safetensors")
    change = state_of(done)["backbone.conv3.bias"] - start["backbone.conv3.bias"]
    assert change.abs().max().item() == pytest.approx(1e-3, rel=1e-2)
    assert done.meta["blocks_trained"] == ["backbone.conv3", "head"]
    assert done.meta["kept_epoch"] == 1


@pytest.mark.parametrize(
    "loss",
    [
        CASE.loss,
        BCE,
        WeightedCrossEntropy(kind="weighted_ce", label_smoothing=0.1),
        Focal(kind="focal", gamma=2.0, alpha=0.25),
    ],
    ids=lambda loss: loss.kind,
)
def test_mixed_images_train_by_every_loss_to_the_same_bits_again(
    initial: Path, loss: object
) -> None:
    first, second, plain = (trained(initial, loss=loss, mixup=a) for a in (0.4, 0.4, 0.0))
    assert are_equal(first, second)
    assert not are_equal(first, plain)
    assert np.isfinite(first.result.steps["loss"]).all()


def test_a_network_trained_with_dropped_branches_is_rebuilt_without_them(tmp_path: Path) -> None:
    backbone = random_weights("test_resnet", seed=0).backbone
    state = {f"{BACKBONE}{name}": tensor for name, tensor in backbone.state_dict().items()}
    save_model(tmp_path / "start", state, {"mean": 0.4, "std": 0.2})
    plain, dropped = (
        trained(tmp_path / "start", model="test_resnet", drop_path=rate) for rate in (0.0, 0.5)
    )
    assert not are_equal(plain, dropped)
    save_model(tmp_path / "done", dropped.classifier.state_dict(), dropped.meta)
    again, _ = load_classifier(tmp_path / "done")
    images = torch.rand(3, 1, SIDE, SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(again(images), dropped.classifier.eval()(images))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_one_step_of_one_cycle_is_refused_before_the_training(
    initial: Path, optimizer: str
) -> None:
    recipe = {"schedule": "onecycle", "epochs": 1, "batch_size": 12, "optimizer": optimizer}
    expected = r"^recipes\.short: schedule: got .* 1 epochs of batch_size 12: 1 steps; allowed for"
    with pytest.raises(UserError, match=expected):
        trained(initial, **recipe)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_learning_rate_that_moves_nothing_is_named_with_the_recipe(
    initial: Path, optimizer: str
) -> None:
    expected = (
        rf"^recipes\.short: got lr 4e-09 \({optimizer}, constant\), 2 epochs of batch_size 4: 6 "
        r"steps: what was to train did not: "
    )
    with pytest.raises(UserError, match=expected):
        trained(initial, lr=4e-9, optimizer=optimizer)


def test_a_small_learning_rate_trains_all_the_same(initial: Path) -> None:
    assert trained(initial, lr=1e-6).meta["unchanged_though_trained"] == []


def test_initial_weights_that_are_no_numbers_are_refused_even_if_frozen(
    initial: Path, tmp_path: Path
) -> None:
    state = load_state(initial / "model.safetensors")
    state["backbone.conv2.bias"][3] = float("inf")
    save_model(tmp_path, state, {"mean": 0.4, "std": 0.2})
    with pytest.raises(UserError, match=r"tensor 'conv2\.bias' holds NaN or infinity"):
        trained(tmp_path, train="head")


def test_start_that_overflows_is_not_blamed_on_the_learning_rate(
    initial: Path, tmp_path: Path
) -> None:
    state = load_state(initial / "model.safetensors")
    for name in ("conv1", "conv2", "conv3"):
        state[f"backbone.{name}.weight"] *= 1e15
    save_model(tmp_path, state, {"mean": 0.4, "std": 0.2})
    with pytest.raises(UserError, match=r"^recipes\.short: training diverged: .* first batch was"):
        trained(tmp_path)


def test_divergence_after_the_epoch_kept_is_told(
    initial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steady = training_facts(trained(initial), VIEW, run_of())
    assert steady["diverged"] is False
    done = trained(initial, lr=10.0, optimizer="sgd", epochs=6, patience=6)
    assert training_facts(done, VIEW, run_of())["diverged"] is True
    assert "training diverged after epoch" in caplog.text


def test_log_tells_how_many_parameters_train(
    initial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        trained(initial, train="last:1")
    # conv3 and the head (64 * 4 + 4, 4 * 2 + 2), of these, conv1 and conv2.
    trains = 65536 + 64 + 270
    total = trains + 2048 + 32 + 100352 + 64
    assert f"trains {trains:,} of {total:,} parameters: backbone.conv3, head" in caplog.text


def test_the_first_words_are_what_is_trained_on_how_many_images_how_long_and_where(
    initial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        trained(initial, run=Run("fold1-seed1", 1, 1, SPLITS), epochs=1, batch_size=4)
    assert re.fullmatch(
        r"fold1-seed1, cnn3: 12 train, 4 val images; at most 1 epochs, in batches of 4; .+, fp32",
        caplog.messages[0],
    )


def test_a_slow_epoch_says_how_far_it_is(
    initial: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with caplog.at_level("INFO"):
        trained(initial, epochs=1, batch_size=4)
    said = [message for message in caplog.messages if message.startswith("epoch 0")]
    assert said[0].startswith("epoch 0: training: 1 of 3, about ")
    assert said[1].startswith("epoch 0: training: 2 of 3, about ")
    assert said[2].startswith("epoch 0: train loss ")


def test_facts_tell_the_number_of_threads(initial: Path) -> None:
    facts = training_facts(trained(initial), VIEW, run_of())
    assert facts["threads"] == torch.get_num_threads()


@pytest.mark.parametrize(
    ("changes", "is_used"),
    [
        ({}, True),
        ({"dropout": 0.3}, False),
        ({"sampler": "weighted"}, False),
        ({"loss": CrossEntropy(kind="ce", label_smoothing=0.1)}, False),
        ({"run": run_of(seed=2)}, False),
        ({"run": run_of(splits=np.roll(SPLITS, 4))}, False),
        ({"view": blackened(slice(3, 4))}, False),
        ({"view": blackened(slice(19, 20))}, True),  # a test image
    ],
)
def test_a_finished_training_is_used_again_by_the_same_one_alone(
    initial: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    is_used: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(resume, "COST_SHARE", 1e9)  # every epoch is written
    trained(initial, scratch=tmp_path)
    with caplog.at_level(logging.INFO, logger="stages.modeling"):
        again = trained(initial, scratch=tmp_path, **changes)
    assert ("the training goes on from here" in caplog.text) == is_used
    assert ("epoch 0:" in caplog.text) != is_used
    assert are_equal(again, trained(initial, **changes))


def test_a_finished_training_from_other_weights_is_not_used(
    initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resume, "COST_SHARE", 1e9)
    trained(initial, scratch=tmp_path / "runs")
    state = load_state(initial / "model.safetensors")
    state["backbone.conv3.bias"][5] += 1e-6
    save_model(tmp_path / "other", state, {"mean": 0.4, "std": 0.2})
    trained(tmp_path / "other", scratch=tmp_path / "runs")
    assert "of a training with other parameters, code, data" in caplog.text
