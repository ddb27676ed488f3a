"""Where maps lie, in numbers, beside two maps that know nothing of the image."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from stages.dataset.image_set import ImageSet
from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.evaluation.statistics.bootstrap import estimate_mean
from stages.evaluation.statistics.records import Bootstrap, Estimate
from stages.evaluation.statistics.rounding import DECIMALS

FloatArray = NDArray[np.float32]
PerImage = NDArray[np.float64]

CONSTANT, GAUSSIAN = "constant", "gaussian"


class Regions(NamedTuple):
    """Lungs and lesions (S, S) of one image; None where the lesions are not known."""

    lungs: NDArray[np.bool_]
    lesions: NDArray[np.bool_] | None


def load_regions(view: ImageSet, row: int) -> Regions:
    """Lungs and lesions of one image: the truth where it is known, else the segmentation."""
    known = view.truth_bits(row)
    truth = np.asarray(view.truth[row]) if view.truth is not None else np.zeros(0, np.uint8)
    if known & LUNG_BIT:
        lungs = (truth & LUNG_BIT) > 0
    else:
        assert view.lung_masks is not None  # a view has them
        lungs = np.asarray(view.lung_masks[row]) > 0
    return Regions(lungs, (truth & LESION_BIT) > 0 if known & LESION_BIT else None)


class Inside(NamedTuple):
    """How much of a map lies inside a region.

    Attributes:
        share: of the map, weighed by its values; None of a map of zeros, which has no share.
        area: of the image, which is what a constant map would reach: crops differ in it, so a
            share means little without it.
    """

    share: float | None
    area: float


class MapScores(NamedTuple):
    """Where one map lies.

    Attributes:
        lungs: how much inside the lungs.
        lesions: how much inside the lesions; None where there are none, or none are known.
        peak_in_lesions: the pointing game (Zhang et al. 2018): 1 where the map's highest pixel is
            in a lesion; of several that are equally high, the share that is; 0 of a map of zeros,
            which points nowhere. None like `lesions`.
    """

    lungs: Inside
    lesions: Inside | None = None
    peak_in_lesions: float | None = None

    def named(self) -> dict[str, float | None]:
        """The figures by the names that files have them by; those of lesions where there are."""
        figures = {"in_lungs": self.lungs.share, "lungs_area": self.lungs.area}
        if self.lesions is not None:
            figures["in_lesions"] = self.lesions.share
            figures["lesions_area"] = self.lesions.area
            figures["peak_in_lesions"] = self.peak_in_lesions
        return figures


class Mean(NamedTuple):
    """A mean over n images, with its interval."""

    estimate: Estimate
    n: int

    def to_json(self) -> dict[str, float | None]:
        """By the names that files have them by."""
        mean, low, high, *_ = self.estimate
        return {"mean": mean, "low": low, "high": high, "n": self.n}


def score_map(cam: FloatArray, regions: Regions) -> MapScores:
    """Where one map (S, S) in [0, 1] lies."""
    lungs, lesions = regions
    if lesions is None or not lesions.any():
        return MapScores(_inside(cam, lungs))
    peaks = (cam == cam.max()) & (cam > 0)
    peak = _rounded(lesions[peaks].mean()) if peaks.any() else 0.0
    return MapScores(_inside(cam, lungs), _inside(cam, lesions), peak)


def _inside(cam: FloatArray, region: NDArray[np.bool_]) -> Inside:
    total = float(cam.sum(dtype=np.float64))
    share = _rounded(cam[region].sum(dtype=np.float64) / total) if total > 0 else None
    return Inside(share, _rounded(region.mean()))


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), DECIMALS)


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


def average(values: PerImage, group_ids: NDArray[np.str_], bootstrap: Bootstrap) -> Mean:
    """Mean over images, groups drawn whole.

    Args:
        values: (N,) with NaN where there is none; these do not count.
        group_ids: (N,) whose image it is; fewer than two groups give no interval.
        bootstrap: draws behind the interval.
    """
    is_given = ~np.isnan(values)
    estimate = estimate_mean(values[is_given], group_ids[is_given], bootstrap)
    return Mean(estimate, int(is_given.sum()))


def compare_methods(maps: Mapping[str, FloatArray]) -> dict[str, PerImage]:
    """Rank correlation (N,) of the maps of each pair of methods, by "<method> v <method>"."""
    return {
        f"{first} v {second}": rank_correlations(maps[first], maps[second])
        for first, second in combinations(maps, 2)
    }
