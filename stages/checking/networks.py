"""Networks that do not exist, or cannot do what their cases ask of them."""

import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.config.errors import UserError
from stages.config.params import Case, Params
from stages.config.progress import progress
from stages.config.references import OWN_NETWORKS, architecture, timm_name

if TYPE_CHECKING:  # torch, which a wrong file of parameters need not wait for
    from stages.modeling.classifier import Classifier

logger = logging.getLogger(__name__)

AMPLE = 5  # batches of images, from which on there are steps for any schedule


def find_network_problems(params: Params) -> Iterator[str]:
    """What is wrong with the networks, each as a line that begins with a key of params.yaml."""
    unknown = list(_model_problems(params))
    yield from unknown
    if not unknown:
        yield from _network_problems(params)


def _model_problems(params: Params) -> Iterator[str]:
    entries = {f"weights.{name}.model": entry.model for name, entry in params.weights.items()}
    entries |= {f"cases.{name}.model": case.model for name, case in params.cases.items()}
    entries |= {f"cam.target_layers.{key}": key for key in params.cam.target_layers}
    asked = {where: model for where, model in entries.items() if model not in OWN_NETWORKS}
    if not asked:
        return
    import timm  # 3 s: only where a model of its is named

    for where, model in asked.items():
        name = timm_name(model)
        if not timm.is_model(architecture(name)):
            close = timm.list_models(f"*{architecture(model)[:6]}*")[:5]
            yield (
                f"{where}: got {model!r}; allowed: {', '.join(OWN_NETWORKS)} or a timm model"
                f"{', such as ' + ', '.join(close) if close else ''}"
            )
        elif not has_known_tag(name):
            tags = ", ".join(full.partition(".")[2] for full in _tagged(architecture(name)))
            yield (
                f"{where}: got {model!r}, a tag that timm does not know; allowed: "
                f"{architecture(model)!r} without a tag, or with one of its tags: {tags}"
            )


def has_known_tag(name: str) -> bool:
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
    for (model, size), names in progress(cases.items(), "networks", len(cases)):
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
    from stages.explain.rehearsal import (  # as above
        require_drop_path,
        require_fitting_weights,
        require_trainable,
    )
    from stages.modeling.boundary import split_at_boundary

    for name in names:
        case, recipe = params.case(name), params.recipe(params.case(name).recipe)
        weights_size = _weights_size(params, case.weights)
        try:
            require_trainable(classifier, case.head, _count_outputs(params, case), case.train)
            require_fitting_weights(classifier, case.model, size, weights_size)
            require_drop_path(case.model, recipe.drop_path)
            if recipe.cache_views:
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

    from stages.explain.rehearsal import require_drop_path
    from stages.modeling.classifier import build_backbone, count_features

    of_pretext = {n: e for n, e in params.weights.items() if e.source.kind == "pretext"}
    if of_pretext:
        yield from _pretext_step_problems(params)
    size, drop_path = params.pretext.size_px, params.recipe(params.pretext.recipe).drop_path
    for name, entry in of_pretext.items():
        try:
            with torch.device("meta"):
                count_features(build_backbone(entry.model, size), entry.model, size)
        except UserError as error:
            yield f"weights.{name}.{error} (pretext.size_px)"
            continue
        try:
            require_drop_path(entry.model, drop_path)
        except UserError as error:
            yield f"weights.{name}.{error} (pretext.recipe)"


def _pretext_step_problems(params: Params) -> Iterator[str]:
    """A recipe that needs more steps than the task has, in batches of whole patients."""
    name = params.pretext.recipe
    recipe = params.recipe(name)
    may_lack = recipe.ema or recipe.head_epochs
    if not may_lack and recipe.epochs * params.pretext.images >= AMPLE * recipe.batch_size:
        return
    from stages.modeling.optimizer import require_enough_steps  # torch, as above
    from stages.modeling.pretext import PATTERNS, VAL_SHARE  # Fabric: 1 s

    patients = params.pretext.images // len(PATTERNS)
    patients -= round(patients * VAL_SHARE)
    batches = math.ceil(patients / max(1, recipe.batch_size // len(PATTERNS)))
    try:
        require_enough_steps(recipe, recipe.epochs * batches)
    except UserError as error:
        yield f"recipes.{name}.{error} (pretext)"
