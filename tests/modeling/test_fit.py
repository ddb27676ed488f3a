from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from stages.config.errors import UserError
from stages.config.params import Augmentation, CrossEntropy
from stages.modeling.augment import Augmenter
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range, train_loader
from stages.modeling.fit import (
    FitResult,
    FitSettings,
    TrainingModule,
    average_weights,
    build_optimizer,
    build_schedule,
    fit,
)
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs

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
SETTINGS = FitSettings(
    optimizer="adamw",
    lr=3e-3,
    weight_decay=0.01,
    schedule="constant",
    epochs=4,
    patience=4,
    keep="best",
    ema=0.0,
    seed=0,
)


@pytest.fixture(autouse=True)
def _deterministic_mode_is_put_back() -> Iterator[None]:
    was = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(was)


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise, dark in class 0 and bright in class 1."""
    count = N_TRAIN + N_VAL
    noise = np.random.default_rng(0).integers(0, 156, (count, SIDE, SIDE), dtype=np.uint8)
    targets = np.arange(count, dtype=np.int64) % 2
    return noise + (100 * targets).astype(np.uint8)[:, None, None], targets


def new_module(settings: FitSettings = SETTINGS, model: str = "cnn3") -> TrainingModule:
    torch.manual_seed(settings.seed)  # of the weights, and then of the dropout
    classifier = build_classifier(
        model, size=SIDE, head=[16], outputs=2, dropout=0.2, mean=0.5, std=0.25
    )
    outputs = Outputs(("a", "b"), positive=0, one_logit=False, implies={})
    return TrainingModule(
        classifier,
        build_loss(CrossEntropy(name="ce", label_smoothing=0.0), outputs, [6, 6]),
        outputs,
        Augmenter(LIGHT, torch.Generator().manual_seed(settings.seed)),
        settings,
    )


def trained(module: TrainingModule) -> FitResult:
    images, targets = pictures()
    rows = np.arange(len(images))
    train = ImageRows(images, targets, rows[:N_TRAIN])
    val = ImageRows(images, targets, rows[N_TRAIN:])
    return fit(
        module,
        train_loader(train, batch_size=BATCH_SIZE, sampler="none", seed=module.settings.seed),
        ordered_loader(val, batch_size=BATCH_SIZE),
        hardware=Hardware("cpu", "fp32"),
    )


def val_losses(result: FitResult) -> list[float]:
    return list(result.epochs.query("split == 'val'")["loss"])


def val_loss_now(classifier: Classifier) -> float:
    images, targets = pictures()
    with torch.inference_mode():
        logits = classifier.eval()(to_unit_range(torch.from_numpy(images[N_TRAIN:])))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets[N_TRAIN:]))
    return loss.item()


def prescribe_val_losses(module: TrainingModule, of_batches: list[float]) -> None:
    """Let validation batches have these losses; training goes on as it is."""
    loss_fn, left = module.loss_fn, iter(of_batches)

    def prescribed(logits: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return loss_fn(logits, targets)
        return torch.tensor(next(left))

    module.loss_fn = prescribed


def one_parameter(schedule: str, steps: int) -> list[float]:
    """Learning rates of the steps of a training."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    scheduler = build_schedule(optimizer, SETTINGS._replace(schedule=schedule, lr=0.1), steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def updated_weight(optimizer_name: str, weight_decay: float) -> tuple[Optimizer, float]:
    """A weight of 1 after one step at lr 0.1 with gradient 1."""
    classifier = Classifier(torch.nn.Linear(1, 1, bias=False), torch.nn.Identity(), mean=0, std=1)
    weight = classifier.get_parameter("backbone.weight")
    torch.nn.init.ones_(weight)
    settings = SETTINGS._replace(optimizer=optimizer_name, lr=0.1, weight_decay=weight_decay)
    optimizer = build_optimizer(classifier, settings)
    weight.grad = torch.ones(1, 1)
    optimizer.step()
    return optimizer, weight.item()


