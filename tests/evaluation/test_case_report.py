import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.image_set import DatasetInfo
from stages.dataset.occlusion import OCCLUSIONS
from stages.dataset.predictions import CaseTables, average_test_rows, load_predictions, tabulate_run
from stages.dataset.runs import Run
from stages.evaluation.case_report import CaseReport, build_case_report
from stages.evaluation.error_costs import ErrorCosts
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Bootstrap
from tests.dataset.sample import info_of

INFO = info_of()
NAMES = INFO.class_names
THREE = info_of(class_names=["normal", "pneumonia", "covid"], implies={"covid": ["pneumonia"]})

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
    table: pd.DataFrame,
    run_table: pd.DataFrame | None = None,
    info: DatasetInfo = INFO,
    occluded: pd.DataFrame | None = None,
    *,
    errors: ErrorCosts = ErrorCosts(None, None),  # noqa: B008, it is a tuple
    is_optimistic: bool = False,
) -> CaseReport:
    """Of a case that says the same with anything hidden, unless told what it says then."""
    test = table[table["split"] == "test"]
    tables = CaseTables(
        table,
        table if run_table is None else run_table,
        dict.fromkeys(OCCLUSIONS, test if occluded is None else occluded),
    )
    bootstrap = Bootstrap(draws=200, seed=0)
    return build_case_report(
        tables, info, [0.1, 0.5], bootstrap, errors=errors, is_optimistic=is_optimistic
    )


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
    assert set(report.to_json()) == {
        "positive",
        "optimistic",
        "train",
        "val",
        "test",
        "test_balanced",
        "test_subgroups",
        "calibration",
        "operating_points",
        "decision_curve",
        "occlusion",
    }


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
    reports = report.to_json()
    assert reports["test"]["n"] == 4
    assert [run["metrics"]["accuracy"] for run in reports["runs"]] == [1.0, 0.75, 0.5]


def test_a_report_names_each_of_several_runs_with_its_figures() -> None:
    runs = report_of(three_seeds()).to_json()["runs"]
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
    flat, reports = report.headline(), report.to_json()
    assert flat["sensitivity_run_mean"] is flat["sensitivity_run_sd"] is None
    reason = "sensitivity is undefined in 1 of 2 runs"
    assert reports["test"]["undefined"]["sensitivity_run_sd"] == reason
    assert flat["specificity_run_mean"] == 1.0
    assert reports["runs"][1]["undefined"]["sensitivity"] == "needs an image of class 'covid'"
    missing = {name for name, value in reports["runs"][1]["metrics"].items() if value is None}
    assert set(reports["runs"][1]["undefined"]) == missing


def test_reports_have_a_matrix_per_split_curves_and_known_strata() -> None:
    reports = report_of(run_rows(ONE_WRONG)).to_json()
    assert reports["test"]["confusion_matrix"] == [[1, 1], [0, 2]]
    assert reports["train"]["confusion_matrix"] == [[0, 1], [0, 1]]
    assert np.sum(reports["test_balanced"]["confusion_matrix"]) == 4
    assert set(reports["test"]["curves"]) == {"normal", "covid"}
    assert set(reports["test_subgroups"]) == {"marker", "no-marker"}
    assert reports["test_subgroups"]["marker"]["metrics"]["accuracy"] == 0.5


def test_figures_are_json_as_they_are() -> None:
    report = report_of(three_seeds())
    for content in (report.headline(), report.to_json()):
        assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_the_headline_has_the_figures_of_calibration_and_of_operating_points() -> None:
    report = report_of(run_rows(ONE_WRONG))
    flat, reports = report.headline(), report.to_json()
    after = reports["calibration"]["after"]
    for end in ("", "_low", "_high"):
        assert flat[f"log_loss_calibrated{end}"] == after[f"log_loss{end}"]
        assert flat[f"brier_calibrated{end}"] == after[f"brier{end}"]
        for point, figures in reports["operating_points"].items():
            for rate in ("sensitivity", "specificity"):
                assert flat[f"{rate}_{point}{end}"] == figures["test"][f"{rate}{end}"]
    assert flat["ece"] == reports["calibration"]["before"]["ece"]
    assert flat["ece_calibrated"] == after["ece"]
    assert flat["classwise_ece"] == reports["calibration"]["before"]["classwise_ece"]
    assert flat["classwise_ece_calibrated"] == after["classwise_ece"]
    rates = ("specificity_90", "specificity_95", "sensitivity_90", "sensitivity_95")
    assert set(reports["operating_points"]) == {"youden", *rates}


def test_intercept_and_slope_of_the_positive_class_are_in_the_headline() -> None:
    report = report_of(run_rows(TWO_WRONG))
    flat, found = report.headline(), report.to_json()["calibration"]
    for side, suffix in (("before", ""), ("after", "_calibrated")):
        [(name, of_class)] = found[side]["classes"].items()
        assert name == "covid"
        for figure in ("intercept", "slope"):
            for end in ("", "_low", "_high"):
                assert flat[f"calibration_{figure}{suffix}{end}"] == of_class[f"{figure}{end}"]
    assert flat["calibration_slope"] is not None


