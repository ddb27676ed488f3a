import numpy as np
import pytest
import torch
from torch.optim import Optimizer

from stages.config.errors import UserError
from stages.modeling.blocks import block_depths
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.freeze import freeze
from stages.modeling.optimizer import (
    average_weights,
    build_optimizer,
    build_schedule,
    phase_steps,
    require_enough_steps,
)
from tests.modeling.recipes import recipe_with


def learning_rates(schedule: str, steps: int) -> list[float]:
    """Of the steps of a training."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    scheduler = build_schedule(optimizer, recipe_with(schedule=schedule, lr=0.1), steps)
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
    recipe = recipe_with(optimizer=optimizer_name, lr=0.1, weight_decay=weight_decay)
    optimizer = build_optimizer(classifier, recipe, {})
    weight.grad = torch.ones(1, 1)
    optimizer.step()
    return optimizer, weight.item()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_one_cycle_moves_the_first_beta_and_leaves_the_second(name: str) -> None:
    classifier = Classifier(torch.nn.Linear(1, 1), torch.nn.Identity(), mean=0, std=1)
    recipe = recipe_with(optimizer=name, beta2=0.99, schedule="onecycle")
    optimizer = build_optimizer(classifier, recipe, {})
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.99)}
    build_schedule(optimizer, recipe, 10)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.95, 0.99)}


def test_biases_and_norms_are_not_decayed() -> None:
    classifier = build_classifier(
        "test_resnet", size=32, head=[16], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )
    decayed, free = build_optimizer(
        classifier, recipe_with(weight_decay=0.5), block_depths(classifier)
    ).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in free["params"]} == {1}


def rates_of_cnn3(optimizer: Optimizer, classifier: Classifier) -> dict[str, float]:
    """The learning rate that each parameter has now, by name."""
    names = {parameter: name for name, parameter in classifier.named_parameters()}
    return {names[p]: g["lr"] for g in optimizer.param_groups for p in g["params"]}


def cnn3(level: str = "all") -> Classifier:
    classifier = build_classifier(
        "cnn3", size=80, head=[4], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )
    freeze(classifier, level)
    return classifier


def test_each_block_learns_by_a_share_of_the_rate_of_the_one_behind_it() -> None:
    classifier, recipe = cnn3(), recipe_with(lr=0.8, layer_decay=0.5)
    rates = rates_of_cnn3(build_optimizer(classifier, recipe, block_depths(classifier)), classifier)
    expected = {"head.1": 0.8, "head.4": 0.8}  # both layers of the head alike
    expected |= {"backbone.conv3": 0.4, "backbone.conv2": 0.2, "backbone.conv1": 0.1}
    assert rates == pytest.approx(
        {f"{name}.{of}": lr for name, lr in expected.items() for of in ("weight", "bias")}
    )


def test_a_frozen_block_has_no_rate_and_the_others_keep_theirs() -> None:
    classifier, recipe = cnn3("last:1"), recipe_with(lr=0.8, layer_decay=0.5)
    optimizer = build_optimizer(classifier, recipe, block_depths(classifier))
    rates = rates_of_cnn3(optimizer, classifier)
    assert {name.rpartition(".")[0]: lr for name, lr in rates.items()} == pytest.approx(
        {"head.1": 0.8, "head.4": 0.8, "backbone.conv3": 0.4}
    )


def test_without_decay_there_are_two_groups_whatever_the_depth() -> None:
    classifier = cnn3()
    optimizer = build_optimizer(classifier, recipe_with(lr=0.8), block_depths(classifier))
    assert [group["lr"] for group in optimizer.param_groups] == [0.8, 0.8]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_the_shares_of_the_blocks_are_the_same_throughout_a_schedule(schedule: str) -> None:
    classifier, recipe = cnn3(), recipe_with(lr=0.8, layer_decay=0.5, schedule=schedule)
    optimizer = build_optimizer(classifier, recipe, block_depths(classifier))
    scheduler = build_schedule(optimizer, recipe, steps=5)
    tops = []
    for _ in range(5):
        rates = rates_of_cnn3(optimizer, classifier)
        head = rates["head.1.bias"]
        tops.append(head)
        assert rates["backbone.conv1.weight"] == pytest.approx(head / 8)
        optimizer.step()
        scheduler.step()
    # The top of a cycle of 5 steps lies between its second and third one.
    assert max(tops) == pytest.approx(0.8, rel=0.3)


def test_averaged_weights_are_the_exponential_mean_of_the_steps() -> None:
    classifier = Classifier(torch.nn.BatchNorm1d(1), torch.nn.Identity(), mean=0.5, std=0.25)
    averaged = average_weights(classifier, 0.75)

    def step(weight: float, statistic: float, counter: int) -> tuple[float, float, int]:
        state = {"weight": [weight], "running_mean": [statistic], "num_batches_tracked": counter}
        tensors = {f"backbone.{name}": torch.tensor(value) for name, value in state.items()}
        classifier.load_state_dict(tensors, strict=False)
        averaged.update_parameters(classifier)
        kept = averaged.module.state_dict()
        return tuple(kept[name].item() for name in tensors)  # type: ignore[return-value]

    assert step(1.0, 4.0, 7) == (1.0, 4.0, 7)  # the first step is copied
    # 1 * 0.75 + 3 * 0.25, 4 * 0.75 + 0 * 0.25; the counter is copied
    assert step(3.0, 0.0, 9) == (1.5, 3.0, 9)


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
    assert learning_rates("constant", 4) == [0.1] * 4


def test_cosine_schedule_falls_along_half_a_cosine() -> None:
    # 0.1 * (1 + cos(pi * step / 4)) / 2
    assert learning_rates("cosine", 4) == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447], abs=1e-6)


def test_onecycle_schedule_rises_to_the_learning_rate_and_falls_below_its_start() -> None:
    rates = learning_rates("onecycle", 20)
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(0.1)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < rates[0] < 0.01


def test_one_cycle_of_a_single_step_is_refused_with_what_to_do() -> None:
    recipe = recipe_with(schedule="onecycle", epochs=1, batch_size=32)
    expected = (
        r"^schedule: got lr 0\.001 \(adamw, onecycle\), 1 epochs of batch_size 32: 1 steps; "
        r"allowed for onecycle: at least 2 steps, .* give more epochs, a smaller batch_size"
    )
    with pytest.raises(UserError, match=expected):
        require_enough_steps(recipe, 1)


def test_the_head_alone_trains_for_the_steps_of_its_epochs() -> None:
    # Four epochs of 7 batches.
    assert phase_steps(recipe_with(epochs=4), 28) == (0, 28)
    assert phase_steps(recipe_with(epochs=4, head_epochs=1), 28) == (7, 21)


@pytest.mark.parametrize("head_epochs", [1, 3])
def test_a_phase_of_a_single_step_is_refused_though_there_are_more_in_all(head_epochs: int) -> None:
    recipe = recipe_with(schedule="onecycle", epochs=4, head_epochs=head_epochs, batch_size=32)
    expected = rf"^schedule: .* 4 epochs \(head_epochs {head_epochs}\) of batch_size 32: 4 steps; "
    with pytest.raises(UserError, match=expected):
        require_enough_steps(recipe, 4)
    require_enough_steps(recipe, 8)


def test_an_average_needs_its_steps_after_the_head_has_trained_alone() -> None:
    # 0.99 ** 19 is 0.83, 0.99 ** 9 is 0.91.
    require_enough_steps(recipe_with(epochs=2, ema=0.99), 20)
    with pytest.raises(UserError, match=r"^ema: got 0\.99; .* would be to 91\.4% those"):
        require_enough_steps(recipe_with(epochs=2, head_epochs=1, ema=0.99), 20)


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 6])
def test_the_shortest_cycles_allowed_come_near_the_learning_rate(steps: int) -> None:
    require_enough_steps(recipe_with(schedule="onecycle"), steps)
    assert max(learning_rates("onecycle", steps)) > 0.75 * 0.1


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_other_schedules_learn_in_their_only_step(schedule: str) -> None:
    require_enough_steps(recipe_with(schedule=schedule), 1)
    assert learning_rates(schedule, 1) == [0.1]


@pytest.mark.parametrize(
    ("ema", "steps", "allowed"),
    # 0.999 ** 99 is 0.906, 0.999 ** 110 is 0.896; after one step there is nothing else to average.
    [
        (0.999, 100, False),
        (0.999, 111, True),
        (0.9, 2, True),
        (0.99, 2, False),
        (0.999999, 1, True),
    ],
)
def test_an_average_that_is_but_the_first_step_is_refused(
    ema: float, steps: int, allowed: bool
) -> None:
    recipe = recipe_with(ema=ema)
    if allowed:
        require_enough_steps(recipe, steps)
    else:
        with pytest.raises(UserError, match=rf"^ema: got {ema:g}; .* allowed here: ema up to 0\.9"):
            require_enough_steps(recipe, steps)