@pytest.mark.parametrize("model", ["cnn3", "test_resnet"])
def test_training_twice_gives_the_same_bits(model: str) -> None:
    states: list[dict[str, Tensor]] = []
    results = []
    for _ in range(2):
        module = new_module(SETTINGS._replace(epochs=2), model)
        results.append(trained(module))
        states.append(module.classifier.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert results[0].steps.equals(results[1].steps)


def test_another_seed_gives_other_weights() -> None:
    settings = SETTINGS._replace(epochs=1)
    one, other = new_module(settings), new_module(settings._replace(seed=1))
    trained(one)
    trained(other)
    weights = [m.classifier.get_parameter("backbone.conv1.weight") for m in (one, other)]
    assert not torch.equal(*weights)


def test_epoch_of_the_lowest_validation_loss_is_kept() -> None:
    module = new_module(SETTINGS._replace(lr=5e-4))
    loss_fn, batches = module.loss_fn, iter(range(100))

    def unlearning_from_the_third_epoch(logits: Tensor, targets: Tensor) -> Tensor:
        loss = loss_fn(logits, targets)
        is_late = torch.is_grad_enabled() and next(batches) >= 6  # 3 training batches an epoch
        return -50 * loss if is_late else loss  # large enough to turn the momentum at once

    module.loss_fn = unlearning_from_the_third_epoch
    result = trained(module)
    losses = val_losses(result)
    assert len(losses) == 4
    assert result.kept_epoch == int(np.argmin(losses)) == 1
    assert losses[3] > losses[1] + 0.05
    assert val_loss_now(module.classifier) == pytest.approx(losses[1], abs=1e-5)


def test_validation_loss_that_chooses_the_epoch_weighs_images_and_not_batches() -> None:
    # Batches of 4 and 1 images. Means over images: 0.8, then 0.7; over batches: 0.5, then 1.0.
    module = new_module(SETTINGS._replace(epochs=2))
    prescribe_val_losses(module, [1.0, 0.0, 0.5, 1.5])
    result = trained(module)
    assert val_losses(result) == pytest.approx([0.8, 0.7])
    assert result.kept_epoch == 1


def test_training_stops_when_patience_is_at_its_end() -> None:
    # A step too small to change a float: epoch 0 stays the best, epochs 1 and 2 do not improve.
    settings = SETTINGS._replace(optimizer="sgd", lr=1e-30, epochs=9, patience=2, weight_decay=0)
    result = trained(new_module(settings))
    assert val_losses(result) == [val_losses(result)[0]] * 3
    assert result.kept_epoch == 0


def test_history_has_both_splits_of_every_epoch_and_every_batch() -> None:
    result = trained(new_module(SETTINGS._replace(epochs=2)))
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
    result = trained(new_module(SETTINGS._replace(epochs=1)))
    of_four, of_one = result.steps.query("split == 'val'")["loss"]
    assert val_losses(result)[0] == pytest.approx((4 * of_four + of_one) / 5, abs=2e-6)


def test_accuracy_is_the_share_of_right_decisions() -> None:
    module = new_module(SETTINGS._replace(epochs=1))
    result = trained(module)
    images, targets = pictures()
    with torch.inference_mode():
        logits = module.classifier.eval()(to_unit_range(torch.from_numpy(images[N_TRAIN:])))
    right = (logits.argmax(dim=1).numpy() == targets[N_TRAIN:]).mean()
    assert result.epochs.query("split == 'val'")["accuracy"].item() == pytest.approx(right)


def test_only_training_images_are_augmented() -> None:
    module = new_module(SETTINGS._replace(epochs=1))
    module.augment = lambda images: torch.full_like(images, 0.25)
    seen: dict[bool, list[Tensor]] = {True: [], False: []}
    module.classifier.register_forward_pre_hook(
        lambda classifier, given: seen[classifier.training].append(given[0].clone())
    )
    trained(module)
    assert [len(images) for images in seen[True]] == [4, 4, 4]
    assert all((images == 0.25).all() for images in seen[True])
    raw = to_unit_range(torch.from_numpy(pictures()[0][N_TRAIN:]))
    assert torch.equal(torch.cat(seen[False]), raw)


def test_frozen_parameters_keep_their_bits_and_the_others_change() -> None:
    module = new_module(SETTINGS._replace(epochs=1))
    module.classifier.backbone.get_submodule("conv1").requires_grad_(False)
    before = {name: p.detach().clone() for name, p in module.classifier.named_parameters()}
    trained(module)
    unchanged = {n for n, p in module.classifier.named_parameters() if torch.equal(p, before[n])}
    assert unchanged == {"backbone.conv1.weight", "backbone.conv1.bias"}


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained(new_module(SETTINGS._replace(epochs=1)))
    assert list(tmp_path.iterdir()) == []


def test_the_last_epoch_is_kept_where_that_is_asked() -> None:
    module = new_module(SETTINGS._replace(keep="last", epochs=2))
    prescribe_val_losses(module, [0.1, 0.1, 0.9, 0.9])  # two batches an epoch
    result = trained(module)
    assert val_losses(result) == pytest.approx([0.1, 0.9])
    assert result.kept_epoch == 1


def test_averaged_weights_are_the_exponential_mean_of_the_steps() -> None:
    weight, statistic, counter = torch.tensor([1.0]), torch.tensor([4.0]), torch.tensor([7])
    average = average_weights(0.75)._kwargs["multi_avg_fn"]
    # 1 * 0.75 + 3 * 0.25, 4 * 0.75 + 0 * 0.25; the counter is copied
    average([weight, statistic], [torch.tensor([3.0]), torch.tensor([0.0])], torch.tensor(1))
    average([counter], [torch.tensor([9])], torch.tensor(1))
    assert (weight.item(), statistic.item(), counter.item()) == (1.5, 3.0, 9)


def test_averaged_weights_are_validated_and_kept() -> None:
    plain, averaged = (
        new_module(SETTINGS._replace(epochs=2, keep="last", ema=ema), "test_resnet")
        for ema in (0.0, 0.9)
    )
    trained(plain)
    result = trained(averaged)
    assert val_loss_now(averaged.classifier) == pytest.approx(val_losses(result)[-1], rel=1e-4)
    first = "backbone.conv1.0.weight"
    start = new_module(SETTINGS, "test_resnet").classifier.get_parameter(first)
    moved = [(m.classifier.get_parameter(first) - start).norm() for m in (plain, averaged)]
    assert 0 < moved[1] < 0.8 * moved[0]  # a mean over steps lags behind the last


def test_drawn_classes_are_counted_per_epoch() -> None:
    module = new_module(SETTINGS._replace(epochs=2))
    assert trained(module).drawn == [6.0, 6.0]


def test_biases_and_norms_are_not_decayed() -> None:
    module = new_module(SETTINGS._replace(weight_decay=0.5), "test_resnet")
    optimizer = build_optimizer(module.classifier, module.settings)
    decayed, free = optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in free["params"]} == {1}


