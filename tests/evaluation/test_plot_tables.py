from dataclasses import replace

import pandas as pd
import pytest

from stages.evaluation.headlines import build_headlines
from stages.evaluation.outcomes import Outcomes
from stages.evaluation.plot_tables import build_case_table, build_plot_tables
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.records import Bootstrap


@pytest.fixture
def ct(outcomes: Outcomes) -> Outcomes:
    """The single runs of the data set `ct` alone."""
    return replace(outcomes, cases={c: outcomes.cases[c] for c in ("full-ce", "lungs-bce")})


def test_a_case_is_a_row_with_its_settings_and_figures(outcomes: Outcomes) -> None:
    table = build_case_table(outcomes, {})
    assert table["case"].tolist() == ["full-ce", "lungs-bce", "lungs-folds", "labels-bce"]
    row = table.set_index("case").loc["lungs-bce"]
    assert (row["dataset"], row["view"], row["model"], row["loss"]) == (
        "ct",
        "lungs",
        "cnn3",
        "bce",
    )
    assert (row["train"], row["sampler"], row["folds"], row["n_seeds"]) == ("all", "none", 1, 1)
    assert row["start_better_than_chance"] is None  # random weights
    assert table.set_index("case")["folds"]["lungs-folds"] == 5
    assert row["auroc"] == 0.8
    assert row["n_test"] == 60


def test_an_undefined_figure_is_an_empty_cell(ct: Outcomes) -> None:
    case = ct.cases["full-ce"]
    unknown = replace(case, metrics={**case.metrics, "auroc": None})
    text = build_case_table(replace(ct, cases={**ct.cases, "full-ce": unknown}), {})[
        ["case", "auroc"]
    ].to_csv(index=False)
    assert text == "case,auroc\nfull-ce,\nlungs-bce,0.8\n"


def test_every_plot_table_says_of_which_case_a_row_is(ct: Outcomes) -> None:
    tables = build_plot_tables(ct, {})
    measures = {"calibration", "decision", "distribution"}
    assert set(tables) == {"table", "curves", "steps", "roc", "pr", "confusion"} | measures
    for name, table in tables.items():
        assert table["case"].unique().tolist() == ["full-ce", "lungs-bce"], name


def test_the_learning_curves_of_several_runs_are_named_apart(outcomes: Outcomes) -> None:
    tables = build_plot_tables(outcomes, {})
    runs = [f"lungs-folds fold{fold}-seed1" for fold in range(1, 6)]
    for name, columns in (
        ("curves", ["epoch", "split", "loss", "accuracy", "case"]),
        ("steps", ["step", "split", "loss", "case"]),
    ):
        names = tables[name]["case"].unique().tolist()
        assert names == ["full-ce", "lungs-bce", *runs, "labels-bce"]
        assert tables[name].columns.tolist() == columns
        assert (tables[name]["case"] == runs[1]).sum() == 4  # two epochs, two splits


def test_a_case_that_was_removed_is_in_no_table(outcomes: Outcomes) -> None:
    left = replace(outcomes, cases={"lungs-bce": outcomes.cases["lungs-bce"]})
    for name, table in build_plot_tables(left, {}).items():
        assert table["case"].unique().tolist() == ["lungs-bce"], name


def test_curves_are_given_for_every_class(ct: Outcomes) -> None:
    tables = build_plot_tables(ct, {})
    for name, columns in (("roc", {"fpr", "tpr"}), ("pr", {"recall", "precision"})):
        assert set(tables[name].columns) == columns | {"case", "class"}
        assert set(tables[name]["class"]) == {"normal", "covid"}


def test_the_confusion_table_has_a_row_per_test_image(outcomes: Outcomes) -> None:
    confusion = build_plot_tables(outcomes, {})["confusion"]
    assert confusion.columns.tolist() == ["actual", "predicted", "case"]
    for case, found in outcomes.cases.items():
        one = confusion[confusion["case"] == case]
        assert one["actual"].tolist() == found.test["label"].tolist()
        assert one["predicted"].tolist() == found.test["prediction"].tolist()


def test_an_optimistic_case_is_called_so_in_every_plot(outcomes: Outcomes) -> None:
    case = outcomes.cases["lungs-folds"]
    optimistic = replace(case, metrics={**case.metrics, "optimistic": True})
    tables = build_plot_tables(
        replace(outcomes, cases={**outcomes.cases, "lungs-folds": optimistic}), {}
    )
    table = tables.pop("table").set_index("case")
    assert table["optimistic"].to_dict()["lungs-folds"]
    assert not table["optimistic"].to_dict()["full-ce"]
    for name, found in tables.items():
        of_it = {said for said in found["case"] if said.startswith("lungs-folds")}
        assert of_it, name
        assert all(said.startswith("lungs-folds (optimistic)") for said in of_it), name


def test_the_floor_of_a_case_stands_in_its_row(outcomes: Outcomes) -> None:
    headlines = build_headlines(outcomes, SharedDraws(Bootstrap(draws=200, seed=1)))
    del headlines["lungs-folds"]
    table = build_case_table(outcomes, headlines).set_index("case")
    row, found = table.loc["labels-bce"], headlines["labels-bce"].to_json()
    assert (row["best_shortcut"], row["most_accurate_probe"]) == ("border", "metadata")
    assert row["auroc_above_shortcut"] == found["difference"]
    assert row["accuracy_above_probe_low"] == found["accuracy_difference_low"]
    assert row["probe_accuracy"] == found["shortcut_accuracy"]
    assert pd.isna(table.loc["lungs-folds", "best_shortcut"])
