"""The scores of a case as one table for JSON: per image, and their means with intervals."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.explain.sanity import LEAST_FIRST, MOST_FIRST
from stages.explain.explanation import Checks, Explanation
from stages.explain.scores import (
    NOT_CLASS_SPECIFIC,
    FloatArray,
    PerImage,
    Regions,
    Summary,
    baseline_maps,
    compare_methods,
    load_regions,
    score_map,
    summarise,
)
from stages.explain.selection import DRAWN, Selection
from stages.dataset.image_set import ImageSet

Summarise = Callable[[PerImage], Summary]  # of (N,) values, NaN for images that do not count


def score_case(
    view: ImageSet, selected: Selection, explanation: Explanation, *, draws: int, seed: int
) -> dict[str, Any]:
    """Where the maps of a case lie and what became of the checks.

    Means are over the images that were drawn: errors and uncertain images are no sample. Scores
    of lesions count where the prediction is right, since a map of a wrong class need not be there.

    Args:
        view: the images, their lungs and, of phantoms, their lesions.
        selected: N images and the case's predictions.
        explanation: of the same N images.
        draws: of the bootstrap by group.
        seed: of the draws.
    """
    regions = [load_regions(view, row) for row in selected.rows]
    drawn = np.isin(np.arange(len(selected.rows)), selected.positions(DRAWN))
    groups = view.manifest["group_id"].to_numpy(str)[selected.rows]

    def over_drawn(values: PerImage) -> Summary:
        return summarise(np.where(drawn, values, np.nan), groups, draws=draws, seed=seed)

    is_right = selected.predicted == view.targets[selected.rows]
    baselines = {
        name: np.broadcast_to(cam, (len(regions), *cam.shape))
        for name, cam in baseline_maps(view.images.shape[1]).items()
    }
    return {
        "target_layer": explanation.target_layer,
        "lung_masks": "segmentation" if view.truth is None else "truth",
        "not_class_specific": [name for name in explanation.maps if name in NOT_CLASS_SPECIFIC],
        "images": _score_images(view, selected, explanation.maps, regions),
        "summary": {
            name: _summarise_scores(cams, regions, is_right, over_drawn)
            for name, cams in {**explanation.maps, **baselines}.items()
        },
        "agreement": {
            pair: over_drawn(values) for pair, values in compare_methods(explanation.maps).items()
        },
        "randomisation": _by_method(explanation.randomisation, over_drawn),
        "road": _summarise_road(explanation.road, over_drawn),
    }


def _score_images(
    view: ImageSet,
    selected: Selection,
    maps: Mapping[str, FloatArray],
    regions: list[Regions],
) -> list[dict[str, Any]]:
    """Per image: who it is, what was predicted, why it was selected, the scores of its maps."""
    facts = view.manifest.iloc[selected.rows]
    return [
        {
            "image_id": facts["image_id"].iloc[number],
            "group_id": facts["group_id"].iloc[number],
            "label": facts["label"].iloc[number],
            "prediction": view.info.class_names[selected.predicted[number]],
            "probability": round(float(selected.probabilities[number]), 6),
            "selected_as": selected.selected_as[number],
            **{name: score_map(cams[number], regions[number]) for name, cams in maps.items()},
        }
        for number in range(len(facts))
    ]


def _summarise_scores(
    cams: FloatArray,
    regions: list[Regions],
    is_right: NDArray[np.bool_],
    over_drawn: Summarise,
) -> dict[str, Summary]:
    """Mean scores of one method, and the share of its maps that are empty."""
    scores = [score_map(cam, where) for cam, where in zip(cams, regions, strict=True)]
    known = dict.fromkeys(name for score in scores for name in score)

    def values_of(name: str) -> PerImage:
        values = np.array([score.get(name) for score in scores], dtype=np.float64)  # None is NaN
        return np.where(is_right, values, np.nan) if "lesions" in name else values

    summary = {name: over_drawn(values_of(name)) for name in known}
    summary["empty"] = over_drawn(np.array([not cam.any() for cam in cams], dtype=np.float64))
    return summary


def _by_method(checks: Checks, over_drawn: Summarise) -> dict[str, dict[str, Summary]]:
    nested: dict[str, dict[str, Summary]] = {}
    for (method, check), values in checks.items():
        nested.setdefault(method, {})[check] = over_drawn(values)
    return nested


def _summarise_road(road: Checks, over_drawn: Summarise) -> dict[str, dict[str, Any]]:
    """Both orders, half their difference (the higher, the better the map), and how many images."""
    combined = {
        (method, "combined"): np.asarray((road[method, LEAST_FIRST] - most_first) / 2)
        for (method, order), most_first in road.items()
        if order == MOST_FIRST
    }
    return {
        method: {"n": scores["combined"]["n"], **scores}
        for method, scores in _by_method({**road, **combined}, over_drawn).items()
    }
