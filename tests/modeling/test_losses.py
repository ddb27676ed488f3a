import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from stages.config.errors import UserError
from stages.config.params import BinaryCrossEntropy, CrossEntropy, Focal, WeightedCrossEntropy
from stages.modeling.losses import (
    LossFunction,
    balanced_class_weights,
    build_loss,
    focal_loss,
    sigmoid_focal_loss,
)
from stages.modeling.outputs import Outputs

# Softmax of (2, 0): p = 1 / (1 + e^-2) = 0.880797 and 0.119203;
# -log p = 0.126928 for the first class, 2 + 0.126928 for the second.
TWO_LOGITS = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
TWO_TARGETS = torch.tensor([0, 1])
LOSSES = (0.126928, 2.126928)
FACTORS = (0.119203**2, 0.880797**2)  # (1 - p_t)^2

# Sigmoids of the logits of covid, pneumonia, normal: 0.75, 0.5, 0.25.
LABEL_LOGITS = torch.tensor([[math.log(3), 0.0, -math.log(3)]])
THREE = ("covid", "pneumonia", "normal")
LABELS = Outputs(THREE, positive=0, one_logit=False, implies={"covid": ["pneumonia"]})
COVID, NORMAL = torch.tensor([0]), torch.tensor([2])  # labels 1 1 0 and 0 0 1
LOG_3_4, LOG_1_2, LOG_1_4 = math.log(0.75), math.log(0.5), math.log(0.25)


def classes(count: int) -> Outputs:
    return Outputs(tuple("abc")[:count], positive=0, one_logit=False, implies={})


def cross_entropy(label_smoothing: float = 0.0) -> LossFunction:
    loss = CrossEntropy(kind="ce", label_smoothing=label_smoothing)
    return build_loss(loss, classes(2), [1, 1])


def weighted(class_counts: list[int], label_smoothing: float = 0.0) -> LossFunction:
    loss = WeightedCrossEntropy(kind="weighted_ce", label_smoothing=label_smoothing)
    return build_loss(loss, classes(len(class_counts)), class_counts)


def binary(outputs: Outputs, label_smoothing: float = 0.0) -> LossFunction:
    loss = BinaryCrossEntropy(kind="bce", label_smoothing=label_smoothing)
    return build_loss(loss, outputs, [1] * len(outputs.class_names))


def one_logit_loss(positive: int, label_smoothing: float = 0.0) -> LossFunction:
    outputs = Outputs(("a", "b"), positive, one_logit=True, implies={})
    return binary(outputs, label_smoothing)


def focal(gamma: float, alpha: float | None = None, outputs: Outputs | None = None) -> LossFunction:
    loss = Focal(kind="focal", gamma=gamma, alpha=alpha)
    return build_loss(loss, outputs or classes(2), [1, 1])


def some_logits(classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20, classes, generator=generator)
    return logits, torch.randint(classes, (20,), generator=generator)


def test_cross_entropy_of_two_logits_is_the_value_worked_by_hand() -> None:
    loss = cross_entropy()(TWO_LOGITS, TWO_TARGETS)
    assert loss.item() == pytest.approx(sum(LOSSES) / 2, abs=1e-5)


def test_smoothed_cross_entropy_is_the_value_worked_by_hand() -> None:
    # Smoothing 0.2 of two classes: targets 0.9 and 0.1.
    loss = cross_entropy(label_smoothing=0.2)(TWO_LOGITS[:1], TWO_TARGETS[:1])
    assert loss.item() == pytest.approx(0.9 * LOSSES[0] + 0.1 * LOSSES[1], abs=1e-5)


def test_weighted_cross_entropy_is_the_weighted_mean_worked_by_hand() -> None:
    # 3 + 1 images: weights 4 / (2 * 3) and 4 / (2 * 1), which is 1 : 3.
    loss = weighted([3, 1])(TWO_LOGITS, TWO_TARGETS)
    assert loss.item() == pytest.approx((LOSSES[0] + 3 * LOSSES[1]) / 4, abs=1e-5)


def test_smoothed_weighted_cross_entropy_is_the_value_worked_by_hand() -> None:
    # Targets 0.9 and 0.1, each times the weight of its class (1 : 3), over that of the true class.
    loss = weighted([3, 1], label_smoothing=0.2)(TWO_LOGITS[:1], TWO_TARGETS[:1])
    assert loss.item() == pytest.approx(0.9 * LOSSES[0] + 3 * 0.1 * LOSSES[1], abs=1e-5)


def test_weighted_cross_entropy_of_equal_classes_is_cross_entropy() -> None:
    logits, targets = some_logits(classes=2)
    torch.testing.assert_close(
        weighted([7, 7])(logits, targets), cross_entropy()(logits, targets), atol=1e-6, rtol=0
    )


def test_class_weights_are_those_that_scikit_learn_calls_balanced() -> None:
    targets = np.repeat([0, 1, 2], [5, 1, 12])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    weights = balanced_class_weights([5, 1, 12], THREE)
    assert weights.tolist() == pytest.approx(expected.tolist())


def test_class_without_training_images_has_no_weight() -> None:
    with pytest.raises(UserError, match=r"weighted_ce: got .*: a 4, b 0, c 2; allowed: at least"):
        weighted([4, 0, 2])


