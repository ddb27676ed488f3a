"""What `train: last:1` trains of the networks of timm, and whether gradients reach each block.

    python -m tests.faults.last_block [--all]

One network of each family, or all of them, built without memory (on `meta`). Prints a row per
network; ends with 1 if the last block has no layer, blocks do not make up the backbone, or a block
would get no gradient.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence

import timm
import torch
from torch import nn

from stages.modeling.blocks import backbone_blocks
from stages.modeling.classifier import build_backbone


def networks(all_of_them: bool) -> list[str]:
    if all_of_them:
        return timm.list_models()
    families = (timm.list_models(module=family) for family in timm.list_modules())
    return [names[0] for names in families if names]


def problem_of(backbone: nn.Module, blocks: dict[str, list[str]]) -> str:
    names = sorted(name for block in blocks.values() for name in block)
    if names != sorted(name for name, _ in backbone.named_parameters()):
        return "the blocks are not the backbone"
    last = list(blocks.values())[-1]
    if all(backbone.get_parameter(name).ndim < 2 for name in last):
        return "the last block has no layer"
    return ""


def without_gradient(backbone: nn.Module, blocks: dict[str, list[str]]) -> Sequence[str] | None:
    """Blocks that a backward pass leaves alone; None where it cannot be run on `meta`."""
    size = backbone.pretrained_cfg["input_size"][-1]  # type: ignore[index, union-attr]
    try:
        with torch.device("meta"):
            backbone(torch.zeros(2, 1, size, size)).float().sum().backward()
    except (RuntimeError, NotImplementedError, AssertionError, ValueError):
        return None
    reached = {name for name, p in backbone.named_parameters() if p.grad is not None}
    return [name for name, block in blocks.items() if reached.isdisjoint(block)]


def describe(backbone: nn.Module, blocks: dict[str, list[str]]) -> str:
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    name, last = list(blocks.items())[-1]
    trained = sum(sizes[parameter] for parameter in last)
    return (
        f"{len(blocks):>3} blocks, last {name}: {trained:,} of {sum(sizes.values()):,} "
        f"({trained / sum(sizes.values()):.1%})"
    )


def main() -> None:
    """Print a row per network."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    wrong = unrun = 0
    names = networks(options.all)
    for name in names:
        with torch.device("meta"):
            backbone = build_backbone(name)
        blocks = backbone_blocks(backbone)
        problem = problem_of(backbone, blocks)
        dead = None if options.all else without_gradient(backbone, blocks)
        problem += f" no gradient in {', '.join(dead)}" if dead else ""
        unrun += dead is None
        wrong += bool(problem)
        print(f"{'WRONG' if problem else 'right'} {name:<32} {describe(backbone, blocks)}{problem}")
    print(f"{len(names) - wrong} of {len(names)} right; {unrun} without a backward pass")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
