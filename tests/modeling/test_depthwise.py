import pytest
import torch
from torch import nn

from stages.modeling.compute import Hardware
from stages.modeling.depthwise import fast_depthwise

BF16 = Hardware("cpu", "bf16")
IMAGES = torch.rand(2, 6, 9, 9, generator=torch.Generator().manual_seed(1))


def depthwise(**options: int) -> nn.Conv2d:
    return nn.Conv2d(6, 6, groups=6, **options)


@pytest.mark.parametrize(
    "options", [{"kernel_size": 3, "stride": 2}, {"kernel_size": 5}, {"kernel_size": 7}]
)
def test_slow_depthwise_layers_train_in_fp32_and_hand_on_bf16(options: dict[str, int]) -> None:
    layer = depthwise(**options)
    network = nn.Sequential(layer, nn.Conv2d(6, 2, 1))
    with fast_depthwise(network, BF16), BF16.autocast():
        inside = layer(IMAGES)
        after = network(IMAGES)
    assert inside.dtype == after.dtype == torch.bfloat16
    assert torch.equal(inside, layer(IMAGES).bfloat16())


@pytest.mark.parametrize(
    "layer",
    [
        depthwise(kernel_size=3),
        nn.Conv2d(6, 6, 5, stride=2),
        nn.Conv2d(6, 6, 5, stride=2, groups=2),
    ],
    ids=["3 x 3", "dense", "grouped"],
)
def test_other_layers_stay_in_bf16(layer: nn.Conv2d) -> None:
    with BF16.autocast():
        before = layer(IMAGES)
        with fast_depthwise(nn.Sequential(layer), BF16):
            assert torch.equal(layer(IMAGES), before)
    assert not torch.equal(before, layer(IMAGES).bfloat16())


def test_predictions_are_computed_as_without() -> None:
    layer = depthwise(kernel_size=5)
    with torch.inference_mode(), BF16.autocast():
        before = layer(IMAGES)
        with fast_depthwise(nn.Sequential(layer), BF16):
            assert torch.equal(layer(IMAGES), before)


def test_a_frozen_layer_behind_nothing_that_trains_stays_in_bf16() -> None:
    layer = depthwise(kernel_size=5).requires_grad_(False)
    with BF16.autocast():
        before = layer(IMAGES)
        with fast_depthwise(nn.Sequential(layer), BF16):
            assert torch.equal(layer(IMAGES), before)
            behind = layer(IMAGES.clone().requires_grad_())
    assert not torch.equal(behind, before)
    assert torch.equal(behind, layer(IMAGES).bfloat16())


def test_fp32_is_left_alone_and_no_hook_stays() -> None:
    layer = depthwise(kernel_size=5)
    with fast_depthwise(layer, Hardware("cpu", "fp32")):
        assert layer(IMAGES).dtype == torch.float32
    with pytest.raises(RuntimeError, match="stopped"), fast_depthwise(layer, BF16):
        raise RuntimeError("stopped")
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
