import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    precision_recall_curve,
    roc_curve,
)

from stages.evaluation.split_report import (
    CURVE_POINTS,
    build_curves,
    build_split_report,
    draw_class_balanced,
)

CLASSES = ["normal", "pneumonia", "covid"]


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def two_columns(of_second: list[float]) -> NDArray[np.float64]:
    second = np.array(of_second)
    return np.column_stack((1 - second, second))


def test_rows_of_the_confusion_matrix_are_actual_and_columns_predicted() -> None:
    # Two normal images, one called covid; three covid, one called pneumonia.
    report = build_split_report(ints(0, 0, 2, 2, 2), ints(0, 2, 2, 2, 1), CLASSES)
    assert report["class_names"] == CLASSES
    assert report["n"] == 5
    assert report["confusion_matrix"] == [[1, 0, 1], [0, 0, 0], [0, 1, 2]]


def test_the_classification_report_has_a_row_per_class() -> None:
    report = build_split_report(ints(0, 0, 2, 2, 2), ints(0, 2, 2, 2, 1), CLASSES)
    rows = report["classification_report"]
    assert rows["covid"] == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1-score": pytest.approx(2 / 3),
        "support": 3,
    }
    assert rows["normal"]["recall"] == pytest.approx(0.5)
    assert rows["accuracy"] == pytest.approx(0.6)


@pytest.mark.filterwarnings("error")
def test_a_class_without_a_prediction_or_an_image_counts_zero() -> None:
    report = build_split_report(ints(0, 1), ints(0, 0), CLASSES)
    rows = report["classification_report"]
    assert rows["pneumonia"]["precision"] == 0.0
    assert rows["covid"] == {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0.0}
    assert report["confusion_matrix"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_curves_start_and_end_where_they_must() -> None:
    curves = build_curves(ints(0, 1, 0, 1), two_columns([0.1, 0.4, 0.35, 0.8]), ["a", "b"])
    roc, points = curves["b"]["roc"], curves["b"]["precision_recall"]
    assert (roc["fpr"][0], roc["tpr"][0]) == (0.0, 0.0)
    assert (roc["fpr"][-1], roc["tpr"][-1]) == (1.0, 1.0)
    assert (points["recall"][0], points["precision"][0]) == (1.0, 0.5)
    assert (points["recall"][-1], points["precision"][-1]) == (0.0, 1.0)


def test_curves_of_a_perfect_ranking_go_through_the_corner() -> None:
    curves = build_curves(ints(0, 1, 0, 1), two_columns([0.1, 0.7, 0.2, 0.8]), ["a", "b"])
    for name in ("a", "b"):
        roc = curves[name]["roc"]
        assert (0.0, 1.0) in set(zip(roc["fpr"], roc["tpr"], strict=True))


def test_calibration_gives_the_share_seen_for_the_share_predicted() -> None:
    # Four images at 0.25 of which one is b, two at 0.75 that both are.
    curves = build_curves(ints(1, 0, 0, 0, 1, 1), two_columns([0.25] * 4 + [0.75] * 2), ["a", "b"])
    assert curves["b"]["calibration"] == {"predicted": [0.25, 0.75], "observed": [0.25, 1.0]}


@pytest.mark.filterwarnings("error")
def test_a_class_that_no_image_or_every_image_is_of_has_curves_without_a_point() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    curves = build_curves(ints(2, 2), probabilities, CLASSES)
    for name in CLASSES:
        assert curves[name]["roc"] == {"fpr": [], "tpr": []}
        assert curves[name]["calibration"] == {"predicted": [], "observed": []}
    assert build_curves(ints(0, 2), probabilities, CLASSES)["covid"]["roc"]["fpr"]
    json.dumps(curves, allow_nan=False)


def test_long_curves_are_thinned_and_keep_both_ends() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 5000)
    scores = np.clip(targets * 0.2 + rng.random(5000) * 0.8, 0, 1)
    roc = build_curves(targets, two_columns(list(scores)), ["a", "b"])["b"]["roc"]
    assert len(roc["fpr"]) == len(roc["tpr"]) == CURVE_POINTS
    assert (roc["fpr"][0], roc["tpr"][0]) == (0.0, 0.0)
    assert (roc["fpr"][-1], roc["tpr"][-1]) == (1.0, 1.0)


def test_a_balanced_draw_has_as_many_images_of_each_class_none_twice() -> None:
    targets = np.repeat(np.array([0, 1, 2]), [10, 4, 7])
    rows = draw_class_balanced(targets, seed=3)
    assert np.bincount(targets[rows]).tolist() == [4, 4, 4]
    assert len(set(rows.tolist())) == 12
    assert rows.tolist() == sorted(rows.tolist())


def test_the_seed_decides_a_balanced_draw() -> None:
    targets = np.repeat(np.array([0, 1]), [50, 5])
    assert (
        draw_class_balanced(targets, seed=1).tolist()
        == draw_class_balanced(targets, seed=1).tolist()
    )
    assert (
        draw_class_balanced(targets, seed=1).tolist()
        != draw_class_balanced(targets, seed=2).tolist()
    )


# ---- against scikit-learn ----------------------------------------------------------------------


def noisy(
    seed: int, classes: int, *, decimals: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Truth and weakly informative probabilities of 150 images; few decimals leave ties."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(classes, size=150)
    raw = rng.exponential(size=(150, classes))
    raw[np.arange(150), y_true] += 0.5
    return y_true, (raw / raw.sum(axis=1, keepdims=True)).round(decimals)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3])
def test_matrix_and_report_are_those_of_scikit_learn(classes: int, seed: int) -> None:
    y_true, probabilities = noisy(seed, classes, decimals=6)
    predictions = probabilities.argmax(axis=1)
    predictions[predictions == seed] = 0  # of some seeds a class is never predicted
    names, labels = CLASSES[:classes], list(range(classes))
    found = build_split_report(y_true, predictions, names)
    assert found["confusion_matrix"] == confusion_matrix(y_true, predictions).tolist()
    assert found["classification_report"] == classification_report(
        y_true, predictions, labels=labels, target_names=names, output_dict=True, zero_division=0
    )


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("seed", range(3))
def test_curves_are_those_of_scikit_learn(seed: int, decimals: int) -> None:
    y_true, probabilities = noisy(seed, 2, decimals=decimals)
    is_class, scores = y_true == 1, probabilities[:, 1]
    found = build_curves(y_true, probabilities, ["a", "b"])["b"]
    fpr, tpr, _ = roc_curve(is_class, scores)
    precision, recall, _ = precision_recall_curve(is_class, scores)
    observed, predicted = calibration_curve(is_class, scores, n_bins=10)
    assert found == {
        "roc": {"fpr": fpr.round(6).tolist(), "tpr": tpr.round(6).tolist()},
        "precision_recall": {
            "recall": recall.round(6).tolist(),
            "precision": precision.round(6).tolist(),
        },
        "calibration": {
            "predicted": predicted.round(6).tolist(),
            "observed": observed.round(6).tolist(),
        },
    }
