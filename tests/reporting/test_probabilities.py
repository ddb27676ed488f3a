import re

import pytest

from stages.reporting.probabilities import (
    build_calibration_table,
    build_operating_table,
    draw_reliability,
)
from stages.reporting.results import Results
from stages.reporting.table import Table
from tests.reporting.conftest import PREVALENCES, Files


def calibration(results: Results, case: str) -> Table:
    return build_calibration_table([results.cases[case]])


def operating_points(results: Results) -> Table:
    return build_operating_table([results.cases["full-ce"]], PREVALENCES)


def test_calibration_before_and_after_stands_side_by_side(results: Results) -> None:
    table = calibration(results, "full-ce")
    [row] = table.rows
    shown = {heading: cell.number for heading, cell in zip(table.columns, row, strict=True)}
    assert shown["temperature"] == 1.7
    assert (shown["ECE before"], shown["ECE after"]) == (0.15, 0.02)
    assert (shown["class-wise ECE before"], shown["class-wise ECE after"]) == (0.12, 0.03)
    assert (shown["log loss before"], shown["log loss after"]) == (0.7, 0.5)
    assert (shown["Brier score before"], shown["Brier score after"]) == (0.2, 0.15)


def test_the_temperatures_of_several_runs_are_a_mean_and_a_range(files: Files) -> None:
    runs = files.cases["lungs-folds"].report["calibration"]["temperatures"]
    for run, value in zip(runs, (1.0, 1.5, 2.0, 2.5, 3.0), strict=True):
        run["temperature"] = value
    [[_, cell, *_]] = calibration(files.load(), "lungs-folds").rows
    assert (cell.number, cell.note) == (2.0, "1.000 to 3.000 in the runs")


def test_a_temperature_without_a_limit_is_noted(files: Files) -> None:
    [run] = files.cases["full-ce"].report["calibration"]["temperatures"]
    run["reason"] = "at the bound 0.1: the log loss of val is least there"
    [[_, cell, *_]] = calibration(files.load(), "full-ce").rows
    assert cell.note == "at its bound in 1 of 1"


def test_an_operating_point_has_its_threshold_and_predictive_values(results: Results) -> None:
    table = operating_points(results)
    assert [row[1].text for row in table.rows] == [
        *("Youden's index", "specificity of 90 % on val", "specificity of 95 % on val"),
        *("sensitivity of 90 % on val", "sensitivity of 95 % on val"),
    ]
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert shown["threshold"].number == pytest.approx(0.4)
    assert (shown["LR+"].number, shown["PPV in the test set"].number) == (3.4, 0.7)
    assert (shown["val sensitivity"].number, shown["sensitivity"].number) == (0.9, 0.85)
    # As the fixture's params.yaml has them: prevalences of 1 % and of 50 %.
    for heading in ("PPV at 1 %", "PPV at 50 %"):
        assert shown[heading].number == 0.35
        assert shown[heading].note == "0.250 to 0.450"


def test_a_threshold_that_calls_no_image_positive_is_noted(files: Files) -> None:
    [run] = files.cases["full-ce"].report["operating_points"]["youden"]["thresholds"]
    run["threshold"] = 1.000001
    cell = operating_points(files.load()).rows[0][2]
    assert cell.note == "above 1, which calls none positive, in 1 of 1"


def test_reliability_is_drawn_before_and_after_temperature_scaling(results: Results) -> None:
    svg = draw_reliability([results.cases[case] for case in ("full-ce", "lungs-folds")])
    for side in ("before", "after"):
        assert f">Reliability, {side} temperature scaling<" in svg
    assert len(re.findall(">lungs-folds<", svg)) == 1
