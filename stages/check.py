"""Refuse a wrong params.yaml before any other stage deletes or trains anything.

Reads:  params.yaml, and the folders and networks that it names
Writes: data/check.json, always the same, so that a changed parameter re-runs only its own stages
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from stages.config.command import run_single_stage
from stages.config.errors import UserError
from stages.config.params import Dataset, Params, Weights
from stages.config.paths import Paths
from stages.config.references import architecture
from stages.sources.archive import is_archive
from stages.sources.listing import open_source


def check_params(params: Params, paths: Paths) -> None:
    """Look at what the schema cannot know: files, networks, downloads."""
    unknown_models = list(_model_problems(params))
    problems = [
        *_source_problems(params, paths),
        *unknown_models,
        *_weights_problems(params, paths),
        *([] if unknown_models else _network_problems(params)),
    ]
    if problems:
        raise UserError("\n".join(f"params.yaml: {problem}" for problem in problems))
    paths.check.parent.mkdir(parents=True, exist_ok=True)
    paths.check.write_text(json.dumps({"params.yaml": "checked"}) + "\n", encoding="utf-8")


def _source_problems(params: Params, paths: Paths) -> Iterator[str]:
    for name, dataset in params.datasets.items():
        try:
            _list_source(params, dataset, paths)
        except UserError as error:
            yield f"datasets.{name}: {error}"


def _list_source(params: Params, dataset: Dataset, paths: Paths) -> None:
    """List the images; an archive is only unpacked by `prepare`, here it must exist."""
    if os.path.isfile(dataset.source) and is_archive(Path(dataset.source)):
        return
    with open_source(dataset, params.phantoms, seed=params.seed, scratch=paths.scratch("check")):
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
        if not timm.is_model(architecture(model)):
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
        size = params.view(case.view).size
        if size < MIN_SIZE_PX:
            yield (
                f"cases.{name}.view: got {case.view!r} of {size} px; "
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


def _weights_problems(params: Params, paths: Paths) -> Iterator[str]:
    for name, entry in params.weights.items():
        if entry.source == "timm" and not _is_downloaded(name, entry, paths):
            yield from _download_problems(f"weights.{name}", entry)
        elif entry.source.endswith(".safetensors") and not os.path.isfile(entry.source):
            yield f"weights.{name}.source: got {entry.source!r}; there is no such file"


def _is_downloaded(name: str, entry: Weights, paths: Paths) -> bool:
    """Whether the weights are here already, so that no network is needed."""
    meta = paths.weights(name) / "meta.json"
    if not meta.exists():
        return False
    made = json.loads(meta.read_text(encoding="utf-8"))
    return bool(made["started_from"] == "timm" and made["model"] == entry.model)


def _download_problems(where: str, entry: Weights) -> Iterator[str]:
    """Fetch into the hub's own cache; `weights` takes it from there."""
    from stages.modeling.initial import timm_weights

    try:
        timm_weights(entry.model)
    except UserError as error:
        yield f"{where}: {error}"


if __name__ == "__main__":
    run_single_stage(check_params, __doc__)
