"""Depthwise convolutions that a CPU trains faster in fp32 than in bf16."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stages.modeling.compute import Hardware

DEVICE = "cpu"


@contextmanager
def fast_depthwise(network: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Compute those whose backward pass bf16 slows down in fp32, under autocast on a CPU.

    oneDNN has no fast backward pass in bf16 for a depthwise convolution with a stride or a kernel
    beyond 3 x 3: for 96 channels of 96 px it took 115 ms where fp32 took 29, and EfficientNet-Lite0
    at 192 px trained at 27 images per second instead of 52 (torch 2.15, Zen 4). Where none is to
    be run, in validation and in layers with nothing to train in or before them, bf16 stays.

    Args:
        network: whose layers of that kind are meant; in the end it is as it was.
        hardware: what it runs on.
    """
    with ExitStack() as hooks:
        if hardware == Hardware(DEVICE, "bf16"):
            for layer in filter(_is_slow, network.modules()):
                hooks.enter_context(layer.register_forward_pre_hook(_leave_autocast))
                hooks.enter_context(layer.register_forward_hook(_enter_autocast))
        yield


def _is_slow(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or not 1 < layer.groups == layer.in_channels:
        return False
    return max(layer.stride) > 1 or max(layer.kernel_size) > 3


def _leave_autocast(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    if not _has_backward_pass(layer, inputs):
        return None
    torch.set_autocast_enabled(DEVICE, False)
    return tuple(one.float() for one in inputs)


def _enter_autocast(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
    if not _has_backward_pass(layer, inputs):
        return None
    torch.set_autocast_enabled(DEVICE, True)
    return output.bfloat16()


def _has_backward_pass(layer: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    tensors = (*inputs, *layer.parameters())
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
