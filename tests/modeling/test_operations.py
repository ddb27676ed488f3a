import pytest
import timm
import torch
from torch import Tensor, nn

from stages.modeling.classifier import Classifier
from stages.modeling.freeze import freeze
from stages.modeling.operations import Operations, count_operations

# Images of 6 px: 4 x 4 cells of 4 * 1 * 9 products, 2 x 2 of 4 * 9 (depthwise), 16 * 3.
FIRST, DEPTHWISE, LINEAR = 2 * 16 * 36, 2 * 4 * 36, 2 * 48
FORWARD = FIRST + DEPTHWISE + LINEAR


def network() -> Classifier:
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten()
    )
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 3))
    return Classifier(backbone, head, mean=0.5, std=0.2)


def test_operations_by_hand_of_a_network_that_trains_whole() -> None:
    # Backward: each layer once for its weights and, but for the first, once for its inputs.
    step = FORWARD + FIRST + 2 * DEPTHWISE + 2 * LINEAR
    assert count_operations(network(), 6, keeps=False) == (FORWARD, step, FORWARD + LINEAR, 0)


def test_a_frozen_backbone_has_no_backward_pass() -> None:
    head_only = network()
    freeze(head_only, "head")
    step, kept = FORWARD + LINEAR, FIRST + DEPTHWISE
    assert count_operations(head_only, 6, keeps=False) == (FORWARD, step, step, 0)
    assert count_operations(head_only, 6, keeps=True) == (FORWARD, step, step, kept)


def test_counting_leaves_the_network_and_the_random_numbers_as_they_are() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.get_rng_state()
    count_operations(model, 6, keeps=False)
    assert torch.get_rng_state().equal(drawn)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_resnet18_has_the_published_multiplications() -> None:
    # He et al. 2016, table 1: 1.8e9 multiplications and additions at 224 px, with three colours.
    backbone = timm.create_model("resnet18", in_chans=1, num_classes=0)
    counted = count_operations(
        Classifier(backbone, nn.Linear(512, 2), mean=0.0, std=1.0), 224, keeps=False
    )
    assert counted is not None
    colours = 2 * 112 * 112 * 64 * 49 * 2  # the two that are not there
    assert (counted.forward + colours) / 2 == pytest.approx(1.8e9, rel=0.02)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_networks_of_other_kinds_are_counted(name: str) -> None:
    backbone = timm.create_model(name, in_chans=1, num_classes=0)
    size = backbone.default_cfg["input_size"][-1]
    head = nn.Linear(backbone.num_features, 2)
    counted = count_operations(Classifier(backbone, head, mean=0.0, std=1.0), size, keeps=False)
    assert counted is not None
    assert 2.5 * counted.forward < counted.step < 3 * counted.forward


class _LooksAtValues(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if float(images.max()) > 0 else -images.flatten(1)


def test_a_network_that_looks_at_values_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    model = Classifier(_LooksAtValues(), nn.Linear(36, 2), mean=0.0, std=1.0)
    assert count_operations(model, 6, keeps=False) is None
    assert "operations are not counted" in caplog.text


def test_a_training_is_the_sum_of_what_its_images_cost() -> None:
    # An image: 10 forward, 30 with backward, 11 where the head alone trains; 4 of the forward pass
    # lie in front of the boundary.
    whole, cached = Operations(10, 30, 11, 0), Operations(10, 30, 11, 4)
    asked = {"drawn": 5, "validated": 2, "epochs": 3}
    assert whole.of_training(**asked, head_epochs=0, kept=12) == 3 * (5 * 30 + 2 * 10)
    assert cached.of_training(**asked, head_epochs=0, kept=12) == 3 * (5 * 26 + 2 * 6) + 12 * 4
    assert whole.of_training(**asked, head_epochs=1, kept=12) == 5 * (11 + 2 * 30) + 3 * 2 * 10
    assert cached.of_training(**asked, head_epochs=1, kept=12) == 5 * 59 + 3 * 12 + 12 * 4
