"""How far probabilities can be taken at their word, and what a threshold on them gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.reporting.html_table import (
    Cell,
    Table,
    as_text,
    case_cell,
    figure_cell,
    interval_cell,
    label,
    text_cell,
)
from stages.reporting.results import Results

Json = dict[str, Any]

POINT_NAMES = {"youden": "Youden's index", "specificity_95": "specificity of 95 % on val"}


def build_calibration_table(results: Results, cases: Sequence[str]) -> Table:
    """Temperatures, and calibration before and after them."""
    return Table(
        "Calibration on the test images, before and after temperature scaling on val",
        ["case", "temperature", *CALIBRATION_COLUMNS],
        [
            [
                case_cell(results, case),
                _temperature_cell(calibration["temperatures"]),
                *calibration_cells(calibration),
            ]
            for case, calibration in _of_cases(results, cases, "calibration").items()
        ],
    )


CALIBRATION_COLUMNS = [
    f"{name} {side}" for name in ("ECE", "log loss", "Brier score") for side in ("before", "after")
]


def calibration_cells(calibration: Json) -> list[Cell]:
    """The cells below CALIBRATION_COLUMNS; the calibration error has no interval."""
    sides = [calibration[side] for side in ("before", "after")]
    return [
        figure_cell(side["ece"]) if name == "ece" else interval_cell(side, name)
        for name in ("ece", "log_loss", "brier")
        for side in sides
    ]


def build_operating_table(results: Results, cases: Sequence[str]) -> Table:
    """Each operating point: its threshold, what it gave on val, and what it gives on test."""
    points = _of_cases(results, cases, "operating_points")
    return Table(
        "Operating points, positive class against the rest: thresholds chosen on val; PPV and NPV "
        "(positive and negative predictive value) at stated prevalences",
        [
            *("case", "operating point", "threshold", "val sensitivity", "val specificity"),
            *operating_columns(results.params.evaluate.prevalences),
        ],
        [
            [
                case_cell(results, case),
                text_cell(point_name(name)),
                _threshold_cell([run["threshold"] for run in point["thresholds"]]),
                figure_cell(point["val"]["sensitivity"]),
                figure_cell(point["val"]["specificity"]),
                *operating_cells(point),
            ]
            for case, of_case in points.items()
            for name, point in of_case.items()
        ],
    )


def operating_columns(prevalences: Sequence[float]) -> list[str]:
    """Headings of `operating_cells`."""
    return [
        "sensitivity",
        "specificity",
        *(f"{name} at {100 * share:g} %" for share in prevalences for name in ("PPV", "NPV")),
    ]


def operating_cells(point: Json) -> list[Cell]:
    """Test figures of an operating point."""
    return [
        interval_cell(point["test"], "sensitivity"),
        interval_cell(point["test"], "specificity"),
        *(interval_cell(entry, name) for entry in point["prevalences"] for name in ("ppv", "npv")),
    ]


def point_name(name: str) -> str:
    """An operating point in words."""
    return POINT_NAMES.get(name, label(name))


def _of_cases(results: Results, cases: Sequence[str], part: str) -> Mapping[str, Json]:
    return {case: results.cases[case].report[part] for case in cases}


def _temperature_cell(runs: Sequence[Json]) -> Cell:
    """Of all runs; noted where val set no limit to it."""
    cell = _range_cell([run["temperature"] for run in runs])
    at_bound = sum(run["reason"] is not None for run in runs)
    if not at_bound:
        return cell
    return cell._replace(
        note=f"{cell.note}; at its bound in {at_bound} of {len(runs)}".lstrip("; ")
    )


def _threshold_cell(thresholds: Sequence[float]) -> Cell:
    """Of all runs; a threshold above 1 calls no image positive."""
    cell = _range_cell(thresholds)
    never = sum(threshold > 1 for threshold in thresholds)
    if not never:
        return cell
    note = f"{cell.note}; above 1, which calls none positive, in {never} of {len(thresholds)}"
    return cell._replace(note=note.lstrip("; "))


def _range_cell(values: Sequence[float]) -> Cell:
    """The value of a single run; of several the mean over their range."""
    mean = sum(values) / len(values)
    note = "" if len(values) == 1 else f"{min(values):.3f} to {max(values):.3f} in the runs"
    return Cell(as_text(mean), note, mean, is_figure=True)
