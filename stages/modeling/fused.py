"""Networks for predictions alone: batch normalisations folded into the convolutions before them.

In evaluation a batch normalisation is one scale and one shift per channel, which the weights of a
convolution can take on (Jacob et al. 2018, section 3.2): one pass over the activations less.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fuse(network: Network) -> Network:
    """A copy in eval mode, of the same logits to rounding, with fewer layers to run.

    Fused is every Conv2d whose output goes into one BatchNorm2d and nowhere else; the
    normalisation becomes what is left of it: nothing, or timm's activation behind it. What a layer
    by name gives is another thing then, so maps are taken of the network as it was.

    Args:
        network: left as it was found.
    """
    fused = copy.deepcopy(network).eval().requires_grad_(False)
    for convolution, norm in list(_find_pairs(fused)):
        conv, bn = fused.get_submodule(convolution), fused.get_submodule(norm)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(bn, nn.BatchNorm2d)
        fused.set_submodule(convolution, fuse_conv_bn_eval(conv, bn))
        fused.set_submodule(norm, _left_of(bn))
    return fused


class _Tracer(fx.Tracer):
    """Follows the layers that can be fused as a whole, timm's variants of them too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_layer = isinstance(m, nn.Conv2d | nn.BatchNorm2d)
        return is_layer or super().is_leaf_module(m, module_qualified_name)


def _find_pairs(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names of convolutions, and of the normalisation that each is followed by.

    By the graph of the module or, where its forward pass branches on values, of its children.
    """
    if not any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        return
    try:
        graph = _Tracer().trace(module)
    except fx.proxy.TraceError:
        for name, child in module.named_children():
            yield from _find_pairs(child, f"{prefix}{name}.")
        return
    layers = dict(module.named_modules())
    calls = {node: str(node.target) for node in graph.nodes if node.op == "call_module"}
    runs = Counter(calls.values())
    for node, norm in calls.items():
        before = node.all_input_nodes[0]
        conv = calls.get(before, "")
        are_layers = isinstance(layers[conv], nn.Conv2d) and isinstance(
            layers[norm], nn.BatchNorm2d
        )
        if are_layers and len(before.users) == runs[conv] == runs[norm] == 1:
            yield f"{prefix}{conv}", f"{prefix}{norm}"


def _left_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What a normalisation does beside normalising: timm's BatchNormAct2d also activates."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
