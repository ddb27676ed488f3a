"""Weights that are missing, damaged, or of another network."""

import os
from collections.abc import Iterator

from stages.checking.networks import has_known_tag
from stages.config.errors import UserError
from stages.config.params import FileWeights, Params
from stages.config.paths import Paths
from stages.config.references import architecture, timm_name
from stages.downloads.receipt import awaited


def find_weights_problems(params: Params, paths: Paths) -> Iterator[str]:
    """Files and packages that are missing, and networks of which timm has no weights.

    Whether the hub can be reached shows when `weights` fetches from it: weights that are here
    already, from an earlier run or a DVC remote, need no network. A file that is still to be
    downloaded is looked at by `weights`.
    """
    for name, entry in params.weights.items():
        if entry.source.kind == "file" and not awaited(params, paths, entry.source.path):
            yield from _file_problems(f"weights.{name}", entry.model, entry.source)
        if entry.source.kind == "package":
            yield from _package_problems(f"weights.{name}", entry.model)
        if entry.source.kind == "timm":
            yield from _pretrained_problems(f"weights.{name}.model", entry.model)


def _file_problems(where: str, model: str, source: FileWeights) -> Iterator[str]:
    """What is wrong with a file of weights: it is read whole, as a NaN may be anywhere."""
    if not os.path.exists(source.path):
        yield f"{where}.source.path: got {source.path!r}; there is no such file"
        return
    from stages.modeling.initial import check_file  # torch

    try:
        check_file(model, source)
    except UserError as error:
        yield f"{where}: {error}"


def _package_problems(where: str, model: str) -> Iterator[str]:
    """What is wrong with the package of a model: its file is read whole, for its SHA-256."""
    from stages.modeling.packages import check_package  # torch

    try:
        check_package(model)
    except UserError as error:
        yield f"{where}.{error}"


def _pretrained_problems(where: str, model: str) -> Iterator[str]:
    import timm  # torch

    name = timm_name(model)
    is_known = timm.is_model(architecture(name)) and has_known_tag(name)
    if is_known and not timm.models.is_model_pretrained(name):
        listed = timm.list_pretrained(f"{architecture(name)}*")[:5]
        known = f", such as {', '.join(listed)}" if listed else ""
        yield (
            f"{where}: got {model!r}, of which timm has no weights; allowed: a name from "
            f"timm.list_pretrained(){known}"
        )
