"""Refuse a wrong params.yaml before any other stage deletes or trains anything.

Reads:  params.yaml, and the folders and networks that it names
Writes: data/check.json, always the same, so that a changed parameter re-runs only its own stages
"""

import os
from collections.abc import Iterator
from pathlib import Path

from stages.config.command import run_single_stage
from stages.config.errors import UserError
from stages.config.params import Dataset, Params
from stages.config.paths import Paths
from stages.config.references import architecture, timm_name
from stages.config.writing import write_json
from stages.sources.listing import open_source, require_source


def check_params(params: Params, paths: Paths) -> None:
    """Look at what the schema cannot know: files, networks, downloads."""
    unknown_models = list(_model_problems(params))
    problems = [
        *_source_problems(params, paths),
        *unknown_models,
        *_weights_problems(params),
        *([] if unknown_models else _network_problems(params)),
    ]
    if problems:
        raise UserError(*(f"params.yaml: {problem}" for problem in problems))
    write_json(paths.check, {"params.yaml": "checked"})


def _source_problems(params: Params, paths: Paths) -> Iterator[str]:
    for name, dataset in params.datasets.items():
        try:
            _list_source(dataset, seed=params.seed, scratch=paths.scratch("check"))
        except UserError as error:
            yield f"datasets.{name}: {error}"


def _list_source(dataset: Dataset, *, seed: int, scratch: Path) -> None:
    """List the images; an archive is only unpacked by `prepare`, here it must exist."""
    if dataset.source.kind == "archive":
        require_source(dataset)
        return
    with open_source(dataset, seed=seed, scratch=scratch):
        pass


def _model_problems(params: Params) -> Iterator[str]:
    entries = {f"weights.{name}.model": entry.model for name, entry in params.weights.items()}
    entries |= {f"cases.{name}.model": case.model for name, case in params.cases.items()}
    entries |= {f"cam.target_layers.{key}": key for key in params.cam.target_layers}
    asked = {where: model for where, model in entries.items() if model != "cnn3"}
    if not asked:
        return
    import timm  # 3 s: only where a model of its is named

    for where, model in asked.items():
        if not timm.is_model(architecture(timm_name(model))):
            close = timm.list_models(f"*{architecture(model)[:6]}*")[:5]
            yield (
                f"{where}: got {model!r}; allowed: cnn3 or a timm model"
                f"{', such as ' + ', '.join(close) if close else ''}"
            )


def _network_problems(params: Params) -> Iterator[str]:
    """What known networks cannot do; those asked for it are built on `meta`, without values."""
    yield from _size_problems(params)
    yield from _level_problems(params)
    used = {architecture(case.model) for case in params.cases.values()}
    for model, layer in params.cam.target_layers.items():
        if model in used:
            yield from _layer_problems(model, layer)


def _size_problems(params: Params) -> Iterator[str]:
    cases = {name: case for name, case in params.cases.items() if case.model == "cnn3"}
    if not cases:
        return
    from stages.modeling.cnn3 import MIN_SIZE_PX  # here, like torch below: imports take seconds

    for name, case in cases.items():
        size_px = params.view(case.view).size_px
        if size_px < MIN_SIZE_PX:
            yield (
                f"cases.{name}.view: got {case.view!r} of {size_px} px; "
                f"allowed for cnn3: views of at least {MIN_SIZE_PX} px"
            )


def _level_problems(params: Params) -> Iterator[str]:
    cases = {name: case for name, case in params.cases.items() if case.train.startswith("last:")}
    if not cases:
        return
    import torch

    from stages.modeling.classifier import Classifier, build_backbone
    from stages.modeling.freeze import freeze

    for name, case in cases.items():
        try:
            with torch.device("meta"):
                backbone = build_backbone(case.model)
                classifier = Classifier(backbone, torch.nn.Identity(), mean=0.0, std=1.0)
            freeze(classifier, case.train)
        except UserError as error:
            yield f"cases.{name}.{error}"


def _layer_problems(model: str, layer: str) -> Iterator[str]:
    import torch

    from stages.modeling.classifier import build_backbone

    with torch.device("meta"):
        backbone = build_backbone(model)
    if not layer or layer not in dict(backbone.named_modules()):
        outermost = ", ".join(name for name, _ in backbone.named_children())
        yield (
            f"cam.target_layers.{model}: got {layer!r}; allowed: a module of {model}; its "
            f"outermost are: {outermost}"
        )


def _weights_problems(params: Params) -> Iterator[str]:
    """Files that are missing, and networks of which timm has no weights.

    Whether the hub can be reached shows when `weights` fetches from it: weights that are here
    already, from an earlier run or a DVC remote, need no network.
    """
    for name, entry in params.weights.items():
        if entry.source.kind == "file" and not os.path.isfile(entry.source.path):
            yield f"weights.{name}.source.path: got {entry.source.path!r}; there is no such file"
        if entry.source.kind == "timm":
            yield from _pretrained_problems(f"weights.{name}.model", entry.model)


def _pretrained_problems(where: str, model: str) -> Iterator[str]:
    import timm  # as above

    name = timm_name(model)
    if timm.is_model(architecture(name)) and not timm.models.is_model_pretrained(name):
        listed = timm.list_pretrained(f"{architecture(name)}*")[:5]
        known = f", such as {', '.join(listed)}" if listed else ""
        yield (
            f"{where}: got {model!r}, of which timm has no weights; allowed: a name from "
            f"timm.list_pretrained(){known}"
        )


if __name__ == "__main__":
    run_single_stage(check_params, __doc__)
