import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.evaluation.statistics.permutation import (
    Permutations,
    PValues,
    _auroc,
    _find_units,
    _score_fold,
    permutation_p_values,
)

PENALTY = 10.0


def made_up(n: int = 60, features: int = 5, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, features))


def names(n: int) -> NDArray[np.str_]:
    return np.arange(n).astype(str)


def p_values_of(
    features: NDArray[np.float64],
    targets: NDArray[np.int64],
    groups: NDArray[np.str_] | None = None,
    fold_of: NDArray[np.int64] | None = None,
    draws: int = 199,
) -> PValues:
    n = len(targets)
    return permutation_p_values(
        features,
        targets,
        names(n) if groups is None else groups,
        np.arange(n) // 2 % 5 if fold_of is None else fold_of,
        penalty=PENALTY,
        permutations=Permutations(draws, seed=1),
    )


def by_turns(n: int, classes: int = 2) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64) % classes


@pytest.mark.parametrize("count", [5, 200])
def test_scores_are_those_of_a_ridge_regression_fitted_to_each_deal(count: int) -> None:
    features, targets, fold_of = made_up(60, count), by_turns(60), np.arange(60) // 2 % 3
    units = _find_units(targets, names(60), fold_of)
    deals = np.column_stack((units.label, np.random.default_rng(3).permutation(units.label)))
    tested_rows = fold_of == 0
    found = _score_fold(features, units, deals, tested_rows, PENALTY)
    for column in range(2):
        labels = deals[:, column][units.of_image]
        model = make_pipeline(StandardScaler(), Ridge(PENALTY))
        model.fit(features[~tested_rows], labels[~tested_rows])
        scores = model.predict(features[tested_rows])
        assert found[1, column] == pytest.approx(roc_auc_score(labels[tested_rows], scores))
        assert found[0, column] == pytest.approx(found[1, column])  # of two classes


def test_a_patient_counts_once_by_the_mean_of_the_images() -> None:
    # Fold 1 trains: the feature is the label. Patient a of fold 0 is of class 1 and has images at 0
    # and 10, mean 5; patient b, of class 0, has one at 4: a is above b, though one image is below.
    features = np.array([[0.0], [10.0], [4.0], [0.0], [1.0], [0.0], [1.0]])
    targets = np.array([1, 1, 0, 0, 1, 0, 1])
    groups = np.array(["a", "a", "b", "c", "d", "e", "f"])
    fold_of = np.array([0, 0, 0, 1, 1, 1, 1])
    units = _find_units(targets, groups, fold_of)
    found = _score_fold(features, units, units.label[:, None], fold_of == 0, PENALTY)
    assert found[:, 0].tolist() == [1, 1]


def test_the_area_counts_ties_half() -> None:
    scores = np.array([[0.1], [0.5], [0.5], [0.9]])
    # Of the pairs (0.5 v 0.1), (0.5 v 0.5), (0.9 v 0.1), (0.9 v 0.5) three are right, one is tied.
    is_class = np.array([[False], [True], [False], [True]])
    assert _auroc(scores, is_class).tolist() == [3.5 / 4]
    assert _auroc(scores, np.ones((4, 1), bool)).tolist() == [0.5]


def test_p_is_the_share_of_all_deals_that_are_as_good() -> None:
    # Two folds of two patients each; within a fold a deal keeps the labels or swaps them. A feature
    # that is the label is told in every fold, so is its opposite; with one fold swapped each
    # fold is told the wrong way round. So 2 of 4 deals are as good as the labels: p is near 1/2.
    targets = np.array([0, 1, 0, 1])
    features = targets[:, None].astype(float)
    found = p_values_of(features, targets, fold_of=np.array([0, 0, 1, 1]), draws=9_999)
    assert found.overall == pytest.approx(0.5, abs=0.02)


def test_what_is_told_perfectly_has_the_smallest_p() -> None:
    targets = by_turns(60)
    found = p_values_of(targets[:, None] + 0.01 * made_up(60, 1), targets, draws=999)
    assert found == PValues(1 / 1000, (1 / 1000, 1 / 1000))


def test_what_never_differs_has_p_one() -> None:
    assert p_values_of(np.ones((60, 3)), by_turns(60)) == PValues(1, (1, 1))
    assert p_values_of(np.zeros((60, 0)), by_turns(60)) == PValues(1, (1, 1))


def test_of_three_classes_the_one_that_differs_is_named() -> None:
    targets = by_turns(90, classes=3)
    features = made_up(90, 3)
    features[targets == 2] += 1.5
    found = p_values_of(features, targets, fold_of=np.arange(90) // 3 % 5, draws=999)
    assert found.overall <= 0.01
    assert found.by_class[2] == 1 / 1000
    assert len(found.by_class) == 3


@pytest.mark.parametrize("images", [1, 4])
def test_where_there_is_nothing_p_is_below_a_level_as_often_as_the_level_says(images: int) -> None:
    # Images of a patient are nearly the same: if they counted one by one, p would be far too small.
    patients, repeats, small = 40, 300, 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        own = rng.normal(size=(patients, 6))
        features = np.repeat(own, images, axis=0) + 0.1 * rng.normal(size=(patients * images, 6))
        of_image = np.repeat(np.arange(patients), images)
        found = permutation_p_values(
            features,
            by_turns(patients)[of_image],
            of_image.astype(str),
            of_image // 2 % 4,
            penalty=PENALTY,
            permutations=Permutations(99, seed),
        )
        small += found.overall <= 0.1
    # 30 are expected; the standard deviation is 5.2.
    assert 14 <= small <= 46


def test_a_patient_of_two_classes_counts_in_both() -> None:
    targets = by_turns(60)
    groups = names(60)
    groups[1] = groups[0]
    units = _find_units(targets, groups, np.zeros(60, np.int64))
    assert len(units.label) == 60
    assert units.label[units.of_image].tolist() == targets.tolist()


def test_the_same_seed_gives_the_same_p() -> None:
    features, targets = made_up(60), by_turns(60)
    first, second = (p_values_of(features, targets) for _ in range(2))
    assert first == second


def test_the_order_of_the_images_does_not_matter_to_what_is_told() -> None:
    targets = by_turns(60)
    features = made_up(60) + 0.4 * targets[:, None]
    fold_of = np.arange(60) // 2 % 5
    back = np.arange(60)[::-1]
    first = p_values_of(features, targets, fold_of=fold_of, draws=999)
    second = p_values_of(features[back], targets[back], names(60)[back], fold_of[back], draws=999)
    assert first.overall == pytest.approx(second.overall, abs=0.02)
