"""Refuse a wrong params.yaml before any other stage deletes or trains anything.

Reads:  params.yaml, and the folders and networks that it names
Writes: data/check.json, always the same, so that a changed parameter re-runs only its own stages
"""

import logging
from collections.abc import Iterator

from stages.checking.images import find_image_problems
from stages.checking.networks import find_network_problems
from stages.checking.weights import find_weights_problems
from stages.config.command import run_single_stage
from stages.config.errors import UserError
from stages.config.load import refusal
from stages.config.params import CenterCrop, Params
from stages.config.paths import Paths
from stages.config.scratch import clean_scratch
from stages.config.writing import write_json

logger = logging.getLogger(__name__)


def check_params(params: Params, paths: Paths) -> None:
    """Look at what the schema cannot know: files, classes per split, networks, the machine."""
    problems = [
        *find_image_problems(params, paths),
        *find_weights_problems(params, paths),
        *find_network_problems(params),
        *_hardware_problems(params),
    ]
    if problems:
        raise refusal(problems)
    clean_scratch(params, paths)
    for line in _warnings(params):
        logger.warning("params.yaml: %s", line)
    write_json(paths.check, {"params.yaml": "checked"})


def _hardware_problems(params: Params) -> Iterator[str]:
    asked = params.compute.accelerator
    recipes = {case.recipe: params.recipe(case.recipe) for case in params.cases.values()}
    # Of several machines each has GPUs of its own, and this may be none of them.
    shared = {n: r for n, r in recipes.items() if r.devices > 1 and r.num_nodes == 1}
    if asked == "cpu" or (asked == "auto" and not shared):
        return
    from stages.modeling.compute import choose_hardware  # torch

    try:
        hardware = choose_hardware(params.compute)
    except UserError as error:
        yield str(error).removeprefix("params.yaml: ")
        return
    for name, recipe in shared.items():
        from stages.modeling.launch import require_gpus  # Fabric

        try:
            require_gpus(recipe, hardware)
        except UserError as error:
            yield f"recipes.{name}.{error}"


def _warnings(params: Params) -> Iterator[str]:
    """What can be done and is seldom meant."""
    yield from _mirror_warnings(params)
    for name, view in params.views.items():
        stored = params.dataset(view.dataset).size_px
        if isinstance(view.crop, CenterCrop) and view.size_px > view.crop.fraction * stored:
            factor = view.size_px / (view.crop.fraction * stored)
            yield (
                f"views.{name}.size_px: {view.size_px} px enlarge a crop of {view.crop.fraction:g} "
                f"of {stored} px {factor:.1f} times, which adds no detail; "
                f"datasets.{view.dataset}.size_px says how many pixels are kept"
            )


def _mirror_warnings(params: Params) -> Iterator[str]:
    for name, case in params.cases.items():
        flips = params.augmentation(case.augment).flip
        if params.protocol(case.protocol).mirror and not flips:
            yield (
                f"cases.{name}.protocol: {case.protocol!r} predicts mirrored images too, of which "
                f"training shows none: augmentations.{case.augment}.flip is 0"
            )


if __name__ == "__main__":
    run_single_stage(check_params, __doc__)
