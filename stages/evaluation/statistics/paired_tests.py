"""Paired tests of two classifiers on the same images, and a correction for many of them.

Images of one patient are alike, so both tests sum over groups first; where each group has one
image they are the textbook tests.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.evaluation.statistics.effective_size import detectable
from stages.evaluation.statistics.intervals import LEVEL
from stages.evaluation.statistics.records import Estimate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Rounding leaves at most this much of a variance of 0; one swapped pair of 10^8 gives 10^-16.
ROUNDING = 1e-24


class AccuracyTest(NamedTuple):
    """Whether two accuracies differ.

    Attributes:
        n_only_first: images that the first alone decides right.
        n_only_second: images that the second alone decides right.
        p_value: two-sided, of no difference.
        undefined: why there is no statistic; None where there is one.
        p_value_holm: adjusted for a family of tests; None where it is of none.
    """

    n_only_first: int | None
    n_only_second: int | None
    p_value: float | None
    undefined: str | None = None
    p_value_holm: float | None = None


def delong_test(
    is_positive: ArrayLike, first: ArrayLike, second: ArrayLike, group_ids: ArrayLike
) -> Estimate:
    """Test the difference of two AUROCs on the same images; not rounded.

    DeLong et al. 1988 from placements, the share of the other class that an image is ranked right
    against (ties one half), with the variance of Obuchowski 1997 for clustered data: placements
    are summed over each group, whose positives and negatives may go together. Where each group
    has one image this is DeLong's variance exactly. Sorting makes it O(n log n).

    Args:
        is_positive: (n,) booleans, the truth.
        first: (n,) scores of the first model, higher for positive; any scale, finite.
        second: (n,) scores of the second model.
        group_ids: (n,) who each image shows; an image of an unknown patient needs an id of its own.

    Raises:
        ValueError: the arrays differ in length, or a score is not finite.
    """
    truth, groups = np.asarray(is_positive, dtype=bool), _group_indices(group_ids)
    scores = np.array([first, second], dtype=np.float64)
    _require_one_per_image(len(truth), scores.shape[1], len(groups))
    if not np.isfinite(scores).all():
        raise ValueError("scores: got NaN or infinity; give finite numbers")
    if truth.all() or not truth.any():
        return Estimate(None, why_undefined="needs an image of each of two classes")
    placed_a, placed_b = (_placements(truth, row) for row in scores)
    difference = float((placed_a - placed_b)[truth].mean())
    variance = _clustered_variance(placed_a - placed_b, truth, groups)
    if variance is None:
        return Estimate(difference, why_undefined="needs images of each class from two groups")
    if variance < ROUNDING:
        p_value = 1.0 if abs(difference) < math.sqrt(ROUNDING) else None
        reason = "the variance of the difference is 0"
        return Estimate(difference, why_undefined=reason, p_value=p_value)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(variance)
    p_value = _two_sided(difference / math.sqrt(variance))
    return Estimate(
        difference,
        difference - half,
        difference + half,
        p_value=p_value,
        detectable=detectable(math.sqrt(variance)),
    )


def mcnemar_test(
    first_is_right: ArrayLike, second_is_right: ArrayLike, group_ids: ArrayLike
) -> AccuracyTest:
    """Test the difference of two accuracies on the same images.

    Obuchowski 1998 for clustered data: z^2 = (sum_k d_k)^2 / sum_k d_k^2, with d_k the images of
    group k that the first alone decides right minus those that the second alone does. Where each
    group has one image, z^2 is McNemar's chi-square of 1947 without continuity correction.

    Args:
        first_is_right: (n,) booleans, whether the first model's decision is the truth.
        second_is_right: (n,) booleans, of the second.
        group_ids: (n,) who each image shows; an image of an unknown patient needs an id of its own.

    Raises:
        ValueError: the arrays differ in length.
    """
    a, b = (np.asarray(side, dtype=bool) for side in (first_is_right, second_is_right))
    groups = _group_indices(group_ids)
    _require_one_per_image(len(a), len(b), len(groups))
    per_group = np.bincount(groups, weights=a.astype(float) - b)  # whole numbers
    counts = int((a & ~b).sum()), int((b & ~a).sum())
    spread = float(per_group @ per_group)
    if spread == 0:
        return AccuracyTest(*counts, 1.0, "in no group is one right more often")
    return AccuracyTest(*counts, _two_sided(float(per_group.sum()) / math.sqrt(spread)))


def adjust_holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Adjust the p-values of a family of tests by the step-down method of Holm 1979.

    Args:
        p_values: name to p-value; None, a test that could not be made, is not of the family.

    Returns:
        Name to the adjusted p-value, at most 1; None stays None.
    """
    # Of statsmodels this is one line, and an import that takes longer than all of `evaluate`.
    known = {name: p for name, p in p_values.items() if p is not None}
    found: dict[str, float] = {}
    least = 0.0
    for step, name in enumerate(sorted(known, key=known.__getitem__)):
        least = max(least, min(1.0, (len(known) - step) * known[name]))
        found[name] = least
    return {name: found.get(name) for name in p_values}


def _group_indices(group_ids: ArrayLike) -> IntArray:
    """Return (n,) the number of each image's group, from 0."""
    return np.unique(np.asarray(group_ids), return_inverse=True)[1]


def _require_one_per_image(*lengths: int) -> None:
    if len(set(lengths)) > 1:
        raise ValueError(f"got arrays of {lengths} images; give a value of each for every image")


def _two_sided(z: float) -> float:
    """Return the two-sided p-value of a standard normal, exact far into the tails."""
    return math.erfc(abs(z) / math.sqrt(2))


def _placements(truth: NDArray[np.bool_], scores: FloatArray) -> FloatArray:
    """Return (n,) the share of the other class that each image is ranked right against."""
    placed = np.empty(len(scores))
    for own, sign in ((truth, 1), (~truth, -1)):  # right for a negative is below a positive
        others = np.sort(sign * scores[~own])
        below = np.searchsorted(others, sign * scores[own], side="left")
        up_to = np.searchsorted(others, sign * scores[own], side="right")
        placed[own] = (below + up_to) / (2 * len(others))
    return placed


def _clustered_variance(
    placed: FloatArray, truth: NDArray[np.bool_], groups: IntArray
) -> float | None:
    """Return the variance of the mean placement over groups, Obuchowski 1997, section 2.

    Every estimate in it is linear in the placements, so those of a difference of two models are
    differences of placements.

    Args:
        placed: (n,) placements, or differences of two models'.
        truth: (n,) True for positives; the mean of `placed` is the same over either class.
        groups: (n,) number of each image's group, from 0.
    """
    centred = placed - placed[truth].mean()
    count = int(groups.max()) + 1
    share, counts = [], []  # of positives, of negatives
    for members in (truth, ~truth):
        sums = np.bincount(groups[members], weights=centred[members], minlength=count)
        share.append(sums / members.sum())
        counts.append(len(np.unique(groups[members])))
    if min(counts) < 2:
        return None
    own = sum(n / (n - 1) * s @ s for n, s in zip(counts, share, strict=True))
    return float(own + 2 * count / (count - 1) * share[0] @ share[1])
