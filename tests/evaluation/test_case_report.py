import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.evaluation.case_report import CaseReport, label_figures
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.prediction_table import average_test_rows, tabulate_run
from stages.imaging.image_set import DatasetInfo
from stages.imaging.runs import Run

INFO = DatasetInfo(
    dataset="ct",
    source="phantom:ct",
    is_phantom=True,
    modality="ct",
    class_names=["normal", "covid"],
    positive="covid",
    n_files=8,
    n_rejected=0,
    n_left_out=0,
    leakage=[],
    implies={},
)
NAMES = INFO.class_names
THREE = replace(
    INFO, class_names=["normal", "pneumonia", "covid"], implies={"covid": ["pneumonia"]}
)

# Four test images of four patients, then one image of each class in train and in val.
MANIFEST = pd.DataFrame(
    {
        "image_id": list("abcdefgh"),
        "group_id": [f"g{number}" for number in range(8)],
        "label": ["normal", "covid"] * 4,
        "split": ["test"] * 4 + ["train"] * 2 + ["val"] * 2,
        "subgroup": ["marker"] * 2 + ["no-marker"] * 2 + [""] * 4,
    }
)
SPLITS = MANIFEST["split"].to_numpy(str)
TRAIN_VAL = [0.9, 0.9, 0.1, 0.9]  # covid in train half right, in val all right


def scores(of_covid: list[float]) -> NDArray[np.float64]:
    second = np.array(of_covid)
    return np.column_stack((1 - second, second))


def run_rows(of_covid: list[float], *, fold: int = 1, seed: int = 0) -> pd.DataFrame:
    """The table of one run on the splits of the manifest; four test scores, then fixed ones."""
    run = Run("", fold, seed, SPLITS)
    return tabulate_run(MANIFEST, run, scores(of_covid + TRAIN_VAL), NAMES)


def report_of(
    table: pd.DataFrame, run_table: pd.DataFrame | None = None, info: DatasetInfo = INFO
) -> CaseReport:
    return CaseReport(table, table if run_table is None else run_table, info, draws=200, seed=0)


# Right on 4, on 3 and on 2 of the four test images.
ALL_RIGHT, ONE_WRONG, TWO_WRONG = [0.1, 0.8, 0.2, 0.9], [0.6, 0.8, 0.2, 0.9], [0.6, 0.3, 0.2, 0.9]


def three_seeds() -> pd.DataFrame:
    each = enumerate((ALL_RIGHT, ONE_WRONG, TWO_WRONG))
    return pd.concat([run_rows(s, seed=seed) for seed, s in each], ignore_index=True)


def test_a_case_of_one_run_has_exactly_one_row_per_image_in_the_order_of_the_view() -> None:
    table = run_rows(ALL_RIGHT)
    assert table.columns.tolist() == [
        "image_id",
        "group_id",
        "split",
        "subgroup",
        "fold",
        "seed",
        "label",
        "prediction",
        "prob_normal",
        "prob_covid",
    ]
    assert table["image_id"].tolist() == MANIFEST["image_id"].tolist()
    assert table["prediction"].tolist()[:4] == ["normal", "covid", "normal", "covid"]
    assert table["prob_covid"].tolist() == ALL_RIGHT + TRAIN_VAL


def test_the_split_of_a_row_is_that_of_its_run_not_that_of_the_data_set() -> None:
    splits = np.roll(SPLITS, 4)
    table = tabulate_run(MANIFEST, Run("fold2-seed5", 2, 5, splits), scores([0.5] * 8), NAMES)
    assert table["split"].tolist() == splits.tolist()
    assert (set(table["fold"]), set(table["seed"])) == ({2}, {5})


def test_probabilities_are_written_with_six_decimals_and_decided_as_written() -> None:
    # 0.5000001 would be covid; both are 0.5 as written, and the first class wins.
    table = run_rows([0.5000001, 0.5000009, 0.123456789, 0.9])
    assert table["prob_covid"].tolist()[:3] == [0.5, 0.500001, 0.123457]
    assert table["prediction"].tolist()[:2] == ["normal", "covid"]


