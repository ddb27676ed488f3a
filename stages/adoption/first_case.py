"""A first view and case for a data set, after the example of a case that params.yaml has."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stages.config.params import Case, Params

# Weights that need no network first, of these the best: ImageNet's of a package or a file.
KINDS = ("package", "file", "pretext", "random", "timm")
VIEW_PX = 128  # a first run takes minutes; networks of ImageNet take this size


class FirstCase(NamedTuple):
    """What a data set needs beside its entry to be trained on.

    Attributes:
        view_name: of the view.
        view: its entry.
        case_name: of the case.
        case: its entry.
        example: the case that it is made after.
    """

    view_name: str
    view: dict[str, Any]
    case_name: str
    case: dict[str, Any]
    example: str


def first_cases(params: Params, name: str, entry: Mapping[str, Any]) -> Iterator[FirstCase]:
    """Cases that could be the first on a data set, the best first.

    Args:
        params: with weights, recipes and cases to take after.
        name: of the data set.
        entry: all keys of `datasets.<name>`.
    """
    view = {
        "dataset": name,
        "crop": {"kind": "none"},
        "size_px": min(entry["size_px"], VIEW_PX),
        "fit": "letterbox",
    }
    view_name = _unused(f"{name}-full", params.views)
    taken = {*params.cases, *params.weights}
    examples = list(_examples(params, len(entry["classes"])))
    examples.sort(key=lambda one: _rank(params, one[1], entry["modality"]))
    for example, case in examples:
        made = case.model_dump() | {"view": view_name, "train": case.train.replace(":", "-")}
        yield FirstCase(view_name, view, _unused(f"{name}-{case.weights}", taken), made, example)


def _examples(params: Params, n_classes: int) -> Iterator[tuple[str, Case]]:
    """Cases that start from an entry of `weights`, train once, and whose loss takes the classes."""
    for name, case in params.cases.items():
        protocol = params.protocol(case.protocol)
        is_plain = protocol.is_one_run and not protocol.is_optimistic
        fits = case.loss.kind != "bce" or n_classes == 2
        if case.weights in params.weights and is_plain and fits:
            yield name, case


def _rank(params: Params, case: Case, modality: str) -> tuple[int, bool, bool]:
    """Sorts the best example first: its weights, its kind of pictures, a plain loss."""
    kind = params.weights[case.weights].source.kind
    own = params.dataset(params.view(case.view).dataset).modality
    return KINDS.index(kind), own != modality, case.loss.kind != "ce"


def _unused(name: str, taken: Any) -> str:
    while name in taken:
        name += "-2"
    return name
