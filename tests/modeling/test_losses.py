import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.config.params import BinaryCrossEntropy, CrossEntropy, Focal
from stages.modeling.losses import LossFunction, binary_cross_entropy, build_loss, focal_loss

# Softmax of (2, 0): p = 1 / (1 + e^-2) = 0.880797 and 0.119203;
# -log p = 0.126928 for the first class, 2 + 0.126928 for the second.
TWO_LOGITS = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
TWO_TARGETS = torch.tensor([0, 1])
LOSSES = (0.126928, 2.126928)
FACTORS = (0.119203**2, 0.880797**2)  # (1 - p_t)^2


def cross_entropy(label_smoothing: float = 0.0) -> LossFunction:
    return build_loss(CrossEntropy(name="ce", label_smoothing=label_smoothing), positive=0)


def one_logit_loss(positive: int, label_smoothing: float = 0.0) -> LossFunction:
    loss = BinaryCrossEntropy(name="bce", label_smoothing=label_smoothing)
    return build_loss(loss, positive=positive)


def focal(gamma: float) -> LossFunction:
    return build_loss(Focal(name="focal", gamma=gamma), positive=0)


def some_logits(classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20, classes, generator=generator)
    return logits, torch.randint(classes, (20,), generator=generator)


def test_cross_entropy_of_two_logits_is_the_value_worked_by_hand() -> None:
    loss = cross_entropy()(TWO_LOGITS, TWO_TARGETS)
    assert loss.item() == pytest.approx(sum(LOSSES) / 2, abs=1e-5)


@pytest.mark.parametrize(("positive", "expected"), [(0, LOSSES[0]), (1, LOSSES[1])])
def test_binary_cross_entropy_of_one_logit_is_the_value_worked_by_hand(
    positive: int, expected: float
) -> None:
    # The image is of class 0 and the logit of the positive class is 2.
    loss = one_logit_loss(positive)(torch.tensor([[2.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_focal_loss_per_image_is_the_value_worked_by_hand() -> None:
    per_image = focal_loss(TWO_LOGITS, TWO_TARGETS, gamma=2.0)
    expected = [factor * loss for factor, loss in zip(FACTORS, LOSSES, strict=True)]
    assert per_image.tolist() == pytest.approx(expected, abs=1e-5)


def test_focal_with_gamma_zero_equals_cross_entropy() -> None:
    logits, targets = some_logits(classes=3)
    torch.testing.assert_close(
        focal(0.0)(logits, targets), cross_entropy()(logits, targets), atol=1e-6, rtol=0
    )


def test_focal_factor_weighs_each_image_and_not_the_mean_of_the_batch() -> None:
    loss = focal(2.0)(TWO_LOGITS, TWO_TARGETS).item()
    per_image = sum(factor * loss for factor, loss in zip(FACTORS, LOSSES, strict=True)) / 2
    mean = sum(LOSSES) / 2
    on_the_mean = (1 - math.exp(-mean)) ** 2 * mean
    assert loss == pytest.approx(per_image, abs=1e-5)
    assert abs(loss - on_the_mean) > 0.3  # 0.826 against 0.516


@pytest.mark.parametrize("positive", [0, 1])
def test_one_logit_equals_two_logits_of_which_the_negative_one_is_zero(positive: int) -> None:
    logits, targets = some_logits(classes=2)
    one = logits[:, :1]
    two = torch.zeros(20, 2)
    two[:, positive] = one[:, 0]
    torch.testing.assert_close(
        one_logit_loss(positive)(one, targets), cross_entropy()(two, targets), atol=1e-6, rtol=0
    )


def test_smoothing_of_one_logit_equals_smoothing_of_two_classes() -> None:
    logits, targets = some_logits(classes=2)
    one, two = logits[:, :1], torch.cat([torch.zeros(20, 1), logits[:, :1]], dim=1)
    torch.testing.assert_close(
        binary_cross_entropy(one, targets, positive=1, label_smoothing=0.2),
        functional.cross_entropy(two, targets, label_smoothing=0.2),
        atol=1e-6,
        rtol=0,
    )


def test_smoothed_cross_entropy_is_the_value_worked_by_hand() -> None:
    # Smoothing 0.2 of two classes: targets 0.9 and 0.1.
    loss = cross_entropy(label_smoothing=0.2)(TWO_LOGITS[:1], TWO_TARGETS[:1])
    assert loss.item() == pytest.approx(0.9 * LOSSES[0] + 0.1 * LOSSES[1], abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 20.0])
@pytest.mark.parametrize("size", [20.0, 1e4])
def test_focal_gradients_are_finite_where_the_network_is_certain(gamma: float, size: float) -> None:
    logits = torch.tensor([[size, -size], [size, -size], [0.0, 0.0]], requires_grad=True)
    loss = focal(gamma)(logits, torch.tensor([0, 1, 0]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[2].abs().sum() > 0


def test_focal_gradient_at_a_right_and_certain_image_is_zero() -> None:
    logits = torch.tensor([[100.0, -100.0]], requires_grad=True)
    focal(0.5)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12
