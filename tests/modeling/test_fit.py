from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.config.errors import UserError
from stages.config.params import Augmentation, CrossEntropy
from stages.modeling.augment import Augmenter, Mixup
from stages.modeling.blocks import block_depths
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range, train_loader
from stages.modeling.fit import FitResult, Lesson, fit
from stages.modeling.history import EpochFigures, History
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from tests.modeling.recipes import recipe_with

SIDE, N_TRAIN, N_VAL, BATCH_SIZE = 80, 12, 5, 4
LIGHT = Augmentation(
    flip=0.5,
    flip_vertical=0,
    crop_area=1,
    rotate_deg=10,
    scale=0.1,
    shift=0.1,
    brightness=0.1,
    contrast=0.1,
    noise=0.1,
)


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise, dark in class 0 and bright in class 1."""
    count = N_TRAIN + N_VAL
    noise = np.random.default_rng(0).integers(0, 156, (count, SIDE, SIDE), dtype=np.uint8)
    targets = np.arange(count, dtype=np.int64) % 2
    return noise + (100 * targets).astype(np.uint8)[:, None, None], targets


def new_lesson(model: str = "cnn3", *, seed: int = 0) -> Lesson:
    torch.manual_seed(seed)  # of the weights
    classifier = build_classifier(
        model, size=SIDE, head=[16], outputs=2, dropout=0.2, mean=0.5, std=0.25
    )
    outputs = Outputs(("a", "b"), positive=0, one_logit=False, implies={})
    images, targets = pictures()
    rows = np.arange(len(images))
    train = ImageRows(images, targets, rows[:N_TRAIN])
    val = ImageRows(images, targets, rows[N_TRAIN:])
    return Lesson(
        classifier,
        outputs,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), outputs, [6, 6]),
        to_unit_range,
        Augmenter(LIGHT, torch.Generator().manual_seed(seed)),
        train_loader(train, batch_size=BATCH_SIZE, sampler="none", seed=seed),
        ordered_loader(val, batch_size=BATCH_SIZE),
        block_depths(classifier),
    )


def fitted(lesson: Lesson, *, seed: int = 0, **changes: object) -> FitResult:
    recipe = recipe_with(**({"lr": 3e-3, "epochs": 4, "patience": 4} | changes))
    return fit(lesson, recipe, seed=seed, hardware=Hardware("cpu", "fp32"))


def val_losses(result: FitResult) -> list[float]:
    return list(result.epochs.query("split == 'val'")["loss"])


def val_loss_now(classifier: Classifier) -> float:
    images, targets = pictures()
    with torch.inference_mode():
        logits = classifier.eval()(to_unit_range(torch.from_numpy(images[N_TRAIN:])))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets[N_TRAIN:]))
    return loss.item()


def with_val_losses(lesson: Lesson, of_batches: list[float]) -> Lesson:
    """Validation batches have these losses; training goes on as it is."""
    left = iter(of_batches)

    def prescribed(logits: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return lesson.loss_fn(logits, targets)
        return torch.tensor(next(left))

    return lesson._replace(loss_fn=prescribed)


@pytest.mark.parametrize("model", ["cnn3", "test_resnet"])
def test_training_twice_gives_the_same_bits(model: str) -> None:
    states: list[dict[str, Tensor]] = []
    results = []
    for _ in range(2):
        lesson = new_lesson(model)
        results.append(fitted(lesson, epochs=2))
        states.append(lesson.classifier.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert results[0].steps.equals(results[1].steps)


def test_another_seed_gives_other_weights() -> None:
    one, other = new_lesson(), new_lesson()  # the same start, batches and augmentation
    for seed, lesson in enumerate((one, other)):
        fitted(lesson, seed=seed, epochs=1)
    weights = [m.classifier.get_parameter("backbone.conv1.weight") for m in (one, other)]
    assert not torch.equal(*weights)


def test_every_epoch_takes_one_permutation_of_the_sampler() -> None:
    order = torch.Generator().manual_seed(0)
    expected = [torch.randperm(N_TRAIN, generator=order).tolist() for _ in range(3)]
    seen: list[float] = []
    numbered = np.arange(N_TRAIN, dtype=np.uint8)[:, None, None] * np.ones(
        (1, SIDE, SIDE), np.uint8
    )
    rows = ImageRows(numbered, np.arange(N_TRAIN) % 2, np.arange(N_TRAIN))

    def note(images: Tensor) -> Tensor:
        seen.extend((images[:, 0, 0, 0] * 255).round().int().tolist())
        return images

    loader = train_loader(rows, batch_size=BATCH_SIZE, sampler="none", seed=0)
    fitted(new_lesson()._replace(train=loader, augment=note), epochs=3)
    assert seen == [image for permutation in expected for image in permutation]


def test_kernels_that_vary_are_refused_in_training_and_allowed_again_after_it() -> None:
    seen = []
    lesson = new_lesson()
    lesson.classifier.register_forward_hook(
        lambda *_: seen.append(torch.are_deterministic_algorithms_enabled())
    )
    assert not torch.are_deterministic_algorithms_enabled()
    fitted(lesson, epochs=1)
    assert seen == [True] * 5  # 3 training and 2 validation batches
    assert not torch.are_deterministic_algorithms_enabled()


def test_bf16_is_for_the_network_alone() -> None:
    lesson = new_lesson()
    seen: dict[str, torch.dtype] = {}
    for name in ("", "backbone.conv1", "head.4"):
        lesson.classifier.get_submodule(name).register_forward_hook(
            lambda _, given, made, name=name: seen.update(
                {f"{name}<": given[0].dtype, name: made.dtype}
            )
        )

    def loss_fn(logits: Tensor, targets: Tensor) -> Tensor:
        seen["loss"] = logits.dtype
        return lesson.loss_fn(logits, targets)

    fit(
        lesson._replace(loss_fn=loss_fn),
        recipe_with(epochs=1),
        seed=0,
        hardware=Hardware("cpu", "bf16"),
    )
    # Images are scaled in fp32 before the first convolution rounds them.
    assert seen["<"] == seen["backbone.conv1<"] == torch.float32
    assert seen["backbone.conv1"] == seen["head.4"] == torch.bfloat16
    assert seen["loss"] == torch.float32
    assert {p.dtype for p in lesson.classifier.parameters()} == {torch.float32}


def test_images_are_augmented_in_fp32_whatever_the_network_computes_in() -> None:
    lesson, seen = new_lesson(), set()

    def watch(images: Tensor) -> Tensor:
        seen.add((images.dtype, torch.is_autocast_enabled("cpu")))
        return lesson.augment(images)

    watched = lesson._replace(augment=watch)
    fit(watched, recipe_with(epochs=1), seed=0, hardware=Hardware("cpu", "bf16"))
    assert seen == {(torch.float32, False)}


def test_switch_that_fills_new_tensors_is_as_it_was_after_training() -> None:
    before = torch.utils.deterministic.fill_uninitialized_memory
    fitted(new_lesson(), epochs=1)
    assert torch.utils.deterministic.fill_uninitialized_memory is before is True


def test_frozen_and_trained_weights_are_those_of_the_epoch_kept() -> None:
    lesson = with_val_losses(new_lesson(), [0.1, 0.1, 0.9, 0.9, 0.9, 0.9])
    lesson.classifier.backbone.requires_grad_(False)
    shorter = with_val_losses(new_lesson(), [0.1, 0.1])
    shorter.classifier.backbone.requires_grad_(False)
    fitted(lesson, epochs=3, schedule="constant")
    fitted(shorter, epochs=1, schedule="constant")
    kept, expected = lesson.classifier.state_dict(), shorter.classifier.state_dict()
    assert all(torch.equal(kept[name], expected[name]) for name in expected)


def test_epoch_of_the_lowest_validation_loss_is_kept() -> None:
    lesson, batches = new_lesson(), iter(range(100))

    def unlearning_from_the_third_epoch(logits: Tensor, targets: Tensor) -> Tensor:
        loss = lesson.loss_fn(logits, targets)
        is_late = torch.is_grad_enabled() and next(batches) >= 6  # 3 training batches an epoch
        return -50 * loss if is_late else loss  # large enough to turn the momentum at once

    result = fitted(lesson._replace(loss_fn=unlearning_from_the_third_epoch), lr=5e-4)
    losses = val_losses(result)
    assert len(losses) == 4
    assert result.kept_epoch == int(np.argmin(losses)) == 1
    assert losses[3] > losses[1] + 0.05
    assert val_loss_now(lesson.classifier) == pytest.approx(losses[1], abs=1e-5)


def test_validation_loss_that_chooses_the_epoch_weighs_images_and_not_batches() -> None:
    # Batches of 4 and 1 images. Means over images: 0.8, then 0.7; over batches: 0.5, then 1.0.
    result = fitted(with_val_losses(new_lesson(), [1.0, 0.0, 0.5, 1.5]), epochs=2)
    assert val_losses(result) == pytest.approx([0.8, 0.7])
    assert result.kept_epoch == 1


def test_training_stops_when_patience_is_at_its_end() -> None:
    # A step too small to change a float: epoch 0 stays the best, epochs 1 and 2 do not improve.
    result = fitted(new_lesson(), optimizer="sgd", lr=1e-30, epochs=9, patience=2, weight_decay=0.0)
    assert val_losses(result) == [val_losses(result)[0]] * 3
    assert result.kept_epoch == 0


@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_counts_from_the_best_epoch_and_not_from_the_one_kept(keep: str) -> None:
    # Two batches an epoch. Epoch 1 is the best; epochs 2 and 3 are not; 4 would be.
    losses = [0.5, 0.4, 0.45, 0.42, 0.1]
    lesson = with_val_losses(new_lesson(), [loss for loss in losses for _ in range(2)])
    result = fitted(lesson, epochs=5, patience=2, keep=keep)
    assert val_losses(result) == pytest.approx(losses[:4])
    assert result.kept_epoch == {"best": 1, "last": 3}[keep]


def states_by_batch(lesson: Lesson, part: str) -> tuple[Lesson, list[dict[str, Tensor]]]:
    """The same, and what a part of the network holds when each training batch comes."""
    seen: list[dict[str, Tensor]] = []

    def note(images: Tensor) -> Tensor:
        state = lesson.classifier.get_submodule(part).state_dict()
        seen.append({name: tensor.clone() for name, tensor in state.items()})
        return lesson.augment(images)

    return lesson._replace(augment=note), seen


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_first_epochs_of_the_head_leave_the_backbone_and_its_statistics(ema: float) -> None:
    lesson, backbones = states_by_batch(new_lesson("test_resnet"), "backbone")
    lesson, heads = states_by_batch(lesson, "head")
    fitted(lesson, epochs=3, head_epochs=2, ema=ema)
    # Three batches an epoch: the sixth is the first that the backbone learns from.
    assert moved(backbones[0], backbones[6]) == set()
    assert moved(heads[0], heads[6]) == set(heads[0])
    learned = {"conv1.0.weight", "bn1.running_mean", "bn1.num_batches_tracked"}
    assert learned <= moved(backbones[6], backbones[7])
    assert all(p.requires_grad for p in lesson.classifier.parameters())


def test_the_head_alone_and_then_all_each_run_through_the_whole_schedule() -> None:
    lesson = new_lesson()
    lesson, heads = states_by_batch(lesson, "head")
    # Constant weights move by their learning rate in each step of Adam with one gradient.
    slope = torch.tensor([1.0, -1.0])
    pushed = lesson._replace(loss_fn=lambda logits, _: (logits * slope).sum())
    fitted(pushed, epochs=4, head_epochs=2, optimizer="adam", lr=1e-2, schedule="cosine")
    biases = torch.stack([state["4.bias"][0] for state in heads])
    rates = -biases.diff()
    # Twice six steps along half a cosine: 0.01 (1 + cos(pi step / 6)) / 2.
    expected = [0.01, 0.00933, 0.0075, 0.005, 0.0025, 0.00067]
    assert rates.tolist() == pytest.approx([*expected, *expected[:5]], abs=1e-5)


def test_an_epoch_of_the_head_alone_is_not_kept_and_patience_begins_behind_it() -> None:
    losses = [0.1, 0.2, 0.9, 0.95, 0.3]  # the first two of the head alone
    lesson = with_val_losses(new_lesson(), [loss for loss in losses for _ in range(2)])
    result = fitted(lesson, epochs=5, head_epochs=2, patience=1)
    assert val_losses(result) == pytest.approx(losses[:4])
    assert result.kept_epoch == 2


def test_divergence_of_the_head_alone_is_told_at_once() -> None:
    lesson = with_val_losses(new_lesson(), [float("nan")] * 2)
    with pytest.raises(UserError, match="validation loss of epoch 0 is nan"):
        fitted(lesson, epochs=3, head_epochs=2)


def test_loss_of_a_mixed_batch_is_that_of_both_labels_by_their_shares() -> None:
    mixup = Mixup(0.4, torch.Generator().manual_seed(7))
    shares = [mixup(torch.zeros(BATCH_SIZE, 1, 1, 1)).share for _ in range(3)]
    turns, labels = iter([1.0, 3.0] * 3), []

    def loss_fn(logits: Tensor, targets: Tensor) -> Tensor:
        labels.append(sorted(targets.tolist()))
        return 0 * logits.sum() + (next(turns) if torch.is_grad_enabled() else 0.5)

    result = fitted(new_lesson()._replace(loss_fn=loss_fn), seed=7, epochs=1, mixup=0.4)
    losses = result.steps.query("split == 'train'")["loss"].tolist()
    assert losses == pytest.approx([share + 3 * (1 - share) for share in shares], abs=1e-5)
    assert labels[0] == labels[1]  # the same batch in another order


def test_mixing_changes_what_is_learned_and_not_what_is_validated() -> None:
    plain, mixed = new_lesson(), new_lesson()
    fitted(plain, epochs=1)
    result = fitted(mixed, epochs=1, mixup=1.0)
    name = "backbone.conv1.weight"
    assert not torch.equal(
        plain.classifier.get_parameter(name), mixed.classifier.get_parameter(name)
    )
    assert val_loss_now(mixed.classifier) == pytest.approx(val_losses(result)[0], abs=1e-5)


def accuracies_by(monkeypatch: pytest.MonkeyPatch, of_epochs: Sequence[float]) -> None:
    """Let the validation of each epoch say this accuracy."""
    said, sum_up = iter(of_epochs), History.sum_up

    def say(history: History, epoch: int, split: str) -> EpochFigures:
        found = sum_up(history, epoch, split)
        return found._replace(accuracy=next(said)) if split == "val" else found

    monkeypatch.setattr(History, "sum_up", say)


def test_the_first_epoch_of_the_highest_accuracy_is_kept_whatever_its_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accuracies_by(monkeypatch, [0.4, 0.8, 0.6, 0.8])
    lesson = with_val_losses(new_lesson(), [loss for loss in (0.1, 0.9, 0.2, 0.3) for _ in "ab"])
    result = fitted(lesson, epochs=4, patience=4, keep="best_accuracy")
    assert result.kept_epoch == 1


def test_patience_counts_from_the_highest_accuracy_where_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accuracies_by(monkeypatch, [0.8, 0.6, 0.7, 0.9])
    lesson = with_val_losses(new_lesson(), [loss for loss in (0.4, 0.3, 0.2, 0.1) for _ in "ab"])
    result = fitted(lesson, epochs=4, patience=2, keep="best_accuracy")
    assert len(val_losses(result)) == 3
    assert result.kept_epoch == 0


def test_history_has_both_splits_of_every_epoch_and_every_batch() -> None:
    result = fitted(new_lesson(), epochs=2)
    assert list(result.epochs.columns) == ["epoch", "split", "loss", "accuracy"]
    assert list(result.steps.columns) == ["step", "epoch", "split", "loss"]
    assert list(zip(result.epochs["epoch"], result.epochs["split"], strict=True)) == [
        (0, "train"),
        (0, "val"),
        (1, "train"),
        (1, "val"),
    ]
    # 12 images make 3 batches to train, 5 make 2 to validate.
    assert result.steps["split"].tolist() == ["train", "train", "train", "val", "val"] * 2
    assert result.steps["step"].tolist() == [1, 2, 3, 3, 3, 4, 5, 6, 6, 6]


def test_epoch_loss_weighs_the_rest_of_the_images_by_its_size() -> None:
    result = fitted(new_lesson(), epochs=1)
    of_four, of_one = result.steps.query("split == 'val'")["loss"]
    assert val_losses(result)[0] == pytest.approx((4 * of_four + of_one) / 5, abs=2e-6)


def test_accuracy_is_the_share_of_right_decisions() -> None:
    lesson = new_lesson()
    result = fitted(lesson, epochs=1)
    images, targets = pictures()
    with torch.inference_mode():
        logits = lesson.classifier.eval()(to_unit_range(torch.from_numpy(images[N_TRAIN:])))
    right = (logits.argmax(dim=1).numpy() == targets[N_TRAIN:]).mean()
    assert result.epochs.query("split == 'val'")["accuracy"].item() == pytest.approx(right)


def test_only_training_images_are_augmented() -> None:
    lesson = new_lesson()._replace(augment=lambda images: torch.full_like(images, 0.25))
    seen: dict[bool, list[Tensor]] = {True: [], False: []}
    lesson.classifier.register_forward_pre_hook(
        lambda classifier, given: seen[classifier.training].append(given[0].clone())
    )
    fitted(lesson, epochs=1)
    assert [len(images) for images in seen[True]] == [4, 4, 4]
    assert all((images == 0.25).all() for images in seen[True])
    raw = to_unit_range(torch.from_numpy(pictures()[0][N_TRAIN:]))
    assert torch.equal(torch.cat(seen[False]), raw)


def test_frozen_parameters_keep_their_bits_and_the_others_change() -> None:
    classifier = (lesson := new_lesson()).classifier
    classifier.backbone.get_submodule("conv1").requires_grad_(False)
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    fitted(lesson, epochs=1)
    unchanged = {n for n, p in classifier.named_parameters() if torch.equal(p, before[n])}
    assert unchanged == {"backbone.conv1.weight", "backbone.conv1.bias"}


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fitted(new_lesson(), epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_the_last_epoch_is_kept_where_that_is_asked() -> None:
    lesson = with_val_losses(new_lesson(), [0.1, 0.1, 0.9, 0.9])  # two batches an epoch
    result = fitted(lesson, keep="last", epochs=2)
    assert val_losses(result) == pytest.approx([0.1, 0.9])
    assert result.kept_epoch == 1


def test_averaged_weights_are_validated_and_kept() -> None:
    plain, averaged = new_lesson("test_resnet"), new_lesson("test_resnet")
    fitted(plain, epochs=2, keep="last")
    result = fitted(averaged, epochs=2, keep="last", ema=0.9)
    assert val_loss_now(averaged.classifier) == pytest.approx(val_losses(result)[-1], rel=1e-4)
    first = "backbone.conv1.0.weight"
    start = new_lesson("test_resnet").classifier.get_parameter(first)
    moved = [(m.classifier.get_parameter(first) - start).norm() for m in (plain, averaged)]
    assert 0 < moved[1] < 0.8 * moved[0]  # a mean over steps lags behind the last


def test_the_last_weights_are_trained_on_whatever_is_averaged() -> None:
    plain, averaged = new_lesson(), new_lesson()
    steps = [
        fitted(lesson, epochs=2, ema=ema).steps for lesson, ema in ((plain, 0), (averaged, 0.9))
    ]
    of_training = [table.query("split == 'train'") for table in steps]
    assert of_training[0].equals(of_training[1])
    assert not steps[0].equals(steps[1])


def test_drawn_classes_are_counted_per_epoch() -> None:
    assert fitted(new_lesson(), epochs=2).drawn == [6.0, 6.0]


def test_training_that_diverges_at_once_is_an_error() -> None:
    lesson = new_lesson()
    torch.nn.init.constant_(lesson.classifier.get_parameter("head.1.bias"), float("nan"))
    expected = (
        r"diverged: .* epoch 0 is nan; the loss of the first batch was none either, .*"
        r"got lr 0\.003 \(adamw, constant\)\); give other initial weights"
    )
    with pytest.raises(UserError, match=expected):
        fitted(lesson)


def test_training_that_a_large_learning_rate_breaks_names_it_and_the_step() -> None:
    lesson, calls = new_lesson(), iter(range(100))

    def broken_from_the_second_batch(logits: Tensor, targets: Tensor) -> Tensor:
        loss = lesson.loss_fn(logits, targets)
        return loss if next(calls) < 1 else loss * float("nan")

    expected = r"epoch 0 is nan, since step 2; got lr 0\.003 \(adamw, constant\); try a smaller lr$"
    with pytest.raises(UserError, match=expected):
        fitted(lesson._replace(loss_fn=broken_from_the_second_batch))


def test_epoch_that_diverges_later_ends_the_training_and_stands_as_nan() -> None:
    lesson, calls = new_lesson(), iter(range(100))

    def broken_from_the_second_epoch(logits: Tensor, targets: Tensor) -> Tensor:
        loss = lesson.loss_fn(logits, targets)
        return loss if next(calls) < 5 else loss * float("nan")  # 3 + 2 batches an epoch

    result = fitted(lesson._replace(loss_fn=broken_from_the_second_epoch))
    assert result.kept_epoch == 0
    assert np.isfinite(val_losses(result)).tolist() == [True, False]
    assert all(p.isfinite().all() for p in lesson.classifier.parameters())
