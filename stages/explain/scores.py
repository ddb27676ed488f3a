"""Where maps lie, in numbers, beside two maps that know nothing of the image."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from stages.evaluation.intervals import bootstrap_weights, percentile_interval
from stages.dataset.image_set import ImageSet
from stages.sources.item import LESION_BIT, LUNG_BIT

FloatArray = NDArray[np.float32]
PerImage = NDArray[np.float64]
Summary = dict[str, float | int | None]

# Methods whose maps are of the activations alone; the class decides at most their sign.
NOT_CLASS_SPECIFIC = ("eigencam",)
CONSTANT, GAUSSIAN = "constant", "gaussian"
DECIMALS = 6


class Regions(NamedTuple):
    """Lungs and lesions (S, S) of one image; None where the lesions are not known."""

    lungs: NDArray[np.bool_]
    lesions: NDArray[np.bool_] | None


def load_regions(view: ImageSet, row: int) -> Regions:
    """Lungs and lesions of one image: the truth where it is known, else the segmentation."""
    if view.truth is not None:
        truth = np.asarray(view.truth[row])
        return Regions((truth & LUNG_BIT) > 0, (truth & LESION_BIT) > 0)
    assert view.lung_masks is not None  # a view has them
    return Regions(np.asarray(view.lung_masks[row]) > 0, None)


def score_map(cam: FloatArray, regions: Regions) -> dict[str, float | None]:
    """Shares of one map (S, S) in [0, 1] inside the lungs and, where known, inside the lesions.

    `lungs_area` is what a constant map would reach: crops differ in it, so a share means little
    without it. `peak_in_lesions` is the pointing game (Zhang et al. 2018): 1 where the map's
    highest pixel is in a lesion; of several that are equally high, the share that is. An all-zero
    map has no share (None) and points nowhere (0).
    """
    lungs, lesions = regions
    scores = {"in_lungs": _share(cam, lungs), "lungs_area": _rounded(lungs.mean())}
    if lesions is not None and lesions.any():
        peaks = (cam == cam.max()) & (cam > 0)
        scores["in_lesions"] = _share(cam, lesions)
        scores["lesions_area"] = _rounded(lesions.mean())
        scores["peak_in_lesions"] = _rounded(lesions[peaks].mean()) if peaks.any() else 0.0
    return scores


def _share(cam: FloatArray, region: NDArray[np.bool_]) -> float | None:
    total = float(cam.sum(dtype=np.float64))
    return _rounded(cam[region].sum(dtype=np.float64) / total) if total > 0 else None


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def baseline_maps(size: int) -> dict[str, FloatArray]:
    """Maps (S, S) that any score must be read against: a constant one, and a central Gaussian."""
    return {CONSTANT: np.ones((size, size), np.float32), GAUSSIAN: gaussian_map(size)}


def gaussian_map(size: int) -> FloatArray:
    """A Gaussian (S, S) around the centre, 1 there; its standard deviation is a quarter of S."""
    offsets = (np.arange(size) - (size - 1) / 2) / (size / 4)
    bell = np.exp(-(offsets**2) / 2)
    gaussian = np.outer(bell, bell)
    return (gaussian / gaussian.max()).astype(np.float32)


def rank_correlations(first: FloatArray, second: FloatArray) -> PerImage:
    """Spearman's correlation (N,) of the pixels of maps (N, S, S); NaN where a map is constant."""
    values = np.full(len(first), np.nan)
    for number, pair in enumerate(zip(first, second, strict=True)):
        ranks = [rankdata(cam) - (cam.size + 1) / 2 for cam in pair]
        norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
        if norm > 0:
            values[number] = (ranks[0] * ranks[1]).sum() / norm
    return values


def summarise(
    values: Sequence[float | None] | PerImage, group_ids: NDArray[np.str_], *, draws: int, seed: int
) -> Summary:
    """Mean over images with its 95 % interval, groups drawn whole.

    Args:
        values: (N,) with None or NaN where there is none; `n` counts the others.
        group_ids: (N,) whose image it is; fewer than two groups give no interval.
        draws: number of bootstrap draws.
        seed: of the draws.
    """
    given = np.asarray(values, dtype=np.float64)
    is_given = ~np.isnan(given)
    given, groups = given[is_given], group_ids[is_given]
    summary: Summary = dict.fromkeys(("mean", "low", "high")) | {"n": len(given)}
    if len(given):
        summary["mean"] = _rounded(given.mean())
    if len(np.unique(groups)) > 1:
        weights = bootstrap_weights(groups, draws=draws, seed=seed)
        interval = percentile_interval(weights @ given / weights.sum(axis=1))
        assert interval.low is not None  # every draw has images, so none is undefined
        assert interval.high is not None
        summary |= {"low": _rounded(interval.low), "high": _rounded(interval.high)}
    return summary


def compare_methods(maps: Mapping[str, FloatArray]) -> dict[str, PerImage]:
    """Rank correlation (N,) of the maps of each pair of methods, by "<method> v <method>"."""
    return {
        f"{first} v {second}": rank_correlations(maps[first], maps[second])
        for first, second in combinations(maps, 2)
    }
