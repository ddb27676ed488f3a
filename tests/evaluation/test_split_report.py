import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.dataset.image_set import DatasetInfo
from stages.dataset.predictions import tabulate_run
from stages.dataset.runs import Run
from stages.evaluation.split_report import (
    CURVE_POINTS,
    build_curves,
    build_split_report,
    draw_class_balanced,
    label_figures,
)

CLASSES = ["normal", "pneumonia", "covid"]
INFO = DatasetInfo(
    dataset="xray3",
    source="phantom:xray3",
    is_phantom=True,
    modality="xray",
    class_names=CLASSES,
    positive="covid",
    n_files=8,
    n_rejected=0,
    n_left_out=0,
    leakage=[],
    implies={"covid": ["pneumonia"]},
)


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


# ---- labels ------------------------------------------------------------------------------------


def labelled(rows: list[tuple[str, list[float]]]) -> pd.DataFrame:
    """A row per (true class, probabilities of normal, pneumonia and covid)."""
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(rows))],
            "group_id": [f"g{number}" for number in range(len(rows))],
            "label": [label for label, _ in rows],
            "subgroup": "",
        }
    )
    run = Run("", 1, 0, np.array(["test"] * len(rows)))
    return tabulate_run(manifest, run, np.array([scores for _, scores in rows]), CLASSES)


def figures(**values: Any) -> dict[str, Any]:
    return {name: pytest.approx(v, abs=1e-6) for name, v in values.items()} | {"undefined": {}}


def test_an_implied_label_is_present_in_images_of_the_class_that_implies_it() -> None:
    table = labelled(
        [
            ("normal", [0.2, 0.1, 0.7]),  # called covid, and so pneumonia as well
            ("normal", [0.8, 0.1, 0.1]),
            ("pneumonia", [0.1, 0.3, 0.6]),  # called covid: pneumonia is right all the same
            ("covid", [0.6, 0.3, 0.1]),  # missed
            ("covid", [0.1, 0.1, 0.8]),
        ]
    )
    found = label_figures(table, INFO)
    # Probability of pneumonia: 0.8, 0.2 without; 0.9, 0.4, 0.9 with it. 5 of 6 pairs in order.
    assert found["pneumonia"] == figures(
        n_positive=3, sensitivity=2 / 3, specificity=1 / 2, auroc=5 / 6
    )
    # Of covid: 0.7, 0.1, 0.6 without; 0.1, 0.8 with it: 0.5 + 3 of 6 pairs.
    assert found["covid"] == figures(
        n_positive=2, sensitivity=1 / 2, specificity=1 / 3, auroc=3.5 / 6
    )
    # Of normal: 0.2, 0.8 with it; 0.1, 0.6, 0.1 without: 5 of 6 pairs.
    assert found["normal"] == figures(
        n_positive=2, sensitivity=1 / 2, specificity=2 / 3, auroc=5 / 6
    )


def test_a_label_that_every_image_has_leaves_none_with_a_reason() -> None:
    found = label_figures(
        labelled([("covid", [0.1, 0.1, 0.8]), ("pneumonia", [0.1, 0.8, 0.1])]), INFO
    )
    of_pneumonia = found["pneumonia"]
    assert of_pneumonia["sensitivity"] == 1.0
    assert of_pneumonia["specificity"] is of_pneumonia["auroc"] is None
    assert of_pneumonia["undefined"] == {
        "specificity": "needs an image of another class than 'present'",
        "auroc": "needs an image of every class (absent, present)",
    }


def test_probabilities_that_add_up_to_a_little_over_one_are_a_share_all_the_same() -> None:
    # As six decimals leave them: 0.333334 + 0.666667 = 1.000001.
    table = labelled([("covid", [0.0, 0.333334, 0.666667]), ("normal", [0.9, 0.1, 0.0])])
    assert label_figures(table, INFO)["pneumonia"]["auroc"] == 1.0
