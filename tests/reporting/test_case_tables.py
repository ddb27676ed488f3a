from typing import Any

import pytest

from stages.reporting.case_tables import (
    build_headline_table,
    build_run_tables,
    build_settings_table,
    build_training_table,
)
from stages.reporting.html_table import Cell, Table, marked_cell
from stages.reporting.results import Results

Json = dict[str, Any]
CASES = ["full-ce", "lungs-bce", "lungs-folds"]


def column(table: Table, heading: str) -> dict[str, Cell]:
    """The cells below a heading, by the heading of their row."""
    at = table.columns.index(heading)
    return {row[0].text: row[at] for row in table.rows}


def test_every_row_has_a_cell_below_every_heading(
    results: Results, headlines: dict[str, Json]
) -> None:
    tables = [
        build_headline_table(results, "ct", headlines, CASES),
        build_settings_table(results, CASES),
        build_training_table(results, "ct", CASES),
        *build_run_tables(results, CASES),
    ]
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.caption


def test_figures_of_each_stratum_stand_in_the_headline_table(
    results: Results, headlines: dict[str, Json]
) -> None:
    results.cases["lungs-bce"].metrics["auroc_no-marker"] = 0.123
    table = build_headline_table(results, "ct", headlines, CASES)
    assert column(table, "AUROC no-marker")["lungs-bce"].text == "0.123"


def test_images_without_lungs_are_counted(results: Results, headlines: dict[str, Json]) -> None:
    table = build_headline_table(results, "ct", headlines, CASES)
    assert column(table, "of them without lungs found")["full-ce"].number == 2


def test_the_settings_of_a_case_say_what_is_trained_and_how_images_are_drawn(
    results: Results, headlines: dict[str, Json]
) -> None:
    settings = column(build_headline_table(results, "ct", headlines, CASES), "settings")
    assert settings["lungs-bce"] == Cell("lungs, cnn3, cnn3-random, train all, bce, sampler none")
    assert settings["lungs-folds"].note == "folds 5, seeds 1"


def test_every_setting_is_listed_in_words(results: Results) -> None:
    table = build_settings_table(results, CASES)
    assert column(table, "loss")["lungs-bce"].text == "bce, label smoothing 0.0"
    assert column(table, "ensemble")["lungs-bce"].text == "no"
    assert len(table.columns) == 1 + len(type(results.params.cases["full-ce"]).model_fields)


def test_the_runs_of_a_case_are_a_table_with_mean_and_deviation(results: Results) -> None:
    [table] = build_run_tables(results, CASES)
    # The third fold of skill 0.6: 0.5 + 0.63 / 3, as the fixture has it; 13 of 64 images.
    assert column(table, "AUROC")["fold3-seed1"] == Cell("0.710", "0.610 to 0.810", 0.71, True)
    assert column(table, "test images")["fold3-seed1"].number == 13
    for what, value in (("mean", 0.873), ("standard deviation", 0.021)):
        assert column(table, "AUROC")[what].number == value
    assert not table.is_sortable


def test_what_was_trained_and_what_the_sampler_did_is_shown(results: Results) -> None:
    table = build_training_table(results, "ct", CASES)
    shown = {heading: column(table, heading)["full-ce"] for heading in table.columns}
    assert shown["started from"].text == "cnn3-random"
    assert shown["parameters trained"].text == "1,234"
    assert shown["frozen"].text == "98,765"
    assert shown["epoch kept, from 0"].number == 7
    assert shown["epochs run"].number == 19
    assert (shown["covid"].number, shown["covid"].note) == (39, "31.2 drawn")


@pytest.mark.parametrize(
    ("blocks", "shown"), [("all", "all"), ([], "none"), (["layer3", "layer4"], "layer3, layer4")]
)
def test_trained_blocks_are_named(results: Results, blocks: object, shown: str) -> None:
    results.cases["full-ce"].training["blocks_trained"] = blocks
    table = build_training_table(results, "ct", CASES)
    assert column(table, "blocks trained")["full-ce"].text == shown


def test_a_name_is_marked_where_groups_leak() -> None:
    assert marked_cell("case", 0) == Cell("case")
    assert marked_cell("case", 3) == Cell("case †", "leakage allowed")
