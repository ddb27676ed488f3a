"""Where a partly frozen network begins to train: its graph, cut there in two.

What is in front gives an image the same activations in every epoch, so they can be computed once.
"""

from collections.abc import Collection
from typing import NamedTuple, Self

from torch import fx, nn
from torch.fx import Node

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier, keep_frozen_in_evaluation


class TrainedPart(fx.GraphModule):
    """What lies behind the boundary; its modules are the classifier's own, by the same names."""

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but leave frozen modules in evaluation."""
        super().train(mode)
        keep_frozen_in_evaluation(self)
        return self


class Halves(NamedTuple):
    """A classifier cut in two.

    Attributes:
        frozen: images (B, 1, S, S) in [0, 1] to the activations at the boundary.
        trained: these activations to logits (B, K); training it trains the classifier.
        boundary: the node of the graph that gives the activations, as torch.fx names it.
    """

    frozen: fx.GraphModule
    trained: TrainedPart
    boundary: str


def split_at_boundary(classifier: Classifier) -> Halves:
    """Cut a classifier where the first parameter that trains comes in.

    Args:
        classifier: frozen as it is to be trained; it is left as it was found.

    Raises:
        UserError: its forward pass cannot be followed, nothing of it is frozen, or more than one
            tensor goes from the frozen part into the other.
    """
    if all(parameter.requires_grad for parameter in classifier.parameters()):
        raise _not_possible("nothing of it is frozen")
    graph = _trace(classifier)
    fed, trained = _fed_by_images(graph), _trained(graph, classifier)
    frozen = fed - trained
    crossing = [node for node in graph.nodes if node in frozen and trained & node.users.keys()]
    if len(crossing) != 1:
        names = ", ".join(node.name for node in crossing)
        raise _not_possible(f"{len(crossing)} tensors go from what is frozen to the rest: {names}")
    boundary = crossing[0]
    front, back = fx.Graph(), fx.Graph()
    front.output(_copy_value(boundary, front, {}))
    activations = back.placeholder("activations")
    back.output(_copy_value(_result(graph), back, {boundary: activations}))
    return Halves(fx.GraphModule(classifier, front), TrainedPart(classifier, back), boundary.name)


class _Tracer(fx.Tracer):
    """Goes into no module that is frozen as a whole or trains as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return len({parameter.requires_grad for parameter in m.parameters()}) < 2


def _trace(classifier: Classifier) -> fx.Graph:
    try:
        return _Tracer().trace(classifier)
    except Exception as error:  # what a stand-in for a tensor cannot do ends in errors of all kinds
        said = " ".join(str(error).split())
        raise _not_possible(f"its forward pass cannot be followed: {said}") from None


def _not_possible(reason: str) -> UserError:
    return UserError(
        f"recipe: activations of this network cannot be kept ({reason}); "
        "set cache_views: 0 in the recipe, or train: head in the case"
    )


def _fed_by_images(graph: fx.Graph) -> set[Node]:
    """The nodes whose value depends on the images."""
    fed: set[Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or fed.intersection(node.all_input_nodes):
            fed.add(node)
    return fed


def _trained(graph: fx.Graph, classifier: Classifier) -> set[Node]:
    """The nodes that a parameter to be trained goes into, and all behind them."""
    wanted = [name for name, p in classifier.named_parameters() if p.requires_grad]
    trained: set[Node] = set()
    for node in graph.nodes:
        is_owner = node.op in ("call_module", "get_attr") and _holds(str(node.target), wanted)
        if is_owner or trained.intersection(node.all_input_nodes):
            trained.add(node)
    return trained


def _holds(target: str, names: Collection[str]) -> bool:
    """Whether a module or parameter of that name is, or holds, one of the parameters."""
    return any(name == target or name.startswith(f"{target}.") for name in names)


def _result(graph: fx.Graph) -> Node:
    """The node whose value the graph returns."""
    (result,) = next(node for node in graph.nodes if node.op == "output").all_input_nodes
    return result


def _copy_value(node: Node, target: fx.Graph, copies: dict[Node, Node]) -> Node:
    """A copy of a node in another graph, behind copies of all that it takes."""
    if node not in copies:
        for taken in node.all_input_nodes:
            _copy_value(taken, target, copies)
        copies[node] = target.node_copy(node, copies.__getitem__)
    return copies[node]
