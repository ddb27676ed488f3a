"""The scores of a case: per image, and their means over the images drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.dataset.image_set import ImageSet
from stages.dataset.truth import LUNG_BIT
from stages.evaluation.statistics.records import Bootstrap
from stages.explain.explanation import Checks, Explanation
from stages.explain.overlay import NOT_CLASS_SPECIFIC
from stages.explain.sanity import LEAST_FIRST, MOST_FIRST
from stages.explain.scores import (
    FloatArray,
    MapScores,
    Mean,
    PerImage,
    average,
    baseline_maps,
    compare_methods,
    load_regions,
    score_map,
)
from stages.explain.selection import DRAWN, Selection

Average = Callable[[PerImage], Mean]  # of (N,) values, NaN for images that do not count
Means = dict[str, Mean]
COMBINED = "combined"


class ImageScores(NamedTuple):
    """One image: who it is, what was predicted, why it was selected, where its maps lie.

    Attributes:
        image_id: as in the manifest.
        group_id: as in the manifest.
        label: true class.
        prediction: the decision.
        probability: of that class.
        selected_as: drawn, error, uncertain, or several of these.
        maps: by method.
    """

    image_id: str
    group_id: str
    label: str
    prediction: str
    probability: float
    selected_as: list[str]
    maps: dict[str, MapScores]

    def to_json(self) -> dict[str, Any]:
        """All of it on one level; the scores of each method by its name."""
        facts = self._asdict()
        scores = facts.pop("maps")
        return facts | {method: found.named() for method, found in scores.items()}


class CaseScores(NamedTuple):
    """Where the maps of a case lie, and what became of the checks.

    Attributes:
        target_layer: module that the maps are taken from.
        lung_masks: truth, or segmentation where no truth is known; both, where it is of some.
        not_class_specific: methods whose maps are of no class.
        images: all that were selected.
        summary: by method or baseline, and score.
        agreement: by pair of methods.
        randomisation: by method and what is random.
        road: by method or baseline, and order of removal; combined is half their difference (the
            higher, the better the map).
    """

    target_layer: str
    lung_masks: str
    not_class_specific: list[str]
    images: list[ImageScores]
    summary: dict[str, Means]
    agreement: Means
    randomisation: dict[str, Means]
    road: dict[str, Means]

    def to_json(self) -> dict[str, Any]:
        """As metrics/cam/<case>.json has it."""
        return {
            "target_layer": self.target_layer,
            "lung_masks": self.lung_masks,
            "not_class_specific": self.not_class_specific,
            "images": [image.to_json() for image in self.images],
            "summary": _nested_to_json(self.summary),
            "agreement": _means_to_json(self.agreement),
            "randomisation": _nested_to_json(self.randomisation),
            "road": {
                method: {"n": means[COMBINED].n, **_means_to_json(means)}
                for method, means in self.road.items()
            },
        }


def _means_to_json(means: Means) -> dict[str, Any]:
    return {name: mean.to_json() for name, mean in means.items()}


def _nested_to_json(nested: Mapping[str, Means]) -> dict[str, Any]:
    return {name: _means_to_json(means) for name, means in nested.items()}


def score_case(
    view: ImageSet, selected: Selection, explanation: Explanation, bootstrap: Bootstrap
) -> CaseScores:
    """Score the maps of a case.

    Means are over the images that were drawn: errors and uncertain images are no sample. Scores
    of lesions count where the prediction is right, since a map of a wrong class need not be there.

    Args:
        view: the images, their lungs and, of phantoms, their lesions.
        selected: N images and the case's predictions.
        explanation: of the same N images.
        bootstrap: draws behind the intervals.
    """
    maps = explanation.maps | _baselines(view, len(selected.rows))
    scores = _score_maps(view, selected, maps)
    is_right = selected.predicted == view.targets[selected.rows]
    over_drawn = _average_over_drawn(view, selected, bootstrap)
    return CaseScores(
        explanation.target_layer,
        _say_lung_masks(view, selected),
        [name for name in explanation.maps if name in NOT_CLASS_SPECIFIC],
        _describe_images(view, selected, {name: scores[name] for name in explanation.maps}),
        {name: _summarise(scores[name], maps[name], is_right, over_drawn) for name in maps},
        {pair: over_drawn(values) for pair, values in compare_methods(explanation.maps).items()},
        _by_method(explanation.randomisation, over_drawn),
        _by_method(_with_combined(explanation.road), over_drawn),
    )


def _say_lung_masks(view: ImageSet, selected: Selection) -> str:
    known = view.knows(LUNG_BIT)[selected.rows]
    if known.all() or not known.any():
        return "truth" if known.any() else "segmentation"
    return f"truth in {known.sum()} of {len(known)} images, else segmentation"


def _baselines(view: ImageSet, count: int) -> dict[str, FloatArray]:
    return {
        name: np.broadcast_to(cam, (count, *cam.shape))
        for name, cam in baseline_maps(view.images.shape[1]).items()
    }


def _score_maps(
    view: ImageSet, selected: Selection, maps: Mapping[str, FloatArray]
) -> dict[str, list[MapScores]]:
    regions = [load_regions(view, row) for row in selected.rows]
    return {
        name: [score_map(cam, where) for cam, where in zip(cams, regions, strict=True)]
        for name, cams in maps.items()
    }


def _average_over_drawn(view: ImageSet, selected: Selection, bootstrap: Bootstrap) -> Average:
    drawn = selected.positions(DRAWN)
    groups = view.manifest["group_id"].to_numpy(str)[selected.rows[drawn]]
    return lambda values: average(values[drawn], groups, bootstrap)


def _describe_images(
    view: ImageSet, selected: Selection, scores: Mapping[str, Sequence[MapScores]]
) -> list[ImageScores]:
    facts = view.manifest.iloc[selected.rows]
    return [
        ImageScores(
            facts["image_id"].iloc[number],
            facts["group_id"].iloc[number],
            facts["label"].iloc[number],
            view.info.class_names[selected.predicted[number]],
            round(float(selected.probabilities[number]), 6),
            selected.selected_as[number],
            {name: of_images[number] for name, of_images in scores.items()},
        )
        for number in range(len(facts))
    ]


def _summarise(
    scores: Iterable[MapScores],
    cams: FloatArray,
    is_right: NDArray[np.bool_],
    over_drawn: Average,
) -> Means:
    """Mean scores of one method, and the share of its maps that are empty."""
    figures = [of_image.named() for of_image in scores]
    names = dict.fromkeys(name for of_image in figures for name in of_image)

    def values_of(name: str) -> PerImage:
        values = np.array([found.get(name) for found in figures], dtype=np.float64)  # None is NaN
        return np.where(is_right, values, np.nan) if "lesions" in name else values

    summary = {name: over_drawn(values_of(name)) for name in names}
    summary["empty"] = over_drawn(np.array([not cam.any() for cam in cams], dtype=np.float64))
    return summary


def _by_method(checks: Checks, over_drawn: Average) -> dict[str, Means]:
    nested: dict[str, Means] = {}
    for (method, check), values in checks.items():
        nested.setdefault(method, {})[check] = over_drawn(values)
    return nested


def _with_combined(road: Checks) -> Checks:
    """Both orders of removal, and half their difference."""
    return road | {
        (method, COMBINED): np.asarray((road[method, LEAST_FIRST] - most_first) / 2)
        for (method, order), most_first in road.items()
        if order == MOST_FIRST
    }