def test_of_three_classes_each_is_calibrated_against_the_rest() -> None:
    table = run_rows(ONE_WRONG).assign(prob_pneumonia=0.0)
    found = report_of(table, info=THREE).to_json()["calibration"]["before"]["classes"]
    assert list(found) == THREE.class_names
    assert found["pneumonia"]["intercept"] is None
    assert found["pneumonia"]["undefined"]["intercept"].startswith("needs an image of class")


def test_likelihood_ratios_and_the_root_of_the_brier_score_are_in_the_headline() -> None:
    flat = report_of(run_rows(ONE_WRONG)).headline()
    assert (flat["lr_positive"], flat["lr_negative"]) == (2.0, 0.0)  # of 1.0 and 0.5
    # Brier: (0.6^2 + 0.2^2 + 0.2^2 + 0.1^2) / 4.
    assert flat["root_brier"] == round((0.45 / 4) ** 0.5, 6)


def test_errors_are_weighed_where_params_say_what_they_cost() -> None:
    without = report_of(run_rows(ONE_WRONG)).headline()
    assert not [name for name in without if "cost" in name or "kappa" in name]
    errors = ErrorCosts(np.array([[0.0, 2.0], [8.0, 0.0]]), np.array([0, 1]))
    flat = report_of(run_rows(ONE_WRONG), errors=errors).headline()
    assert flat["expected_cost"] == 0.5  # one false alarm of four
    assert flat["expected_cost_normalised"] == 0.5  # calling all: two of them
    assert flat["weighted_kappa"] == 0.5
    assert flat["expected_cost_low"] is not None


def test_the_decision_curve_and_the_distributions_are_of_what_the_case_says() -> None:
    run_table = three_seeds()
    report = report_of(average_test_rows(run_table, NAMES), run_table).to_json()
    # Averages: a 0.43 and c 0.2 of normal, b 0.63 and d 0.9 of covid, told apart at a half.
    half = report["decision_curve"]["threshold"].index(0.5)
    assert report["decision_curve"]["net_benefit"]["value"][half] == 0.5
    assert report["decision_curve"]["prevalence"] == 0.5
    assert [other["prevalence"] for other in report["decision_curve"]["at_prevalences"]] == [
        0.1,
        0.5,
    ]
    counts = report["test"]["probabilities"]["counts"]["covid"]
    assert np.flatnonzero(counts["normal"]).tolist() == [4, 8]
    assert np.flatnonzero(counts["covid"]).tolist() == [12, 18]


def test_calibration_as_it_comes_has_the_losses_of_the_headline() -> None:
    report = report_of(three_seeds())
    flat, before = report.headline(), report.to_json()["calibration"]["before"]
    for name in ("log_loss", "brier"):
        for end in ("", "_low", "_high"):
            assert abs(before[f"{name}{end}"] - flat[f"{name}{end}"]) < 2e-6  # the floor


def test_thresholds_and_temperatures_are_of_each_single_model_also_of_an_ensemble() -> None:
    run_table = three_seeds()
    alone = report_of(run_table).to_json()
    averaged = report_of(average_test_rows(run_table, NAMES), run_table).to_json()
    names = [f"fold1-seed{seed}" for seed in range(3)]
    assert [entry["name"] for entry in averaged["calibration"]["temperatures"]] == names
    for section in ("calibration", "operating_points"):
        assert averaged[section] == alone[section]


def test_an_occluded_case_is_scored_on_what_it_says_then() -> None:
    flipped = run_rows([1 - score for score in ALL_RIGHT])
    hidden = flipped[flipped["split"] == "test"]
    report = report_of(run_rows(ALL_RIGHT), occluded=hidden)
    flat, reports = report.headline(), report.to_json()
    assert (flat["auroc"], flat["auroc_lungs_hidden"]) == (1.0, 0.0)
    assert (flat["balanced_accuracy"], flat["balanced_accuracy_lungs_only"]) == (1.0, 0.0)
    found = reports["occlusion"]["lungs_hidden"]
    assert found["n_without_lungs"] == 0
    assert found["metrics"]["sensitivity"] == 0.0
    assert flat["auroc_lungs_hidden_low"] == found["metrics"]["auroc_low"]


def test_images_without_lungs_are_counted_once_and_left_out_of_both_figures() -> None:
    table = three_seeds()
    shown = table[(table["split"] == "test") & (table["image_id"] != "a")]
    reports = report_of(table, occluded=shown).to_json()
    for found in reports["occlusion"].values():
        assert found["n_without_lungs"] == 1
        # Without a, wrong in two runs, only b of the third run is wrong: 8 of 9.
        assert found["metrics"]["accuracy"] == 0.888889


