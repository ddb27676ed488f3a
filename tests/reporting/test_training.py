import re

import pytest

from stages.reporting.drawing import COLOURS
from stages.reporting.results import Results
from stages.reporting.table import Cell, Table
from stages.reporting.training import (
    build_hardware_table,
    build_seed_table,
    build_settings_table,
    build_training_table,
    draw_learning_curves,
)
from tests.reporting.conftest import CLASSES, Files
from tests.reporting.test_cases import column


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_every_setting_is_listed_in_words(results: Results) -> None:
    table = build_settings_table(results.datasets["ct"].cases)
    assert column(table, "loss")["lungs-bce"].text == "bce, label smoothing 0.0"
    assert column(table, "ensemble")["lungs-bce"].text == "no"
    assert column(table, "protocol")["lungs-folds"].text == "five-folds"
    assert column(table, "folds")["lungs-folds"].text == "5"
    params = results.params
    parts = (params.cases["full-ce"], params.recipes["short"], params.protocols["once"])
    fields = [field for part in parts for field in type(part).model_fields]
    assert sorted(table.columns) == sorted(["case", *(field.replace("_", " ") for field in fields)])


def test_a_recipe_and_a_protocol_stand_before_their_values(results: Results) -> None:
    columns = build_settings_table(results.datasets["ct"].cases).columns
    assert columns[9:12] == ["augment", "recipe", "optimizer"]
    assert columns[26:30] == ["devices", "num nodes", "strategy", "protocol"]


def training_column(results: Results, heading: str) -> Cell:
    cases = [results.cases["full-ce"]]
    return column(build_training_table(cases, CLASSES), heading)["full-ce"]


def test_what_was_trained_and_what_the_sampler_did_is_shown(results: Results) -> None:
    assert training_column(results, "started from").text == "cnn3-random"
    assert training_column(results, "parameters trained").text == "1,234"
    assert training_column(results, "frozen").text == "98,765"
    assert training_column(results, "epoch kept, from 0").number == 7
    assert training_column(results, "epochs run").number == 19
    covid = training_column(results, "covid")
    assert (covid.number, covid.note) == (39, "31.2 drawn")


@pytest.mark.parametrize(
    ("blocks", "shown"), [("all", "all"), ([], "none"), (["layer3", "layer4"], "layer3, layer4")]
)
def test_trained_blocks_are_named(files: Files, blocks: object, shown: str) -> None:
    files.cases["full-ce"].training["blocks_trained"] = blocks
    assert training_column(files.load(), "blocks trained").text == shown


def test_a_training_that_ended_in_divergence_says_so(files: Files) -> None:
    assert training_column(files.load(), "epochs run").note == ""
    files.cases["full-ce"].training["diverged"] = True
    assert "no number" in training_column(files.load(), "epochs run").note


@pytest.mark.parametrize(
    ("licence", "said"), [("Apache-2.0", "licence Apache-2.0"), (None, "licence not known")]
)
def test_other_peoples_weights_are_shown_with_their_origin_and_licence(
    files: Files, licence: str | None, said: str
) -> None:
    assert training_column(files.load(), "started from").note == "no task of their own measured"
    files.cases["full-ce"].training |= {"start_origin": "a kennel", "start_licence": licence}
    note = training_column(files.load(), "started from").note
    assert note == f"no task of their own measured; a kennel; {said}"


def test_cases_trained_alike_share_a_row(files: Files) -> None:
    files.cases["lungs-bce"].training["device"] = "a graphics card"
    versions = "torch 2.15.0, timm 1.0.31"
    others = "full-ce, lungs-folds, labels-bce"
    assert texts(build_hardware_table(list(files.load().cases.values()))) == [
        ["a processor, 2 cores", "2", "fp32", versions, others],
        ["a graphics card", "2", "fp32", versions, "lungs-bce"],
    ]


def test_the_seeds_of_all_trainings_are_listed(results: Results) -> None:
    assert texts(build_seed_table(list(results.cases.values()), results.params.seed)) == [
        ["42", "splits, draws of images, bootstrap"],
        ["1", "training of full-ce, lungs-bce, lungs-folds, labels-bce"],
    ]


def test_learning_curves_have_a_panel_per_case_and_quantity(results: Results) -> None:
    svg = draw_learning_curves(list(results.cases.values()))
    for case in results.cases:
        assert len(re.findall(rf">{case}<", svg)) == 2
    assert len(re.findall(">loss<", svg)) == len(results.cases)


def test_every_run_has_its_own_line(results: Results) -> None:
    one, five = (draw_learning_curves([results.cases[case]]) for case in ("full-ce", "lungs-folds"))
    for colour in COLOURS[:2]:  # train, val
        lines = re.compile(rf'style="fill: none;[^"]*stroke: {colour}')
        # Four runs more, in two panels.
        assert len(lines.findall(five)) - len(lines.findall(one)) == 8
