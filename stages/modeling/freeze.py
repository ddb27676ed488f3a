"""What of a network trains: all of it, its head, or its last blocks and the head.

A frozen module is in training what it is in evaluation: `Classifier.train` sees to that. Here is
what gets frozen, and the proof after a training that it stayed as it was.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.params import Recipe
from stages.modeling.blocks import backbone_blocks
from stages.modeling.classifier import BACKBONE, Classifier, frozen_modules
from stages.modeling.optimizer import describe_steps

LISTED = 5  # names of tensors in an error
# Relative change of a block below which it has not trained: the last four of a float's 24 bits.
FLOAT_SPACING = torch.finfo(torch.float32).eps
NOISE_SPACINGS = 16
SAMPLED = 4096  # values of a tensor that the change is measured on


def freeze(classifier: Classifier, level: str) -> None:
    """Let gradients reach only what is to be trained.

    Args:
        classifier: the network; what was frozen before plays no part.
        level: `all`, `head`, or `last:<n>` for the n last blocks of the backbone and the head.

    Raises:
        UserError: the backbone has no more than n blocks; they are named.
    """
    trained = _names_to_train(classifier, level)
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_(name in trained)
    classifier.train(classifier.training)  # modules just frozen go to evaluation


@contextmanager
def head_alone(network: nn.Module) -> Iterator[None]:
    """Freeze the backbone for a while; what trained of it before does so again afterwards.

    Its modules go to evaluation when the network is next put into training, as with `freeze`.

    Args:
        network: a classifier, or the part of one behind the freeze boundary.
    """
    held = [p for name, p in network.named_parameters() if _is_held(name, p)]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def _is_held(name: str, parameter: Tensor) -> bool:
    return name.startswith(BACKBONE) and parameter.requires_grad


def trained_blocks(classifier: Classifier) -> list[str]:
    """The blocks in which something trains, and the head; `backbone.` as in tensor names."""
    trained = _trained_names(classifier)
    blocks = [f"{BACKBONE}{name}" for name, of in _blocks(classifier) if trained.intersection(of)]
    return [*blocks, "head"] if any(not n.startswith(BACKBONE) for n in trained) else blocks


class _Sample(NamedTuple):
    """Some values of a tensor, evenly spread over it, and how many each of them stands for."""

    values: Tensor
    each: int
    decays: bool  # whether weight decay may shrink it, which is no training

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        each = math.ceil(tensor.numel() / SAMPLED)
        values = tensor.detach().reshape(-1)[::each].double().cpu().clone()
        return cls(values, each, decays=tensor.ndim > 1 and len(values) > 1)

    def square_change(self, after: Self) -> float:
        """Squared norm of the change, apart from one factor for all weights where it decays."""
        change = after.values - self.values
        if self.decays and self.square_norm():
            change -= self.values * (change @ self.values / (self.values @ self.values))
        return self.each * float(change @ change)

    def square_norm(self) -> float:
        return self.each * float(self.values @ self.values)


class FrozenSnapshot:
    """What a network holds before a training, to be held against what it holds afterwards.

    It keeps SHA-256 sums, and of what is to train some values: a copy of VGG-16 would take half a
    gigabyte.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._trained = _trained_names(classifier)
        self._digests = _digests(classifier)
        self._samples = self._take_samples(classifier)

    def verify(self, classifier: Classifier, recipe: Recipe, steps: int) -> list[str]:
        """Hold the network after the training against this snapshot.

        Every frozen parameter and every buffer of a frozen module must be the same to the bit.
        Of what trains, both tensors of the layer that gives the logits must have moved, and every
        block as a whole, by more than float noise: 16 spacings of a float32 relative to the
        block's norm, more after many steps, whose roundings add up. What weight decay alone can
        do, the same factor for all weights, counts as no move. Not every tensor must move: behind
        a residual branch that starts at zero (timm's `zero_init_last`) or where every ReLU is
        dead the gradient is exactly 0, and a step below half a float32 spacing is lost; such a
        training may still be right.

        Args:
            classifier: after the training.
            recipe: of the training, for the message.
            steps: number of steps of the optimiser.

        Returns:
            Names of the tensors that were to train and are the same.

        Raises:
            UserError: a block or the layer of the logits has not moved.
            RuntimeError: something frozen changed, what is frozen is not what was, or gradients
                reached some blocks and never others: a fault of the code. Tensors or blocks are
                named.
        """
        switched = self._trained ^ _trained_names(classifier)
        _refuse(sorted(switched), "requires_grad was switched during training")
        after = _digests(classifier)
        same = [name for name, digest in self._digests.items() if after[name] == digest]
        moved = [name for name in self._digests if name not in self._trained.union(same)]
        _refuse(moved, "frozen tensors changed during training")
        self._require_training(classifier, recipe, steps)
        return sorted(self._trained.intersection(same))

    def _require_training(self, classifier: Classifier, recipe: Recipe, steps: int) -> None:
        """Refuse blocks, and tensors of the layer of the logits, that moved by noise or less."""
        after = self._take_samples(classifier)
        noise = FLOAT_SPACING * max(NOISE_SPACINGS, math.sqrt(steps))
        parts = self._parts(classifier)
        changes = {part: self._change(after, names) for part, names in parts.items()}
        still = [part for part, change in changes.items() if change <= noise]
        _refuse(
            _unreached(classifier, {part: parts[part] for part in still}), "no gradient reached"
        )
        if still:
            most = max(changes[part] for part in still)
            raise UserError(
                f"{describe_steps(recipe, steps)}: what was to train did not: {_listed(still)} "
                f"moved by {most:.2g} of the size at most, and up to {noise:.2g} is float noise; "
                "give a larger lr, or more steps (epochs, a smaller batch_size); if some blocks "
                "move and others never do, other initial weights"
            )

    def _parts(self, classifier: Classifier) -> dict[str, list[str]]:
        """What must have moved, with its tensors: each block, each tensor of the last layer."""
        *_, (last, layer) = classifier.head.named_children()
        logits = [name for name, _ in layer.named_parameters(f"head.{last}")]
        blocks = {f"{BACKBONE}{block}": of for block, of in _blocks(classifier)}
        parts = blocks | {name: [name] for name in logits}
        chosen = {part: [n for n in names if n in self._trained] for part, names in parts.items()}
        return {part: names for part, names in chosen.items() if names}

    def _take_samples(self, classifier: Classifier) -> dict[str, _Sample]:
        tensors = classifier.named_parameters()
        return {name: _Sample.of(tensor) for name, tensor in tensors if name in self._trained}

    def _change(self, after: dict[str, _Sample], names: Sequence[str]) -> float:
        """Norm of the change of some tensors together, relative to what they held before."""
        change = sum(self._samples[name].square_change(after[name]) for name in names)
        norm = sum(self._samples[name].square_norm() for name in names)
        if norm:
            return math.sqrt(change / norm)
        return math.inf if change else 0.0


