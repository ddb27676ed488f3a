"""The blocks of a backbone, from its input to its output: what can be frozen and trained."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from torch import nn

from stages.modeling.classifier import BACKBONE, Classifier
from stages.modeling.unit_variance import NORMALISATIONS

# A container with this share of a backbone's parameters is no block: what it contains is.
NEARLY_ALL = 0.9


def backbone_blocks(backbone: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters of each block, from the input to the output.

    The blocks are timm's coarse parameter groups (`group_matcher`), those of its layer-wise
    learning rates. Where timm groups nothing (cnn3, a few of its networks) they are the direct
    children. A container that holds nearly all of a backbone is taken apart. A block has weights
    of convolutions, linear layers or attention: a normalisation of its own, as behind the last
    stage of ConvNeXt, Swin or DenseNet, belongs to the block before it. A block is named by its
    outermost modules: `layer4`, `conv1+bn1`.
    """
    blocks = _timm_groups(backbone) or _children(backbone)
    blocks = _with_layers(backbone, _taken_apart(backbone, blocks))
    names = [name for name, _ in backbone.named_parameters()]
    return {_block_name(block, names): block for block in blocks}


def block_depths(classifier: Classifier) -> dict[str, int]:
    """How many blocks behind the head each parameter of the backbone is, by the classifier's names.

    Those of the last block are 1 behind it.
    """
    blocks = backbone_blocks(classifier.backbone).values()
    from_head = enumerate(reversed(blocks), start=1)
    return {f"{BACKBONE}{name}": depth for depth, block in from_head for name in block}


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
    return _grouped((name for name, _ in backbone.named_parameters()), depth=1)


def _grouped(names: Iterable[str], *, depth: int) -> list[list[str]]:
    """Names of parameters by their first parts."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    return list(groups.values())


def _taken_apart(backbone: nn.Module, blocks: list[list[str]]) -> list[list[str]]:
    """The same blocks, but for one that is a container of nearly all: the parts that it has."""
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    modules = dict(backbone.named_modules())
    apart: list[list[str]] = []
    for block in blocks:
        name = _block_name(block, list(sizes))
        share = sum(sizes[name] for name in block) / sum(sizes.values())
        if share > NEARLY_ALL and isinstance(modules.get(name), nn.Sequential | nn.ModuleList):
            apart += _grouped(block, depth=name.count(".") + 2)
        else:
            apart.append(block)
    return apart


def _with_layers(backbone: nn.Module, blocks: list[list[str]]) -> list[list[str]]:
    """Each block with those behind it that have no layer; such at the input go to the first."""
    joined: list[list[str]] = []
    layers = set(_layer_weights(backbone))
    for block in blocks:
        if joined and (layers.isdisjoint(block) or layers.isdisjoint(joined[-1])):
            joined[-1] = joined[-1] + block
        else:
            joined.append(block)
    return joined


def _layer_weights(backbone: nn.Module) -> Iterator[str]:
    """Names of the weights of convolutions, linear layers, attention and recurrent layers."""
    for name, parameter in backbone.named_parameters():
        owner, _, own_name = name.rpartition(".")
        is_norm = isinstance(backbone.get_submodule(owner), NORMALISATIONS)
        if parameter.ndim > 1 and "weight" in own_name and not is_norm:
            yield name


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
