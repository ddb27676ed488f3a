"""What a training costs in floating-point operations, counted on shapes alone.

Those of convolutions and matrix products, by torch's counter; a multiplication and an addition are
two. Unlike seconds they are the same on every machine.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from stages.modeling.boundary import split_at_boundary
from stages.modeling.classifier import Classifier
from stages.modeling.freeze import head_alone

logger = logging.getLogger(__name__)


class Operations(NamedTuple):
    """Of one image.

    Attributes:
        forward: through the whole network.
        step: forward, and backward as far as something trains.
        head_step: likewise where the head alone trains.
        kept: forward through the frozen part, where its activations are kept; else 0.
    """

    forward: int
    step: int
    head_step: int
    kept: int

    def of_training(
        self, *, drawn: int, validated: int, epochs: int, head_epochs: int, kept: int
    ) -> int:
        """All operations of one training, validation among them; initial weights are not.

        Args:
            drawn: training images in an epoch.
            validated: validation images.
            epochs: how many were run.
            head_epochs: how many of them trained the head alone.
            kept: views of training images, and validation images, whose activations were computed
                once; plays no part where none are kept.
        """
        steps = head_epochs * self.head_step + (epochs - head_epochs) * self.step
        learning = drawn * (steps - epochs * self.kept)
        judging = epochs * validated * (self.forward - self.kept)
        return learning + judging + kept * self.kept


def count_operations(classifier: Classifier, size_px: int, *, keeps: bool) -> Operations | None:
    """Operations per image of a network that is frozen as it is to be trained.

    Args:
        classifier: left as it is; nothing is computed.
        size_px: side of the square images.
        keeps: whether activations in front of the freeze boundary are kept.

    Returns:
        None, with a line in the log, for a network that looks at values: shapes have none.
    """
    mode = classifier.training
    classifier.eval()  # the same operations; in training a batch of one has no variance
    try:
        forward, step = _count(classifier, size_px)
        with head_alone(classifier):
            _, head_step = _count(classifier, size_px)
        kept = _count(split_at_boundary(classifier).frozen, size_px)[0] if keeps else 0
    except RuntimeError as error:
        logger.warning("operations are not counted: %s", " ".join(str(error).split()))
        return None
    finally:
        classifier.train(mode)
    return Operations(forward, step, head_step, kept)


def _count(network: nn.Module, size_px: int) -> tuple[int, int]:
    """Operations of the forward pass of one image, and of that with the backward pass."""
    tensors: dict[str, Tensor] = {
        name: tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    image = torch.empty(1, 1, size_px, size_px, device="meta")
    formulas: dict[Any, Any] = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        outputs = functional_call(network, tensors, (image,))
        forward = counter.get_total_flops()
        trained = [tensor for tensor in tensors.values() if tensor.requires_grad]
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), trained, allow_unused=True)
    return forward, counter.get_total_flops()


def _convolution_backward(
    outputs: Sequence[int], _inputs: object, weight: Sequence[int], *rest: Any, **_: object
) -> int:
    """Operations of the gradients of a convolution: for each, those of its forward pass.

    Torch's own formula leaves groups out of the gradient of the weights: of a depthwise
    convolution of 100 channels it makes a hundred times too many.
    """
    is_wanted = rest[-1]  # of inputs, weights and bias
    batch, cells = outputs[0], outputs[2:]
    forward = 2 * batch * _product(cells) * _product(weight)
    return forward * sum(is_wanted[:2])


def _product(sizes: Sequence[int]) -> int:
    return torch.Size(sizes).numel()