def _names_to_train(classifier: Classifier, level: str) -> set[str]:
    names = {name for name, _ in classifier.named_parameters()}
    if level == "all":
        return names
    head = {name for name in names if not name.startswith(BACKBONE)}
    if level == "head":
        return head
    return head.union(*_last_blocks(classifier, int(level.removeprefix("last:"))))


def _last_blocks(classifier: Classifier, count: int) -> list[list[str]]:
    blocks = dict(_blocks(classifier))
    if count >= len(blocks):
        raise UserError(
            f"train: got 'last:{count}' for a backbone of {len(blocks)} blocks "
            f"({', '.join(blocks)}); allowed: head, last:1 to last:{len(blocks) - 1}, all"
        )
    return list(blocks.values())[-count:]


def _blocks(classifier: Classifier) -> Iterator[tuple[str, list[str]]]:
    """Blocks of the backbone with names of parameters as the classifier has them."""
    for name, block in backbone_blocks(classifier.backbone).items():
        yield name, [f"{BACKBONE}{parameter}" for parameter in block]


def _trained_names(classifier: Classifier) -> set[str]:
    return {name for name, p in classifier.named_parameters() if p.requires_grad}


def _digests(classifier: Classifier) -> dict[str, bytes]:
    """SHA-256 of every parameter, and of every buffer of a frozen module."""
    tensors: dict[str, Tensor] = dict(classifier.named_parameters())
    for name, module in frozen_modules(classifier):
        tensors |= dict(module.named_buffers(name))
    return {name: _digest(tensor) for name, tensor in tensors.items()}


def _digest(tensor: Tensor) -> bytes:
    """SHA-256 of the values in logical order, whatever device and memory format they are in."""
    # Plus 0 makes -0.0 to 0.0: the moving average of a constant -0.0 is 0.0.
    values = (tensor.detach() + 0).cpu().reshape(-1)
    return sha256(values.view(torch.uint8).numpy().data).digest()


def _unreached(classifier: Classifier, parts: dict[str, list[str]]) -> list[str]:
    """Parts that no gradient ever reached, while some reached others."""
    reached = {name for name, p in classifier.named_parameters() if p.grad is not None}
    return [part for part, names in parts.items() if reached and reached.isdisjoint(names)]


def _refuse(names: Sequence[str], what: str) -> None:
    if names:
        raise RuntimeError(f"{what}: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
