"""Refuse a wrong params.yaml before any other stage deletes or trains anything.

Reads:  params.yaml, and the folders and networks that it names
Writes: data/check.json, always the same, so that a changed parameter re-runs only its own stages
"""

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from stages.config.command import run_single_stage
from stages.config.errors import UserError
from stages.config.params import Case, CenterCrop, FileWeights, Params, Protocol
from stages.config.paths import Paths
from stages.config.references import architecture, timm_name
from stages.config.scratch import clean_scratch
from stages.config.writing import write_json
from stages.dataset.runs import plan_runs
from stages.dataset.split import assign_splits, rarest_class
from stages.sources.listing import Listing, open_source, require_source
from stages.sources.table import require_matched

if TYPE_CHECKING:  # torch
    from stages.modeling.classifier import Classifier

logger = logging.getLogger(__name__)

# Groups of the rarest class per split or fold, from which on each of them surely has some.
AMPLE = 5
UNEVEN = 1.2  # what a split may have over the share that it is to get


def check_params(params: Params, paths: Paths) -> None:
    """Look at what the schema cannot know: files, classes per split, networks, the machine."""
    unknown_models = list(_model_problems(params))
    problems = [
        *_source_problems(params, paths),
        *unknown_models,
        *_weights_problems(params),
        *([] if unknown_models else _network_problems(params)),
        *_hardware_problems(params),
    ]
    if problems:
        raise UserError(*(f"params.yaml: {problem}" for problem in problems))
    clean_scratch(params, paths)
    for line in _warnings(params):
        logger.warning("params.yaml: %s", line)
    write_json(paths.check, {"params.yaml": "checked"})


def _source_problems(params: Params, paths: Paths) -> Iterator[str]:
    """Sources that are missing, and images too few for the splits and folds asked for.

    An archive is only unpacked by `prepare`; here it must exist.
    """
    for name, dataset in params.datasets.items():
        try:
            if dataset.source.kind == "archive":
                require_source(dataset)
                continue
            with open_source(dataset, seed=params.seed, scratch=paths.scratch("check")) as listing:
                if listing.reconciliation is not None:
                    require_matched(listing.reconciliation, dataset.max_unmatched, listed_in="")
                files = _tabulate(listing)
        except UserError as error:
            yield f"datasets.{name}: {error}"
        else:
            yield from _split_problems(params, name, files)
            yield from _audit_problems(params, name, files)
            yield from _batch_problems(params, name, files)


def _tabulate(listing: Listing) -> pd.DataFrame:
    """Label, group_id, given split and fold of each file, as far as they are known unread.

    `prepare` will also join pictures that look the same and leave out what it cannot read, so a
    class has this many groups at the most.
    """
    rows = [(i.label, i.patient_id or i.source_path, i.split, i.fold) for i in listing.items]
    return pd.DataFrame(rows, columns=["label", "group_id", "given_split", "given_fold"])


def _cases_on(params: Params, dataset: str) -> dict[str, Case]:
    cases = params.cases.items()
    return {name: case for name, case in cases if params.view(case.view).dataset == dataset}


def _split_problems(params: Params, name: str, files: pd.DataFrame) -> Iterator[str]:
    """What `prepare` and `train` would say of these splits and folds, where a class is small."""
    dataset, cases = params.dataset(name), _cases_on(params, name)
    protocols = {case.protocol: params.protocol(case.protocol) for case in cases.values()}
    shares = dataset.split.model_dump()
    folds = [_count_folds(protocol, files) for protocol in protocols.values()]
    parts = max(1 / min(shares.values()), *folds, 1)
    labels, groups = files["label"].to_numpy(str), files["group_id"].to_numpy(str)
    is_given = any(protocol.folds == "given" for protocol in protocols.values())
    if rarest_class(labels, groups)[1] >= AMPLE * parts and not is_given:
        return
    try:
        given = [split if isinstance(split, str) else None for split in files["given_split"]]
        splits = assign_splits(list(labels), list(groups), given, shares, seed=params.seed)
    except UserError as error:
        yield f"datasets.{name}: {error}"
        return
    for protocol_name, protocol in protocols.items():
        try:
            plan_runs(
                files.assign(split=splits),
                folds=protocol.folds,
                held_out=protocol.held_out,
                seeds=protocol.seeds,
                seed=params.seed,
            )
        except UserError as error:
            asked = ", ".join(n for n, case in cases.items() if case.protocol == protocol_name)
            yield f"protocols.{protocol_name}.{error} (datasets.{name}; for cases: {asked})"


def _audit_problems(params: Params, dataset: str, files: pd.DataFrame) -> Iterator[str]:
    """Every view is audited, and every fold of an audit needs a group of every class."""
    folds = params.audit.folds
    label, fewest = rarest_class(files["label"].to_numpy(str), files["group_id"].to_numpy(str))
    if fewest < folds and any(view.dataset == dataset for view in params.views.values()):
        yield (
            f"audit.folds: got {folds}, but class {label!r} of datasets.{dataset} has {fewest} "
            f"groups (patients); allowed here: 2 to {fewest}"
        )