def test_averaging_gives_one_test_row_per_image_of_mean_probabilities() -> None:
    table = three_seeds()
    averaged = average_test_rows(table, NAMES)
    test = averaged[averaged["split"] == "test"]
    assert test["image_id"].tolist() == list("abcd")
    # a: (0.1 + 0.6 + 0.6) / 3; b: (0.8 + 0.8 + 0.3) / 3.
    assert test["prob_covid"].tolist() == [0.433333, 0.633333, 0.2, 0.9]
    assert test["prob_normal"].tolist() == [0.566667, 0.366667, 0.8, 0.1]
    assert test["prediction"].tolist() == ["normal", "covid", "normal", "covid"]
    assert test["subgroup"].tolist() == ["marker", "marker", "no-marker", "no-marker"]
    assert averaged.columns.tolist() == table.columns.tolist()


def test_averaging_leaves_the_other_splits_as_they_are() -> None:
    table = three_seeds()
    averaged = average_test_rows(table, NAMES)
    for split in ("train", "val"):
        before, after = (rows[rows["split"] == split] for rows in (table, averaged))
        assert after.to_dict("list") == before.to_dict("list")


def test_an_averaged_row_keeps_fold_and_seed_where_its_runs_agree() -> None:
    # a and b are tested by fold 1, c and d by fold 2, each with two seeds.
    other = np.array(["train", "val", "test", "test", "train", "train", "val", "val"])
    first = np.array(["test", "test", "train", "val", "train", "train", "val", "val"])
    rows = [
        tabulate_run(MANIFEST, Run("", fold, seed, splits), scores([0.5] * 8), NAMES)
        for fold, splits in ((1, first), (2, other))
        for seed in (0, 1)
    ]
    averaged = average_test_rows(pd.concat(rows, ignore_index=True), NAMES)
    test = averaged[averaged["split"] == "test"]
    assert test["fold"].tolist() == [1, 1, 2, 2]
    assert test["seed"].isna().all()
    lines = test.to_csv(index=False).splitlines()
    assert lines[1] == "a,g0,test,marker,1,,normal,normal,0.5,0.5"


def test_one_run_has_its_figures_and_none_over_runs() -> None:
    report = report_of(run_rows(ONE_WRONG))
    flat = report.headline()
    assert (flat["accuracy"], flat["sensitivity"], flat["specificity"]) == (0.75, 1.0, 0.5)
    assert (flat["train_accuracy"], flat["val_accuracy"]) == (0.5, 1.0)
    assert (flat["n_test"], flat["n_runs"]) == (4, 1)
    assert flat["balanced_accuracy_marker"] == 0.5
    assert [name for name in flat if "_run_" in name] == []
    assert set(report.reports()) == {"train", "val", "test", "test_balanced", "test_subgroups"}


def test_several_runs_are_pooled_and_have_their_mean_and_sample_standard_deviation() -> None:
    flat = report_of(three_seeds()).headline()
    # 4, 3 and 2 of 4 are right: mean 0.75, and sqrt((1/16 + 0 + 1/16) / 2) = 0.25.
    assert (flat["accuracy"], flat["accuracy_run_mean"]) == (0.75, 0.75)
    assert flat["accuracy_run_sd"] == 0.25
    # Specificity is 1, 1/2 and 1/2; sensitivity 1, 1 and 1/2.
    assert (flat["specificity_run_mean"], flat["specificity_run_sd"]) == (0.666667, 0.288675)
    assert (flat["sensitivity_run_mean"], flat["sensitivity_run_sd"]) == (0.833333, 0.288675)
    assert (flat["n_test"], flat["n_runs"]) == (4, 3)
    over_runs = [f"{m}_run_{end}" for m in HEADLINE_METRICS for end in ("mean", "sd")]
    assert [name for name in flat if "_run_" in name] == over_runs


def test_rows_of_one_image_do_not_narrow_the_interval() -> None:
    once = report_of(run_rows(ONE_WRONG)).headline()
    same = [run_rows(ONE_WRONG, seed=seed) for seed in range(3)]
    thrice = report_of(pd.concat(same, ignore_index=True)).headline()
    for end in ("", "_low", "_high"):
        assert thrice[f"accuracy{end}"] == once[f"accuracy{end}"]
    assert once["accuracy_low"] != once["accuracy_high"]


def test_averaged_rows_make_the_headline_and_single_models_the_figures_of_the_runs() -> None:
    run_table = three_seeds()
    report = report_of(average_test_rows(run_table, NAMES), run_table)
    flat = report.headline()
    assert flat["accuracy"] == 1.0
    assert (flat["accuracy_run_mean"], flat["accuracy_run_sd"]) == (0.75, 0.25)
    assert (flat["n_test"], flat["n_runs"]) == (4, 3)
    reports = report.reports()
    assert reports["test"]["n"] == 4
    assert [run["metrics"]["accuracy"] for run in reports["runs"]] == [1.0, 0.75, 0.5]