@pytest.mark.parametrize(("positive", "expected"), [(0, LOSSES[0]), (1, LOSSES[1])])
def test_binary_cross_entropy_of_one_logit_is_the_value_worked_by_hand(
    positive: int, expected: float
) -> None:
    # The image is of class 0 and the logit of the positive class is 2.
    loss = one_logit_loss(positive)(torch.tensor([[2.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


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
        one_logit_loss(positive=1, label_smoothing=0.2)(one, targets),
        cross_entropy(label_smoothing=0.2)(two, targets),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(COVID, -(LOG_3_4 + LOG_1_2 + LOG_3_4) / 3), (NORMAL, -(LOG_1_4 + LOG_1_2 + LOG_1_4) / 3)],
    ids=["covid", "normal"],
)
def test_binary_cross_entropy_of_labels_is_the_mean_over_all_labels(
    targets: Tensor, expected: float
) -> None:
    loss = binary(LABELS)(LABEL_LOGITS, targets)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_smoothed_binary_cross_entropy_of_labels_is_the_value_worked_by_hand() -> None:
    # Labels 0.9, 0.9, 0.1: the first and the third logit cost the same, the second log 2.
    loss = binary(LABELS, label_smoothing=0.2)(LABEL_LOGITS, COVID)
    outer = -(0.9 * LOG_3_4 + 0.1 * LOG_1_4)
    assert loss.item() == pytest.approx((2 * outer - LOG_1_2) / 3, abs=1e-6)


def test_focal_loss_per_image_is_the_value_worked_by_hand() -> None:
    per_image = focal_loss(TWO_LOGITS, TWO_TARGETS, gamma=2.0, alpha=None, positive=0)
    expected = [factor * loss for factor, loss in zip(FACTORS, LOSSES, strict=True)]
    assert per_image.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("positive", "alphas"), [(0, (0.25, 0.75)), (1, (0.75, 0.25))])
def test_alpha_weighs_the_positive_class_and_its_rest_the_others(
    positive: int, alphas: tuple[float, float]
) -> None:
    per_image = focal_loss(TWO_LOGITS, TWO_TARGETS, gamma=2.0, alpha=0.25, positive=positive)
    expected = [a * factor * loss for a, factor, loss in zip(alphas, FACTORS, LOSSES, strict=True)]
    assert per_image.tolist() == pytest.approx(expected, abs=1e-5)


def test_focal_of_a_case_takes_alpha_and_the_positive_class_and_averages_last() -> None:
    loss = focal(2.0, alpha=0.25)(TWO_LOGITS, TWO_TARGETS)
    expected = (0.25 * FACTORS[0] * LOSSES[0] + 0.75 * FACTORS[1] * LOSSES[1]) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-5)


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


def test_focal_of_labels_is_the_value_worked_by_hand() -> None:
    # covid: what is true has the probabilities 3/4, 1/2, 3/4; factors 1/16, 1/4, 1/16.
    loss = focal(2.0, outputs=LABELS)(LABEL_LOGITS, COVID)
    assert loss.item() == pytest.approx(-(LOG_3_4 / 16 + LOG_1_2 / 4 + LOG_3_4 / 16) / 3, abs=1e-6)


def test_alpha_of_labels_weighs_those_present_and_its_rest_those_absent() -> None:
    # normal: 1/4, 1/2, 1/4 with factors 9/16, 1/4, 9/16; only the third label is present.
    loss = focal(2.0, alpha=0.2, outputs=LABELS)(LABEL_LOGITS, NORMAL)
    expected = 0.8 * LOG_1_4 * 9 / 16 + 0.8 * LOG_1_2 / 4 + 0.2 * LOG_1_4 * 9 / 16
    assert loss.item() == pytest.approx(-expected / 3, abs=1e-6)


def test_focal_factor_weighs_each_label_and_not_the_mean_of_an_image() -> None:
    loss = focal(2.0, outputs=LABELS)(LABEL_LOGITS, COVID).item()
    mean = binary(LABELS)(LABEL_LOGITS, COVID).item()
    on_the_mean = (1 - math.exp(-mean)) ** 2 * mean
    assert abs(loss - on_the_mean) > 0.01  # 0.070 against 0.050


def test_focal_of_labels_with_gamma_zero_equals_binary_cross_entropy() -> None:
    logits, targets = some_logits(classes=3)
    torch.testing.assert_close(
        focal(0.0, outputs=LABELS)(logits, targets),
        binary(LABELS)(logits, targets),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_of_labels_equals_that_of_torchvision(alpha: float | None) -> None:
    logits, targets = some_logits(classes=3)
    labels = LABELS.label_targets(targets)
    expected = torchvision_focal_loss(logits, labels, alpha=alpha or -1, gamma=1.5).mean(dim=1)
    torch.testing.assert_close(sigmoid_focal_loss(logits, labels, gamma=1.5, alpha=alpha), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 20.0])
@pytest.mark.parametrize("size", [20.0, 1e4])
@pytest.mark.parametrize("outputs", [classes(3), LABELS], ids=["classes", "labels"])
def test_focal_gradients_are_finite_where_the_network_is_certain(
    gamma: float, size: float, outputs: Outputs
) -> None:
    certain = [size, -size, -size]
    logits = torch.tensor([certain, certain, [0.0, 0.0, 0.0]], requires_grad=True)
    loss = focal(gamma, alpha=0.3, outputs=outputs)(logits, torch.tensor([0, 1, 0]))
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


def test_focal_gradient_at_right_and_certain_labels_is_zero() -> None:
    logits = torch.tensor([[100.0, 100.0, -100.0]], requires_grad=True)
    focal(0.5, outputs=LABELS)(logits, COVID).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12
