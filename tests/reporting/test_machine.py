from pathlib import Path

from stages.reporting.machine import (
    NOT_MEASURED,
    STAGES,
    build_hardware_table,
    build_seed_table,
    build_time_table,
)
from stages.reporting.results import Results

CODE = Path(__file__).parents[2] / "stages"


def test_a_stage_that_did_not_run_here_has_no_time(results: Results) -> None:
    rows = {(row[0].text, row[1].text): row[2] for row in build_time_table(results).rows}
    assert rows["train", "full-ce"].number == 12.3
    assert rows["prepare", "ct"].text == "4.5"
    assert rows["train", "lungs-bce"].text == NOT_MEASURED
    assert rows["train", "lungs-bce"].number is None


def test_every_stage_of_every_entry_has_a_row(results: Results) -> None:
    rows = [(row[0].text, row[1].text) for row in build_time_table(results).rows]
    params = results.params
    assert [entry for stage, entry in rows if stage == "cam"] == list(params.cases)
    assert [entry for stage, entry in rows if stage == "audit"] == list(params.views)
    assert [entry for stage, entry in rows if stage == "external"] == ["elsewhere"]


def test_times_are_looked_for_under_the_name_that_a_stage_writes() -> None:
    for stage in STAGES:
        code = (CODE / f"{stage.name}.py").read_text(encoding="utf-8")
        assert f'run_stage({stage.function}, __doc__, section="{stage.section}")' in code


def test_cases_trained_alike_share_a_row(results: Results) -> None:
    results.cases["lungs-bce"].training["device"] = "a graphics card"
    rows = [[cell.text for cell in row] for row in build_hardware_table(results).rows]
    versions = "torch 2.15.0, timm 1.0.31"
    others = "full-ce, lungs-folds, labels-bce"
    assert rows == [
        ["a processor, 2 cores", "fp32", versions, others],
        ["a graphics card", "fp32", versions, "lungs-bce"],
    ]


def test_the_seeds_of_all_trainings_are_listed(results: Results) -> None:
    rows = [[cell.text for cell in row] for row in build_seed_table(results).rows]
    assert rows == [
        ["42", "splits, draws of images, bootstrap"],
        ["1", "training of full-ce, lungs-bce, lungs-folds, labels-bce"],
    ]