def test_a_report_names_each_of_several_runs_with_its_figures() -> None:
    runs = report_of(three_seeds()).reports()["runs"]
    assert [(run["name"], run["fold"], run["seed"]) for run in runs] == [
        ("fold1-seed0", 1, 0),
        ("fold1-seed1", 1, 1),
        ("fold1-seed2", 1, 2),
    ]
    assert [run["n_test"] for run in runs] == [4, 4, 4]
    ends = ("", "_low", "_high")
    assert list(runs[0]["metrics"]) == [f"{m}{end}" for m in HEADLINE_METRICS for end in ends]
    alone = report_of(run_rows(ONE_WRONG)).headline()
    assert runs[1]["metrics"] == {name: alone[name] for name in runs[1]["metrics"]}


def test_a_metric_that_one_run_leaves_undefined_has_no_mean_but_a_reason() -> None:
    only_normal = np.where(SPLITS == "test", "train", SPLITS)
    only_normal[[0, 2]] = "test"
    run = Run("", 2, 0, only_normal)
    second = tabulate_run(MANIFEST, run, scores(ALL_RIGHT + TRAIN_VAL), NAMES)
    report = report_of(pd.concat([run_rows(ALL_RIGHT), second], ignore_index=True))
    flat, reports = report.headline(), report.reports()
    assert flat["sensitivity_run_mean"] is flat["sensitivity_run_sd"] is None
    reason = "sensitivity is undefined in 1 of 2 runs"
    assert reports["test"]["undefined"]["sensitivity_run_sd"] == reason
    assert flat["specificity_run_mean"] == 1.0
    assert reports["runs"][1]["undefined"]["sensitivity"] == "needs an image of class 'covid'"
    missing = {name for name, value in reports["runs"][1]["metrics"].items() if value is None}
    assert set(reports["runs"][1]["undefined"]) == missing


def test_reports_have_a_matrix_per_split_curves_and_known_strata() -> None:
    reports = report_of(run_rows(ONE_WRONG)).reports()
    assert reports["test"]["confusion_matrix"] == [[1, 1], [0, 2]]
    assert reports["train"]["confusion_matrix"] == [[0, 1], [0, 1]]
    assert np.sum(reports["test_balanced"]["confusion_matrix"]) == 4
    assert set(reports["test"]["curves"]) == {"normal", "covid"}
    assert set(reports["test_subgroups"]) == {"marker", "no-marker"}
    assert reports["test_subgroups"]["marker"]["metrics"]["accuracy"] == 0.5


def test_figures_are_json_as_they_are() -> None:
    report = report_of(three_seeds())
    for content in (report.headline(), report.reports()):
        assert json.loads(json.dumps(content, allow_nan=False)) == content


# ---- labels ------------------------------------------------------------------------------------


def labelled(rows: list[tuple[str, list[float]]]) -> pd.DataFrame:
    """A row per (true class, probabilities of normal, pneumonia and covid)."""
    names = THREE.class_names
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(rows))],
            "group_id": [f"g{number}" for number in range(len(rows))],
            "label": [label for label, _ in rows],
            "subgroup": "",
        }
    )
    run = Run("", 1, 0, np.array(["test"] * len(rows)))
    return tabulate_run(manifest, run, np.array([scores for _, scores in rows]), names)


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
    found = label_figures(table, THREE)
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
        labelled([("covid", [0.1, 0.1, 0.8]), ("pneumonia", [0.1, 0.8, 0.1])]), THREE
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
    assert label_figures(table, THREE)["pneumonia"]["auroc"] == 1.0


def test_labels_are_reported_where_classes_imply_others_and_nowhere_else() -> None:
    rows = [("normal", [0.8, 0.1, 0.1]), ("pneumonia", [0.1, 0.8, 0.1]), ("covid", [0, 0.2, 0.8])]
    test = labelled(rows * 2)
    table = pd.concat([test, test.assign(split="train"), test.assign(split="val")])
    assert set(report_of(table, info=THREE).reports()["labels"]) == set(THREE.class_names)
    assert "labels" not in report_of(table, info=replace(THREE, implies={})).reports()
