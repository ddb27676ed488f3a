"""What of a network trains: all of it, its head, or its last blocks and the head.

A frozen module is in training what it is in evaluation: `Classifier.train` sees to that. Here is
what gets frozen, and the proof after a training that it stayed as it was.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, cast

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.classifier import BACKBONE, Classifier, frozen_modules

LISTED = 5  # names of tensors in an error


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


def backbone_blocks(backbone: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters of each block, from the input to the output.

    The blocks are timm's coarse parameter groups (`group_matcher`), those of its layer-wise
    learning rates. Where timm groups nothing (cnn3, a few of its networks) they are the direct
    children. A block is named by its outermost modules: `layer4`, `conv1+bn1`.
    """
    blocks = _timm_groups(backbone) or _children(backbone)
    names = [name for name, _ in backbone.named_parameters()]
    return {_block_name(block, names): block for block in blocks}


def trained_blocks(classifier: Classifier) -> list[str]:
    """The blocks in which something trains, and the head; `backbone.` as in tensor names."""
    trained = _trained_names(classifier)
    blocks = [f"{BACKBONE}{name}" for name, of in _blocks(classifier) if trained.intersection(of)]
    return [*blocks, "head"] if any(not n.startswith(BACKBONE) for n in trained) else blocks


class FrozenSnapshot:
    """What a network holds before a training, to be held against what it holds afterwards.

    It keeps SHA-256 sums: a copy of VGG-16 would take half a gigabyte.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._trained = _trained_names(classifier)
        self._digests = _digests(classifier)

    def verify(self, classifier: Classifier) -> list[str]:
        """Hold the network after the training against this snapshot.

        Every frozen parameter and every buffer of a frozen module must be the same to the bit.
        Of what trains, both tensors of the layer that gives the logits must differ, and at least
        one tensor of every block. Not every tensor: behind a residual branch that starts at zero
        (timm's `zero_init_last`) or where every ReLU is dead the gradient is exactly 0, and a
        step below half a float32 spacing is lost; such a training may still be right.

        Returns:
            Names of the tensors that were to train and are the same.

        Raises:
            RuntimeError: something frozen changed, something to be trained did not, or what is
                frozen is not what was; tensors or blocks are named.
        """
        switched = self._trained ^ _trained_names(classifier)
        _refuse(sorted(switched), "requires_grad was switched during training")
        after = _digests(classifier)
        same = [name for name, digest in self._digests.items() if after[name] == digest]
        moved = [name for name in self._digests if name not in self._trained.union(same)]
        _refuse(moved, "frozen tensors changed during training")
        untrained = self._trained.intersection(same)
        _refuse(self._without_change(classifier, untrained), "training did not change")
        return sorted(untrained)

    def _without_change(self, classifier: Classifier, untrained: set[str]) -> list[str]:
        """Blocks of which all that trains is the same, and such tensors of the last layer."""
        blocks = [(name, self._trained.intersection(of)) for name, of in _blocks(classifier)]
        *_, (last, layer) = classifier.head.named_children()
        logits = [name for name, _ in layer.named_parameters(f"head.{last}") if name in untrained]
        return [f"{BACKBONE}{name}" for name, of in blocks if of and of <= untrained] + logits


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


def _timm_groups(backbone: nn.Module) -> list[list[str]]:
    if not hasattr(backbone, "group_matcher"):
        return []
    from timm.models import group_parameters  # 1.6 s that a cnn3 case need not wait

    try:
        matcher = cast(Any, backbone).group_matcher(coarse=True)
    except AssertionError:  # timm's way to say that a network has no coarse groups
        return []
    groups = cast(dict[int, list[str]], group_parameters(backbone, matcher))
    return [groups[index] for index in sorted(groups)]


def _children(backbone: nn.Module) -> list[list[str]]:
    children: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        children.setdefault(name.partition(".")[0], []).append(name)
    return list(children.values())


def _block_name(block: Sequence[str], names: Sequence[str]) -> str:
    """The shortest prefixes that no parameter of another block has, joined by plus signs."""
    others = set(names).difference(block)
    taken = {prefix for name in others for prefix in _prefixes(name)}
    own = (next(p for p in _prefixes(name) if p not in taken) for name in block)
    return "+".join(dict.fromkeys(own))


def _prefixes(name: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


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


def _refuse(names: Sequence[str], what: str) -> None:
    if names:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise RuntimeError(f"{what}: {', '.join(names[:LISTED])}{more}")
