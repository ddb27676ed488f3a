import numpy as np
import pytest
import torch
from torch.optim import Optimizer

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.optimizer import (
    average_weights,
    build_optimizer,
    build_schedule,
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
    optimizer = build_optimizer(classifier, recipe)
    weight.grad = torch.ones(1, 1)
    optimizer.step()
    return optimizer, weight.item()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_one_cycle_moves_the_first_beta_and_leaves_the_second(name: str) -> None:
    classifier = Classifier(torch.nn.Linear(1, 1), torch.nn.Identity(), mean=0, std=1)
    recipe = recipe_with(optimizer=name, beta2=0.99, schedule="onecycle")
    optimizer = build_optimizer(classifier, recipe)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.99)}
    build_schedule(optimizer, recipe, 10)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.95, 0.99)}


def test_biases_and_norms_are_not_decayed() -> None:
    classifier = build_classifier(
        "test_resnet", size=32, head=[16], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )
    decayed, free = build_optimizer(classifier, recipe_with(weight_decay=0.5)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in free["params"]} == {1}


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