def test_where_no_image_has_lungs_occlusion_is_undefined_with_a_reason() -> None:
    table = run_rows(ALL_RIGHT)
    report = report_of(table, occluded=table.iloc[:0])
    flat, reports = report.headline(), report.to_json()
    found = reports["occlusion"]["lungs_hidden"]
    assert found["n_without_lungs"] == 4
    assert set(found["metrics"].values()) == {None}
    assert flat["auroc_lungs_hidden_high"] is None
    reason = "lungs were found in no test image"
    assert reports["test"]["undefined"]["auroc_lungs_hidden_high"] == reason
    assert set(found["undefined"]) == set(found["metrics"])


def test_every_headline_figure_without_a_value_has_a_reason_and_no_other() -> None:
    table = run_rows(ALL_RIGHT)
    table.loc[table["image_id"].isin(["a", "c"]), "label"] = "covid"
    report = report_of(table, occluded=table.iloc[:0])
    missing = {name for name, value in report.headline().items() if value is None}
    assert "specificity_youden" in missing
    assert set(report.to_json()["test"]["undefined"]) == missing


def test_groups_that_leak_are_counted() -> None:
    assert report_of(run_rows(ALL_RIGHT)).headline()["n_leaking_groups"] == 0
    let_through = replace(INFO, leakage=["g1", "g7"])
    assert report_of(run_rows(ALL_RIGHT), info=let_through).headline()["n_leaking_groups"] == 2


def test_groups_that_a_run_cuts_are_counted_once_with_those_of_the_data_set() -> None:
    # g1, of test, gets the training image e as well; g7 is let through by the data set.
    table = run_rows(ALL_RIGHT)
    table.loc[table["image_id"] == "e", "group_id"] = "g1"
    report = report_of(table, info=replace(INFO, leakage=["g1", "g7"]))
    assert report.headline()["n_leaking_groups"] == 2
    assert report_of(table).headline()["n_leaking_groups"] == 1


def test_images_that_are_validated_on_and_tested_on_cut_no_group() -> None:
    splits = np.array(["both"] * 4 + ["train"] * 4)
    run = Run("", 1, 0, splits)
    table = tabulate_run(MANIFEST, run, scores(ALL_RIGHT + TRAIN_VAL), NAMES)
    report = report_of(table, is_optimistic=True)
    headline = report.headline()
    assert (headline["n_test"], headline["n_leaking_groups"]) == (4, 0)
    assert headline["accuracy"] == headline["val_accuracy"] == 1.0
    assert headline["optimistic"] is report.to_json()["optimistic"] is True


def test_labels_are_reported_where_classes_imply_others_and_nowhere_else() -> None:
    rows = [("normal", [0.8, 0.1, 0.1]), ("pneumonia", [0.1, 0.8, 0.1]), ("covid", [0, 0.2, 0.8])]
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(6)],
            "group_id": [f"g{number}" for number in range(6)],
            "label": [label for label, _ in rows * 2],
            "subgroup": "",
        }
    )
    probabilities = np.array([of_classes for _, of_classes in rows * 2])
    run = Run("", 1, 0, np.array(["test"] * 6))
    test = tabulate_run(manifest, run, probabilities, THREE.class_names)
    table = pd.concat([test, test.assign(split="train"), test.assign(split="val")])
    assert set(report_of(table, info=THREE).to_json()["labels"]) == set(THREE.class_names)
    assert "labels" not in report_of(table, info=replace(THREE, implies={})).to_json()


def test_a_report_of_tables_read_from_files_is_that_of_the_tables(tmp_path: Path) -> None:
    run_table = three_seeds()
    averaged = average_test_rows(run_table, NAMES)
    read = []
    for name, table in (("averaged", averaged), ("runs", run_table)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        read.append(load_predictions(tmp_path / f"{name}.csv"))
    found, expected = report_of(*read), report_of(averaged, run_table)
    assert found.headline() == expected.headline()
    assert found.to_json() == expected.to_json()


def test_classes_named_as_figures_are_share_no_key() -> None:
    classes = ["covid", "covid_low", "a_p_value", "macro"]
    info = replace(INFO, class_names=classes)
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(16)],
            "group_id": [f"g{number}" for number in range(16)],
            "label": classes * 4,
            "subgroup": "",
        }
    )
    said = np.random.default_rng(0).dirichlet(np.ones(4), 16)
    test = [
        tabulate_run(
            manifest, Run("", 1, seed, np.full(16, "test")), np.roll(said, seed, 0), classes
        )
        for seed in (0, 1)
    ]
    table = pd.concat([t.assign(split=s) for t in test for s in ("train", "val", "test")])
    report = report_of(table, info=info)
    flat = report.headline()
    # 11 metrics and 2 of each class with both ends; the mean and the sd over the runs of 6.
    of_test = [name for name in flat if name.startswith(("f1_", "recall_"))]
    assert len(of_test) == 3 * (1 + 2 * len(classes)) + 2
    for name in classes:
        right = table.query(f"split == 'test' and label == '{name}' and prediction == '{name}'")
        key = f"recall_{name}" if name == "covid" else f"recall_({name})"
        assert flat[key] == len(right) / 8
    assert flat["recall_covid_low"] != flat["recall_(covid_low)"]
    assert flat["f1_macro"] != flat["f1_(macro)"]
    json.dumps([flat, report.to_json()], allow_nan=False)
