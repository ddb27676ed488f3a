"""Is there anything to tell? A permutation test of what a linear model says of unseen patients.

The interval over folds cannot answer that: fold values share their trainings, and where there was
nothing to find it lay above chance far more often than it may. Here the labels are dealt anew to
whole patients and the model is fitted again to each deal (Ojala and Garriga 2010, "Permutation
tests for studying classifier performance", test 1). That is exact whatever the model. Least squares
make it cheap: its scores are a fixed matrix times the labels, the same matrix for every deal.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Scores of like images must be ties, and sums in another order differ in the last digits.
SCORE_DECIMALS = 9
AUROC_DECIMALS = 9


class Permutations(NamedTuple):
    """Deals of the labels, and their seed."""

    draws: int
    seed: int


class PValues(NamedTuple):
    """One-sided: how often a deal of the labels is told as well as the labels are.

    Attributes:
        overall: of the mean AUROC of all classes, each against the rest.
        by_class: (K,) of each class against the rest.
    """

    overall: float
    by_class: tuple[float, ...]


class _Units(NamedTuple):
    """What gets a label: the images of one patient that have the same one.

    Attributes:
        of_image: (N,) the unit of each image.
        label: (U,) class of each.
        fold: (U,) fold of each.
    """

    of_image: IntArray
    label: IntArray
    fold: IntArray

    def mean(self, rows: FloatArray) -> FloatArray:
        """(U, F) of rows (N, F)."""
        return self.total(rows) / np.bincount(self.of_image)[:, None]

    def total(self, rows: FloatArray) -> FloatArray:
        """(U, F) of rows (N, F)."""
        return np.asarray(pd.DataFrame(rows).groupby(self.of_image).sum(), np.float64)


def permutation_p_values(
    features: FloatArray,
    targets: IntArray,
    groups: NDArray[np.str_],
    fold_of: IntArray,
    *,
    penalty: float,
    permutations: Permutations,
) -> PValues:
    """Test whether a ridge regression on the features tells the classes of unseen patients.

    The statistic is the AUROC of patients, each by the mean score of its images, averaged over the
    folds. Labels are dealt within a fold, so that every deal is stratified as the folds are; a
    patient of two classes counts as two. With b of B deals at least as good, p is (1 + b) / (1 + B)
    (Phipson and Smyth 2010). Where nothing can be told at all, as of constant features, p is 1.

    Args:
        features: (N, F).
        targets: (N,) class indices.
        groups: (N,) patient of each image.
        fold_of: (N,) fold of each image, whole groups.
        penalty: of the squared weights of the standardised features.
        permutations: the deals.
    """
    units = _find_units(targets, groups, fold_of)
    labels = _deal(units, permutations)  # (U, 1 + B), as they are in column 0
    found = np.zeros((targets.max() + 1, labels.shape[1]))
    with threadpool_limits(limits=1, user_api="blas"):
        for fold in np.unique(fold_of):
            found += _score_fold(features, units, labels, fold_of == fold, penalty)
    # A draw that is as good but for rounding is as good.
    found = (found / len(np.unique(fold_of))).round(AUROC_DECIMALS)
    return PValues(_p_value(found.mean(axis=0)), tuple(_p_value(of_class) for of_class in found))


def _find_units(targets: IntArray, groups: NDArray[np.str_], fold_of: IntArray) -> _Units:
    _, group = np.unique(groups, return_inverse=True)
    pairs = np.column_stack((group, targets))
    _, first, of_image = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    return _Units(of_image.ravel(), targets[first], fold_of[first])


def _deal(units: _Units, permutations: Permutations) -> IntArray:
    rng = np.random.default_rng(permutations.seed)
    labels = np.repeat(units.label[:, None], 1 + permutations.draws, axis=1)
    for fold in np.unique(units.fold):
        rows = np.flatnonzero(units.fold == fold)
        labels[rows, 1:] = rng.permuted(labels[rows, 1:], axis=0)
    return labels


def _score_fold(
    features: FloatArray,
    units: _Units,
    labels: IntArray,
    tested: NDArray[np.bool_],
    penalty: float,
) -> FloatArray:
    """(K, 1 + B) AUROC of the tested units by a model of the others, under each deal."""
    center, spread = features[~tested].mean(axis=0), features[~tested].std(axis=0)
    varies = spread > 1e-9 * (1 + np.abs(center))
    standard = (features[:, varies] - center[varies]) / spread[varies]
    own = np.unique(units.of_image[tested])
    is_own = np.isin(np.arange(len(units.label)), own)
    weights = _solve_ridge(standard[~tested], penalty)  # (F, n)
    of_units = units.total(_scatter(weights.T, ~tested))[~is_own].T  # (F, U - own)
    scored = units.mean(standard)[is_own]  # (own, F)
    smoother = scored @ of_units if len(scored) < scored.shape[1] else None
    n_classes = int(units.label.max()) + 1
    rows = []
    for number in range(n_classes) if n_classes > 2 else [1]:
        shown = (labels[~is_own] == number).astype(np.float64)
        scores = scored @ (of_units @ shown) if smoother is None else smoother @ shown
        rows.append(_auroc(scores.round(SCORE_DECIMALS), labels[is_own] == number))
    return np.stack(rows if n_classes > 2 else rows * 2)  # of two each is told as the other is


def _scatter(rows: FloatArray, where: NDArray[np.bool_]) -> FloatArray:
    """(N, F) with these rows where it is True, and zeros."""
    spread = np.zeros((len(where), rows.shape[1]))
    spread[where] = rows
    return spread


def _solve_ridge(standard: FloatArray, penalty: float) -> FloatArray:
    """(F, n): weights of the features are this times the labels; the features have mean 0."""
    n, count = standard.shape
    if count <= n:
        gram = standard.T @ standard + penalty * np.eye(count)
        return np.asarray(solve(gram, standard.T, assume_a="pos"))
    gram = standard @ standard.T + penalty * np.eye(n)
    return np.asarray(solve(gram, standard, assume_a="pos")).T


def _auroc(scores: FloatArray, is_class: NDArray[np.bool_]) -> FloatArray:
    """(B,) of scores (U, B), ties counted half; 0.5 where there is but one class to be told."""
    inside = is_class.sum(axis=0)
    pairs = inside * (len(is_class) - inside)
    above = (rankdata(scores, axis=0) * is_class).sum(axis=0) - inside * (inside + 1) / 2
    return np.where(pairs > 0, above / np.maximum(pairs, 1), 0.5)


def _p_value(found: FloatArray) -> float:
    """Share of the draws at least as good as the first, which is of the labels as they are."""
    return float((found >= found[0]).mean())
