"""How far probabilities can be taken at their word, and what a threshold on them gives."""

from collections.abc import Sequence

from stages.reporting.documents import (
    CalibrationPair,
    OperatingPoint,
    Temperature,
    Threshold,
)
from stages.reporting.drawing import draw_diagonal, draw_legend, line_style, panel_row, to_svg
from stages.reporting.results import CaseResults
from stages.reporting.table import (
    Cell,
    Table,
    case_cell,
    estimate_cell,
    figure_cell,
)
from stages.reporting.wording import as_text, point_label

SIDES = ("before", "after")
CALIBRATION_COLUMNS = [
    f"{name} {side}"
    for name in ("ECE", "class-wise ECE", "log loss", "Brier score")
    for side in SIDES
]


def build_calibration_table(cases: Sequence[CaseResults]) -> Table:
    """Temperatures, and calibration before and after them."""
    return Table(
        "Calibration on the test images, before and after temperature scaling on val",
        ["case", "temperature", *CALIBRATION_COLUMNS],
        [
            [
                case_cell(case),
                _temperature_cell(case.report.calibration.temperatures),
                *calibration_cells(case.report.calibration),
            ]
            for case in cases
        ],
    )


def calibration_cells(found: CalibrationPair) -> list[Cell]:
    """The cells below CALIBRATION_COLUMNS; the calibration errors have no interval."""
    sides = (found.before, found.after)
    return [
        *(figure_cell(side.ece) for side in sides),
        *(figure_cell(side.classwise_ece) for side in sides),
        *(estimate_cell(side.log_loss) for side in sides),
        *(estimate_cell(side.brier) for side in sides),
    ]


def build_operating_table(cases: Sequence[CaseResults], prevalences: Sequence[float]) -> Table:
    """Each operating point: its threshold, what it gave on val, and what it gives on test."""
    return Table(
        "Operating points, positive class against the rest: thresholds chosen on val; PPV and NPV "
        "(positive and negative predictive value) at stated prevalences",
        [
            *("case", "operating point", "threshold", "val sensitivity", "val specificity"),
            *operating_columns(prevalences),
        ],
        [
            [
                case_cell(case),
                Cell(point_label(name)),
                _threshold_cell(point.thresholds),
                figure_cell(point.val_sensitivity),
                figure_cell(point.val_specificity),
                *operating_cells(point),
            ]
            for case in cases
            for name, point in case.report.operating_points.items()
        ],
    )


def operating_columns(prevalences: Sequence[float]) -> list[str]:
    """Headings of `operating_cells`."""
    return [
        "sensitivity",
        "specificity",
        *("LR+", "LR\N{MINUS SIGN}", "PPV in the test set"),
        *(f"{name} at {100 * share:g} %" for share in prevalences for name in ("PPV", "NPV")),
    ]


def operating_cells(point: OperatingPoint) -> list[Cell]:
    """Test figures of an operating point."""
    test = point.test
    values = [test.sensitivity, test.specificity]
    values += [test.lr_positive, test.lr_negative, test.precision]
    for entry in point.prevalences:
        values += [entry.ppv, entry.npv]
    return list(map(estimate_cell, values))


def _temperature_cell(runs: Sequence[Temperature]) -> Cell:
    """Of all runs; noted where val set no limit to it."""
    cell = _range_cell([run.temperature for run in runs])
    at_bound = sum(run.reason is not None for run in runs)
    return cell.with_note(f"at its bound in {at_bound} of {len(runs)}" if at_bound else "")


def _threshold_cell(runs: Sequence[Threshold]) -> Cell:
    """Of all runs; a threshold above 1 calls no image positive."""
    cell = _range_cell([run.threshold for run in runs])
    never = sum(run.threshold > 1 for run in runs)
    said = f"above 1, which calls none positive, in {never} of {len(runs)}"
    return cell.with_note(said if never else "")


def _range_cell(values: Sequence[float]) -> Cell:
    """The value of a single run; of several the mean over their range."""
    mean = sum(values) / len(values)
    note = "" if len(values) == 1 else f"{min(values):.3f} to {max(values):.3f} in the runs"
    return Cell(as_text(mean), note, mean, is_figure=True)


def draw_reliability(cases: Sequence[CaseResults]) -> str:
    """Accuracy against confidence on the test images, before and after temperature scaling."""
    figure, axes = panel_row(len(cases))
    for axis, side in zip(axes, SIDES, strict=True):
        for number, case in enumerate(cases):
            bins = getattr(case.report.calibration, side)
            style = line_style(number)
            axis.plot(bins.confidence, bins.accuracy, marker=".", label=case.title, **style)
        draw_diagonal(axis)
        axis.set(
            xlabel="confidence: mean probability of the predicted class",
            ylabel="accuracy",
            title=f"Reliability, {side} temperature scaling",
        )
    draw_legend(axes[-1])
    return to_svg(figure)
