"""Batch normalisation by the statistics of a batch that several processes share.

torch's `SyncBatchNorm` computes on GPUs alone, and is a module that would have to take the place of
every kind of batch normalisation (timm has its own, with activation). All of these call
`torch.nn.functional.batch_norm`, in whose place the function here comes while a training step goes
forward: the same on CPUs and GPUs. The gradient is that of Ioffe and Szegedy 2015, "Batch
Normalization", section 3, with the two sums over the batch taken over all processes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class WholeBatchNorm(TorchFunctionMode):
    """A context in which batch normalisation in training looks at the batch of all processes.

    All of them must go through the same network at once.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Take calls of `batch_norm`, and pass on all others."""
        func = _batch_norm if func is functional.batch_norm else func
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
    whole = _statistics(input.detach())
    if running_mean is not None:
        running_mean.lerp_(whole.mean, momentum)
    if running_var is not None:
        running_var.lerp_(whole.variance * (whole.pixels / (whole.pixels - 1)), momentum)
    inverse_std = torch.rsqrt(whole.variance + eps)
    scaled: Tensor = _Normalized.apply(input, weight, bias, whole.mean, inverse_std, whole.pixels)
    return scaled


class _Statistics(NamedTuple):
    """Of each channel over the whole batch: pixels (), mean (C,) and biased variance (C,)."""

    pixels: Tensor
    mean: Tensor
    variance: Tensor


def _statistics(values: Tensor) -> _Statistics:
    """Those of the shares, put together as in Chan et al. 1979: no difference of large sums."""
    count = values.numel() // values.shape[1]
    variance, mean = torch.var_mean(values.float(), _pixels(values), correction=0)
    own = torch.cat([mean, variance * count, mean.new_full((1,), count)]).double()
    of_all = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(of_all, own)
    means, squares, counts = torch.stack(of_all).split([len(mean), len(mean), 1], dim=1)
    total = counts.sum()
    whole = (counts * means).sum(0) / total
    squares = squares + counts * (means - whole) ** 2
    return _Statistics(total.float(), whole.float(), (squares.sum(0) / total).float())


class _Normalized(torch.autograd.Function):
    """(x - mean) / std * weight + bias, whose mean and std come from x of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse_std: Tensor,
        count: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, inverse_std, count)
        ctx.has_bias = bias is not None
        scale = inverse_std if weight is None else inverse_std * weight
        scaled = (inputs - _spread(mean, inputs)) * _spread(scale, inputs)
        return (scaled if bias is None else scaled + _spread(bias, inputs)).to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, inverse_std, count = ctx.saved_tensors
        grad = grad.float()
        normalized = (inputs - _spread(mean, inputs)) * _spread(inverse_std, inputs)
        of_bias, of_weight = grad.sum(_pixels(grad)), (grad * normalized).sum(_pixels(grad))
        sums = torch.stack([of_bias, of_weight])
        distributed.all_reduce(sums)
        along_ones, along_inputs = (_spread(of_all / count, inputs) for of_all in sums)
        scale = inverse_std if weight is None else inverse_std * weight
        of_inputs = _spread(scale, inputs) * (grad - along_ones - normalized * along_inputs)
        return (
            of_inputs.to(inputs.dtype),
            None if weight is None else of_weight,
            of_bias if ctx.has_bias else None,
            None,
            None,
            None,
        )


def _pixels(values: Tensor) -> list[int]:
    """All dimensions but that of the channels."""
    return [dim for dim in range(values.ndim) if dim != 1]


def _spread(of_channels: Tensor, values: Tensor) -> Tensor:
    """(C,) in the shape that goes with values (B, C, ...)."""
    return of_channels.view(1, -1, *[1] * (values.ndim - 2))
