import numpy as np
import pytest
from numpy.typing import NDArray

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
