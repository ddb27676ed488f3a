import re

import pytest

from stages.reporting.cases import (
    build_headline_table,
    build_label_tables,
    build_run_tables,
    describe_at_chance,
    describe_best,
    describe_runs,
    draw_test_curves,
)
from stages.reporting.documents import CaseFigures
from stages.reporting.results import Results
from stages.reporting.table import Cell, Table, marked_cell
from stages.reporting.wording import LEAKAGE, STARTS_AT_CHANCE
from tests.reporting.conftest import Files, make_metrics


def column(table: Table, heading: str) -> dict[str, Cell]:
    """The cells below a heading, by the heading of their row."""
    at = table.columns.index(heading)
    return {row[0].text: row[at] for row in table.rows}


def headline_column(results: Results, heading: str) -> dict[str, Cell]:
    return column(build_headline_table(results.datasets["ct"]), heading)


def test_every_row_has_a_cell_below_every_heading(results: Results) -> None:
    tables = [
        build_headline_table(results.datasets["ct"]),
        *build_run_tables(results.datasets["ct"].cases),
        *build_label_tables(results.datasets["labels"]),
    ]
    assert len(tables) == 3
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.caption


def test_figures_of_each_stratum_stand_in_the_headline_table(files: Files) -> None:
    files.cases["lungs-bce"].metrics["auroc_no-marker"] = 0.123
    assert headline_column(files.load(), "AUROC no-marker")["lungs-bce"].text == "0.123"


def test_a_stratum_without_a_test_image_is_undefined(files: Files) -> None:
    for end in ("", "_low", "_high"):
        del files.cases["lungs-bce"].metrics[f"auroc_marker{end}"]
    cells = headline_column(files.load(), "AUROC marker")
    assert cells["lungs-bce"] == Cell("n/a", is_figure=True)


def test_images_without_lungs_are_counted(results: Results) -> None:
    assert headline_column(results, "of them without lungs found")["full-ce"].number == 2


def test_the_settings_of_a_case_say_what_is_trained_and_how_images_are_drawn(
    results: Results,
) -> None:
    settings = headline_column(results, "settings")
    assert settings["lungs-bce"] == Cell("lungs, cnn3, cnn3-random, train all, bce, sampler none")
    assert settings["lungs-folds"].note == "folds 5, seeds 1"


def test_the_runs_of_a_case_are_a_table_with_mean_and_deviation(results: Results) -> None:
    [table] = build_run_tables(results.datasets["ct"].cases)
    # The third fold of skill 0.6: 0.5 + 0.63 / 3, as the fixture has it; 13 of 64 images.
    assert column(table, "AUROC")["fold3-seed1"] == Cell("0.710", "0.610 to 0.810", 0.71, True)
    assert column(table, "test images")["fold3-seed1"].number == 13
    for what, value in (("mean", 0.873), ("standard deviation", 0.021)):
        assert column(table, "AUROC")[what].number == value
    assert not table.is_sortable


def test_a_name_has_its_marks_and_what_they_say() -> None:
    assert marked_cell("case", []) == Cell("case")
    assert marked_cell("case", [LEAKAGE]) == Cell("case †", "leakage allowed")
    both = "leakage allowed; starts from weights no better than chance"
    assert marked_cell("case", [LEAKAGE, STARTS_AT_CHANCE]) == Cell("case † ‡", both)


def test_all_cases_are_in_the_legend_of_the_test_curves(results: Results) -> None:
    svg = draw_test_curves(results.datasets["ct"])
    cases = ["full-ce", "lungs-bce", "lungs-folds"]
    assert [len(re.findall(f">{case}<", svg)) for case in cases] == [1, 1, 1]


def figures_of(
    value: float | None, low: float | None, high: float | None, n_test: int = 90
) -> CaseFigures:
    balanced = {"balanced_accuracy": value, "balanced_accuracy_low": low}
    return CaseFigures.model_validate(
        make_metrics(0.3) | balanced | {"balanced_accuracy_high": high, "n_test": n_test}
    )


@pytest.fixture
def figures() -> dict[str, CaseFigures]:
    return {"crop": figures_of(0.9, 0.85, 0.95), "full": figures_of(0.8, 0.7, 0.84)}


def test_the_spread_over_runs_is_given_where_there_are_several() -> None:
    spread = {"balanced_accuracy_run_mean": 0.873, "balanced_accuracy_run_sd": 0.0214}
    spread |= {"auroc_run_mean": 0.911, "auroc_run_sd": None, "n_runs": 5}
    assert describe_runs("crop", CaseFigures.model_validate(make_metrics(0.3) | spread)) == [
        "The models of crop, one by one: balanced accuracy mean of 5 runs 0.873, standard "
        "deviation 0.021; AUROC is undefined in a run."
    ]
    assert describe_runs("crop", figures_of(0.9, 0.8, 1.0)) == []


def test_the_best_case_is_named_with_its_interval(figures: dict[str, CaseFigures]) -> None:
    assert describe_best(figures) == [
        "The best balanced accuracy is that of crop: 0.900 (95 % interval 0.850 to 0.950) on 90 "
        "test images.",
        "Its interval overlaps that of no other case.",
        "A best case picked by test figures looks better than it is.",
    ]


def test_overlapping_intervals_and_ties_are_named(figures: dict[str, CaseFigures]) -> None:
    others = {
        "near": figures_of(0.83, 0.7, 0.85),  # touches
        "nearer": figures_of(0.89, 0.84, 0.99),
        "same": figures_of(0.9003, 0.7, 0.95),
        "unknown": figures_of(0.7, None, None),
        "undefined": figures_of(None, None, None),
    }
    best = {"crop": figures_of(0.9004, 0.85, 0.95), "full": figures["full"]} | others
    assert describe_best(best)[1] == (
        "It ties with same. Its interval overlaps those of near, nearer."
    )


def test_cases_on_other_test_images_are_mentioned(figures: dict[str, CaseFigures]) -> None:
    figures["full"] = figures_of(0.8, 0.7, 0.84, n_test=300)
    assert "The cases are not all tested on the same images." in describe_best(figures)


def test_a_single_case_is_not_called_picked(figures: dict[str, CaseFigures]) -> None:
    assert len(describe_best({"crop": figures["crop"]})) == 1


def test_cases_whose_interval_reaches_down_to_chance_are_named() -> None:
    figures = {
        "learned": figures_of(0.6, 0.51, 0.7),
        "touches": figures_of(0.6, 0.5, 0.7),
        "below": figures_of(0.4, 0.3, 0.5),
        "undefined": figures_of(None, None, None),
    }
    (said,) = describe_at_chance(figures, n_classes=2)
    assert said.endswith("reaches down to it: touches, below.")
    assert describe_at_chance(figures, n_classes=4) == []


def test_a_case_without_the_figure_cannot_be_the_best() -> None:
    nothing = {"crop": figures_of(None, None, None)}
    assert describe_best(nothing) == ["No case has a balanced accuracy."]