def test_training_that_diverges_at_once_is_an_error() -> None:
    module = new_module()
    torch.nn.init.constant_(module.classifier.get_parameter("head.1.bias"), float("nan"))
    with pytest.raises(UserError, match=r"diverged: .* epoch 0 is nan; got lr 0\.003 \(adamw\)"):
        trained(module)


def test_epoch_that_diverges_later_ends_the_training_and_stands_as_nan() -> None:
    module = new_module()
    loss_fn, calls = module.loss_fn, iter(range(100))

    def broken_from_the_second_epoch(logits: Tensor, targets: Tensor) -> Tensor:
        loss = loss_fn(logits, targets)
        return loss if next(calls) < 5 else loss * float("nan")  # 3 + 2 batches an epoch

    module.loss_fn = broken_from_the_second_epoch
    result = trained(module)
    assert result.kept_epoch == 0
    assert np.isfinite(val_losses(result)).tolist() == [True, False]
    assert all(p.isfinite().all() for p in module.classifier.parameters())


@pytest.mark.parametrize(
    ("optimizer", "weight_decay", "expected"),
    [
        ("sgd", 0.0, 0.9),  # 1 - 0.1 * 1
        ("sgd", 0.5, 0.85),  # 1 - 0.1 * (1 + 0.5 * 1)
        ("adam", 0.0, 0.9),  # the first step has the size of lr
        ("adam", 0.5, 0.9),  # decay is part of the gradient, whose size does not matter
        ("adamw", 0.5, 0.85),  # (1 - 0.1 * 0.5) - 0.1
    ],
)
def test_first_step_of_an_optimizer_is_the_one_worked_by_hand(
    optimizer: str, weight_decay: float, expected: float
) -> None:
    built, weight = updated_weight(optimizer, weight_decay)
    assert type(built).__name__.lower() == optimizer
    assert weight == pytest.approx(expected, abs=1e-6)


def test_sgd_has_momentum() -> None:
    optimizer, _ = updated_weight("sgd", 0.0)
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_constant_schedule_keeps_the_learning_rate() -> None:
    assert one_parameter("constant", 4) == [0.1] * 4


def test_cosine_schedule_falls_along_half_a_cosine() -> None:
    # 0.1 * (1 + cos(pi * step / 4)) / 2
    assert one_parameter("cosine", 4) == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447], abs=1e-6)


def test_onecycle_schedule_rises_to_the_learning_rate_and_falls_below_its_start() -> None:
    rates = one_parameter("onecycle", 20)
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(0.1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < rates[0] < 0.01
