"""Maps of some images of a view, by the models of one case, and the checks that need a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import load_runs
from stages.explain.layers import target_layer
from stages.explain.methods import Asked, Explainer, FloatArray, compute_cams
from stages.explain.sanity import Judge, compute_road, randomise
from stages.explain.scores import GAUSSIAN, PerImage, gaussian_map, rank_correlations
from stages.explain.selection import DRAWN, Selection, spread_over, tested_by
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.data import to_unit_range
from stages.modeling.fused import fuse

Checks = dict[tuple[str, str], PerImage]  # (method, check) -> (N,), NaN where it was not made


class Explanation(NamedTuple):
    """Where a case looks, and whether that depends on its weights and matters to it.

    Attributes:
        target_layer: name of the module that the maps are taken from.
        maps: per method (N, S, S) in [0, 1], of the classes asked for.
        randomisation: by method and what is random, the head or all: rank correlation of the map
            with that of the same network with random weights.
        road: by method, or "gaussian", and order of removal: change of the probability.
    """

    target_layer: str
    maps: dict[str, FloatArray]
    randomisation: Checks
    road: Checks


class _Model(NamedTuple):
    """One run's network and the meta of its training."""

    explainer: Explainer
    meta: dict[str, Any]


class _Checked(NamedTuple):
    """(N,) which images are explained with random weights too, and of which pixels are removed."""

    randomised: NDArray[np.bool_]
    removed: NDArray[np.bool_]


def explain_images(
    view: ImageSet, selected: Selection, case_folder: Path, cam: Cam, seed: int
) -> Explanation:
    """Explain each image by the first run that tests it, so by none that was trained on it.

    The maps are of the classes predicted. The checks are made of images that were drawn: random
    weights of all of them, ROAD, which is dear, of some.

    Args:
        view: the images.
        selected: N test images, and the predictions.
        case_folder: of the case's models.
        cam: methods, target layers by architecture (others: the last feature stage), and how many
            images ROAD is made of.
        seed: of the random weights, and of the noise of ROAD.
    """
    drawn = selected.positions(DRAWN)
    removed = spread_over(drawn, cam.road_images)
    parts: list[Explanation] = []
    order: list[NDArray[np.int64]] = []
    for run, at in tested_by(load_runs(case_folder).on(view.manifest), selected.rows):
        model = _load_model(run_folder(case_folder, run.name), cam)
        asked = Asked(
            to_unit_range(torch.from_numpy(view.images[selected.rows[at]])),
            torch.from_numpy(selected.predicted[at]),
        )
        checked = _Checked(np.isin(at, drawn), np.isin(at, removed))
        parts.append(_explain(model, asked, checked, seed))
        order.append(at)
    return _join(parts, order)


def map_classes(
    view: ImageSet,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    case_folder: Path,
    cam: Cam,
) -> dict[str, FloatArray]:
    """Maps of given classes, without checks, each image by the first run that tests it.

    Args:
        view: the images.
        rows: (n,) of test images, at least one.
        classes: (n,) class index that each map is to be of.
        case_folder: of the case's models.
        cam: methods and target layers.

    Returns:
        Per method (n, S, S) in [0, 1].
    """
    parts, order = [], []
    for run, at in tested_by(load_runs(case_folder).on(view.manifest), rows):
        model = _load_model(run_folder(case_folder, run.name), cam)
        images = to_unit_range(torch.from_numpy(view.images[rows[at]]))
        parts.append(compute_cams(model.explainer, Asked(images, torch.from_numpy(classes[at]))))
        order.append(at)
    back = np.argsort(np.concatenate(order))
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def _load_model(folder: Path, cam: Cam) -> _Model:
    classifier, meta = load_classifier(folder)
    classifier.to(memory_format=torch.channels_last)  # a quarter faster; the values stay
    layer = target_layer(classifier, meta["model"], cam.target_layers)
    return _Model(Explainer(classifier, outputs_of(meta), cam.methods, layer), meta)


def _explain(model: _Model, asked: Asked, checked: _Checked, seed: int) -> Explanation:
    maps = compute_cams(model.explainer, asked)
    return Explanation(
        model.explainer.target_layer,
        maps,
        _check_weights(model, asked, maps, checked.randomised, seed),
        _check_removal(model, asked, maps, checked.removed, seed),
    )


def _check_weights(
    model: _Model, asked: Asked, maps: dict[str, FloatArray], at: NDArray[np.bool_], seed: int
) -> Checks:
    """Rank correlation of each map `at` with that of the network with random weights."""
    checks: Checks = {}
    if not at.any():
        return checks
    networks = randomise(model.explainer.classifier, model.meta, seed=seed)
    for what, network in networks.items():
        random = compute_cams(model.explainer._replace(classifier=network), asked.at(at))
        for method, cams in random.items():
            checks[method, what] = _spread(rank_correlations(maps[method][at], cams), at)
    return checks


def _check_removal(
    model: _Model, asked: Asked, maps: dict[str, FloatArray], at: NDArray[np.bool_], seed: int
) -> Checks:
    """Change of the probability as pixels go, in the order of each map `at` and of a Gaussian."""
    checks: Checks = {}
    if not at.any():
        return checks
    classifier = fuse(model.explainer.classifier)
    judge = Judge(classifier, model.explainer.outputs, model.meta["precision"])
    gaussian = np.repeat(gaussian_map(asked.images.shape[-1])[None], len(at), axis=0)
    for name, cams in {**maps, GAUSSIAN: gaussian}.items():
        changes = compute_road(judge, asked.at(at), cams[at], seed=seed)
        checks.update({(name, which): _spread(values, at) for which, values in changes.items()})
    return checks


def _spread(values: PerImage, at: NDArray[np.bool_]) -> PerImage:
    """(N,) with the values where `at`, NaN elsewhere."""
    spread = np.full(len(at), np.nan)
    spread[at] = values
    return spread


def _join(parts: Sequence[Explanation], order: Sequence[NDArray[np.int64]]) -> Explanation:
    """What several runs gave, in the order of the images that each explained."""
    back = np.argsort(np.concatenate(order))
    maps = {
        name: np.concatenate([part.maps[name] for part in parts])[back] for name in parts[0].maps
    }
    return Explanation(
        parts[0].target_layer,
        maps,
        _join_checks([part.randomisation for part in parts], order),
        _join_checks([part.road for part in parts], order),
    )


def _join_checks(parts: Sequence[Checks], order: Sequence[NDArray[np.int64]]) -> Checks:
    """The checks of several runs in the order of the images; NaN where a run made none."""
    keys = dict.fromkeys(key for part in parts for key in part)
    joined = {key: np.full(sum(map(len, order)), np.nan) for key in keys}
    for part, at in zip(parts, order, strict=True):
        for key, values in part.items():
            joined[key][at] = values
    return joined
