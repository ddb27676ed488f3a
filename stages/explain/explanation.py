"""Maps of some images of a view, by the models of one case, and the checks that need a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.explain.sanity import compute_road, randomise
from stages.explain.layers import default_target_layer
from stages.explain.methods import FloatArray, compute_cams
from stages.explain.scores import GAUSSIAN, PerImage, gaussian_map, rank_correlations
from stages.explain.selection import tested_by
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.classifier import Classifier
from stages.modeling.data import to_unit_range
from stages.modeling.outputs import Outputs

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


class _Images(NamedTuple):
    """Images (n, 1, S, S) in [0, 1], the class (n,) to explain of each, and which to check."""

    images: Tensor
    classes: Tensor
    is_randomised: NDArray[np.bool_]
    is_removed: NDArray[np.bool_]


class _Model(NamedTuple):
    """One run's network and what its maps are made by."""

    classifier: Classifier
    meta: dict[str, Any]
    outputs: Outputs
    methods: Sequence[str]
    target_layer: str

    def explain(
        self, network: Classifier, images: Tensor, classes: Tensor
    ) -> dict[str, FloatArray]:
        """Maps of this network, or of the same one with other weights."""
        return compute_cams(
            network,
            self.outputs,
            images,
            classes,
            methods=self.methods,
            target_layer=self.target_layer,
        )


def explain_rows(
    view: ImageSet,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    case_folder: Path,
    *,
    methods: Sequence[str],
    target_layer: str | None,
    randomised: NDArray[np.int64],
    removed: NDArray[np.int64],
    seed: int,
) -> Explanation:
    """Explain each image by the first run that tests it, so by none that was trained on it.

    Args:
        view: the images.
        rows: (N,) row numbers of test images.
        classes: (N,) index of the class whose evidence each map shows.
        case_folder: of the case's models.
        methods: names from `METHODS`.
        target_layer: name of a module; None takes the last feature stage.
        randomised: positions in `rows` of the images for the check with random weights.
        removed: positions in `rows` of the images for ROAD.
        seed: of the random weights, and of the noise of ROAD.
    """
    parts: list[Explanation] = []
    order: list[NDArray[np.int64]] = []
    for run, at in tested_by(load_runs(case_folder, view.manifest["image_id"]), rows):
        model = _load_model(run_folder(case_folder, run.name), methods, target_layer)
        asked = _Images(
            to_unit_range(torch.from_numpy(view.images[rows[at]])),
            torch.from_numpy(classes[at]),
            np.isin(at, randomised),
            np.isin(at, removed),
        )
        parts.append(_explain(model, asked, seed))
        order.append(at)
    back = np.argsort(np.concatenate(order))
    maps = {name: np.concatenate([part.maps[name] for part in parts])[back] for name in methods}
    return Explanation(
        parts[0].target_layer,
        maps,
        _join([part.randomisation for part in parts], order),
        _join([part.road for part in parts], order),
    )


def _join(parts: Sequence[Checks], order: Sequence[NDArray[np.int64]]) -> Checks:
    """The checks of several runs in the order of the rows; NaN where a run made none."""
    keys = dict.fromkeys(key for part in parts for key in part)
    joined = {key: np.full(sum(map(len, order)), np.nan) for key in keys}
    for part, at in zip(parts, order, strict=True):
        for key, values in part.items():
            joined[key][at] = values
    return joined


def _load_model(folder: Path, methods: Sequence[str], target_layer: str | None) -> _Model:
    classifier, meta = load_classifier(folder)
    classifier.to(memory_format=torch.channels_last)  # a quarter faster; the values stay
    layer = target_layer or default_target_layer(classifier)
    return _Model(classifier, meta, outputs_of(meta), methods, layer)


def _explain(model: _Model, asked: _Images, seed: int) -> Explanation:
    maps = model.explain(model.classifier, asked.images, asked.classes)
    return Explanation(
        model.target_layer,
        maps,
        _check_weights(model, asked, maps, seed),
        _check_removal(model, asked, maps, seed),
    )


def _check_weights(model: _Model, asked: _Images, maps: dict[str, FloatArray], seed: int) -> Checks:
    """Rank correlation of each map with that of the network with random weights."""
    at, checks = asked.is_randomised, {}
    if not at.any():
        return {}
    for what, network in randomise(model.classifier, model.meta, model.outputs, seed=seed).items():
        random = model.explain(network, asked.images[at], asked.classes[at])
        for method in model.methods:
            correlations = rank_correlations(maps[method][at], random[method])
            checks[method, what] = _spread(correlations, at)
    return checks


def _check_removal(model: _Model, asked: _Images, maps: dict[str, FloatArray], seed: int) -> Checks:
    """Change of the probability as pixels go, in the order of each map and of a Gaussian."""
    at, checks = asked.is_removed, {}
    if not at.any():
        return {}
    gaussian = np.repeat(gaussian_map(asked.images.shape[-1])[None], len(at), axis=0)
    for name, cams in {**maps, GAUSSIAN: gaussian}.items():
        changes = compute_road(
            model.classifier,
            model.outputs,
            asked.images[at],
            asked.classes[at],
            cams[at],
            seed=seed,
        )
        checks.update({(name, which): _spread(values, at) for which, values in changes.items()})
    return checks


def _spread(values: PerImage, at: NDArray[np.bool_]) -> PerImage:
    """(N,) with the values where `at`, NaN elsewhere."""
    spread = np.full(len(at), np.nan)
    spread[at] = values
    return spread