def _batch_problems(params: Params, dataset: str, files: pd.DataFrame) -> Iterator[str]:
    """Batches that the images to train on do not fill, and schedules that need more of them."""
    from stages.modeling.optimizer import require_enough_steps  # torch

    for name, case in _cases_on(params, dataset).items():
        recipe = params.recipe(case.recipe)
        images = round(_train_share(params, case, files) * len(files))
        # Groups stay together, so that a split is not of the very size asked for.
        most_steps = recipe.epochs * max(1, round(images * UNEVEN) // recipe.batch_size)
        if recipe.batch_size > images:
            yield (
                f"recipes.{case.recipe}.batch_size: got {recipe.batch_size}, but cases.{name} has "
                f"about {images} images of datasets.{dataset} to train on; allowed: no more than "
                "these"
            )
            continue
        try:
            require_enough_steps(recipe, most_steps)
        except UserError as error:
            yield f"recipes.{case.recipe}.{error} (cases.{name})"


def _train_share(params: Params, case: Case, files: pd.DataFrame) -> float:
    """About which share of the images a run trains on."""
    shares = params.dataset(params.view(case.view).dataset).split
    protocol = params.protocol(case.protocol)
    folds = _count_folds(protocol, files)
    if folds > 1 and protocol.held_out == "test":
        return (1 - 1 / folds) * shares.train / (shares.train + shares.val)
    if folds > 1:
        return (1 - 1 / folds) * (1 - shares.test)
    # Splits that did not come with the images are drawn from those that are neither val nor test.
    given = files["given_split"]
    drawn = sum(getattr(shares, split) for split in ("val", "test") if not (given == split).any())
    rest = 1 - float(given.isin(["val", "test"]).mean())
    return rest * shares.train / (shares.train + drawn)


def _count_folds(protocol: Protocol, files: pd.DataFrame) -> int:
    return files["given_fold"].nunique() if protocol.folds == "given" else protocol.folds


def _model_problems(params: Params) -> Iterator[str]:
    entries = {f"weights.{name}.model": entry.model for name, entry in params.weights.items()}
    entries |= {f"cases.{name}.model": case.model for name, case in params.cases.items()}
    entries |= {f"cam.target_layers.{key}": key for key in params.cam.target_layers}
    asked = {where: model for where, model in entries.items() if model != "cnn3"}
    if not asked:
        return
    import timm  # 3 s: only where a model of its is named

    for where, model in asked.items():
        name = timm_name(model)
        if not timm.is_model(architecture(name)):
            close = timm.list_models(f"*{architecture(model)[:6]}*")[:5]
            yield (
                f"{where}: got {model!r}; allowed: cnn3 or a timm model"
                f"{', such as ' + ', '.join(close) if close else ''}"
            )
        elif not _has_known_tag(name):
            tags = ", ".join(full.partition(".")[2] for full in _tagged(architecture(name)))
            yield (
                f"{where}: got {model!r}, a tag that timm does not know; allowed: "
                f"{architecture(model)!r} without a tag, or with one of its tags: {tags}"
            )


def _has_known_tag(name: str) -> bool:
    """Whether a name of timm has no tag, or one that timm knows."""
    return name == architecture(name) or name in _tagged(architecture(name))


def _tagged(name: str) -> list[str]:
    """All names with a tag that timm has for an architecture, those without weights too."""
    import timm  # as above

    return [full for full in timm.models.get_arch_pretrained_cfgs(name) if "." in full]


def _network_problems(params: Params) -> Iterator[str]:
    """What known networks cannot do with the views of their cases, each distinct one tried once."""
    from stages.explain.rehearsal import rehearse  # torch, after timm's names are known

    cases: dict[tuple[str, int], list[str]] = {}
    for name, case in params.cases.items():
        key = (case.model, params.view(case.view).size_px)
        cases.setdefault(key, []).append(name)
    for (model, size), names in cases.items():
        try:
            classifier = rehearse(model, size, params.cam.target_layers)
        except UserError as error:
            yield from _said_of_cases(str(error), model, names)
        else:
            yield from _fit_problems(params, classifier, size, names)
    yield from _pretext_problems(params)


def _fit_problems(
    params: Params, classifier: "Classifier", size: int, names: list[str]
) -> Iterator[str]:
    """What the cases of one network ask for that it cannot have: head, trained blocks, weights."""
    from stages.explain.rehearsal import require_fitting_weights, require_trainable  # as above
    from stages.modeling.boundary import split_at_boundary

    for name in names:
        case = params.case(name)
        weights_size = _weights_size(params, case.weights)
        try:
            require_trainable(classifier, case.head, _count_outputs(params, case), case.train)
            require_fitting_weights(classifier, case.model, size, weights_size)
            if params.recipe(case.recipe).cache_views:
                split_at_boundary(classifier)
        except UserError as error:
            yield f"cases.{name}.{error}"
        else:
            _log_level(classifier, name, case.train)


def _log_level(classifier: "Classifier", case: str, level: str) -> None:
    """How much of a backbone trains, where it is not all."""
    if level == "all":
        return
    from stages.modeling.checkpoint import count_parameters  # as above
    from stages.modeling.freeze import trained_blocks

    counts = count_parameters(classifier.backbone)
    blocks = [block for block in trained_blocks(classifier) if block != "head"]
    logger.info(
        "cases.%s: %s trains the head and %s of %s parameters of the backbone: %s",
        case,
        level,
        f"{counts['trained']:,}",
        f"{counts['trained'] + counts['frozen']:,}",
        ", ".join(blocks) or "none",
    )


def _count_outputs(params: Params, case: Case) -> int:
    from stages.modeling.outputs import Outputs  # torch, as above

    dataset = params.dataset(params.view(case.view).dataset)
    positive = list(dataset.classes).index(dataset.positive)
    return Outputs.of_case(case.loss.kind, [*dataset.classes], positive, dataset.implies).count


def _weights_size(params: Params, name: str) -> int | None:
    """Side of the images that weights, or another case, are made for; None: the network's usual."""
    if name in params.cases:
        return params.view(params.case(name).view).size_px
    is_pretext = params.initial_weights(name).source.kind == "pretext"
    return params.pretext.size_px if is_pretext else None


def _said_of_cases(message: str, model: str, names: list[str]) -> Iterator[str]:
    """A message on a network, by the field of each of its cases, or by the layer of its maps."""
    layers = "params.yaml: cam.target_layers: "
    if message.startswith(layers):
        where = f"cam.target_layers.{architecture(model)}"
        yield f"{where}: {message.removeprefix(layers)} (for cases: {', '.join(names)})"
    else:
        yield from (f"cases.{name}.{message}" for name in names)


def _pretext_problems(params: Params) -> Iterator[str]:
    """Networks that cannot take the images of the task that their weights are learned on."""
    import torch

    from stages.modeling.classifier import build_backbone, count_features

    for name, entry in params.weights.items():
        if entry.source.kind != "pretext":
            continue
        size = params.pretext.size_px
        try:
            with torch.device("meta"):
                count_features(build_backbone(entry.model, size), entry.model, size)
        except UserError as error:
            yield f"weights.{name}.{error} (pretext.size_px)"


def _weights_problems(params: Params) -> Iterator[str]:
    """Files that are missing, and networks of which timm has no weights.

    Whether the hub can be reached shows when `weights` fetches from it: weights that are here
    already, from an earlier run or a DVC remote, need no network.
    """
    for name, entry in params.weights.items():
        if entry.source.kind == "file":
            yield from _file_problems(f"weights.{name}", entry.model, entry.source)
        if entry.source.kind == "timm":
            yield from _pretrained_problems(f"weights.{name}.model", entry.model)


def _file_problems(where: str, model: str, source: FileWeights) -> Iterator[str]:
    """What is wrong with a file of weights: it is read whole, as a NaN may be anywhere."""
    if not os.path.exists(source.path):
        yield f"{where}.source.path: got {source.path!r}; there is no such file"
        return
    from stages.modeling.initial import check_file  # as above

    try:
        check_file(model, source)
    except UserError as error:
        yield f"{where}: {error}"


def _pretrained_problems(where: str, model: str) -> Iterator[str]:
    import timm  # as above

    name = timm_name(model)
    is_known = timm.is_model(architecture(name)) and _has_known_tag(name)
    if is_known and not timm.models.is_model_pretrained(name):
        listed = timm.list_pretrained(f"{architecture(name)}*")[:5]
        known = f", such as {', '.join(listed)}" if listed else ""
        yield (
            f"{where}: got {model!r}, of which timm has no weights; allowed: a name from "
            f"timm.list_pretrained(){known}"
        )


def _hardware_problems(params: Params) -> Iterator[str]:
    if params.compute.accelerator != "gpu":
        return
    from stages.modeling.compute import choose_hardware  # torch

    try:
        choose_hardware(params.compute)
    except UserError as error:
        yield str(error).removeprefix("params.yaml: ")


def _warnings(params: Params) -> Iterator[str]:
    """What can be done and is seldom meant."""
    for name, view in params.views.items():
        stored = params.dataset(view.dataset).size_px
        if isinstance(view.crop, CenterCrop) and view.size_px > view.crop.fraction * stored:
            factor = view.size_px / (view.crop.fraction * stored)
            yield (
                f"views.{name}.size_px: {view.size_px} px enlarge a crop of {view.crop.fraction:g} "
                f"of {stored} px {factor:.1f} times, which adds no detail; "
                f"datasets.{view.dataset}.size_px says how many pixels are kept"
            )


if __name__ == "__main__":
    run_single_stage(check_params, __doc__)
