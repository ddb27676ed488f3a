"""Cases of one data set scored, untouched, on images of another."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.reporting.cases import build_confusion_table
from stages.reporting.documents import Drop, ExternalReport
from stages.reporting.measures import recalibration_table
from stages.reporting.probabilities import (
    CALIBRATION_COLUMNS,
    calibration_cells,
    operating_cells,
    operating_columns,
)
from stages.reporting.results import CaseResults
from stages.reporting.table import (
    Table,
    case_cell,
    difference_cell,
    estimate_cell,
    figure_cell,
    marked_cell,
)
from stages.reporting.wording import DISCUSSED, difference_text, label, point_label, standing


class ExternalTest(NamedTuple):
    """One external test as the page shows it.

    Attributes:
        name: its key in params.yaml.
        facts: sentences on who was tested on what.
        tables: the drop, calibration, operating points, confusion matrix.
    """

    name: str
    facts: list[str]
    tables: list[Table]


def build_external_test(
    name: str, found: ExternalReport, case: CaseResults, title: str, prevalences: Sequence[float]
) -> ExternalTest:
    """The external test of one case.

    Args:
        name: its key in params.yaml.
        found: its figures.
        case: that was tested.
        title: of the data set that it was tested on.
        prevalences: of the predictive values.
    """
    tables = [
        _drop_table(name, found, case),
        Table(
            f"{name}: calibration, before and after the temperature of the case's own val images",
            ["case", *CALIBRATION_COLUMNS],
            [[case_cell(case), *calibration_cells(found.calibration)]],
        ),
        recalibration_table(
            f"{name}: calibration of each class against the rest, before and after the same",
            [(case.name, case.marks, found.calibration)],
        ),
        Table(
            f"{name}: operating points, with the thresholds of the case's own val images",
            ["operating point", *operating_columns(prevalences)],
            [
                [marked_cell(point_label(key), case.marks), *operating_cells(point)]
                for key, point in found.operating_points.items()
            ],
        ),
        build_confusion_table(name, found),
    ]
    return ExternalTest(name, _facts(found, case, title), tables)


def _facts(found: ExternalReport, case: CaseResults, title: str) -> list[str]:
    mapped = ", ".join(f"{theirs} as {ours}" for theirs, ours in found.classes.items())
    return [
        f"{case.title}, scored as it is on the data set {title}, view {found.view}: {found.n} "
        f"images of {found.n_groups} groups. Classes: {mapped}.",
        f"{found.n_left_out} images are left out, of other classes; "
        f"{found.n_shared_with_training} are shared with the training data.",
    ]


def _drop_table(name: str, found: ExternalReport, case: CaseResults) -> Table:
    """Each metric on both sets of images, and the difference."""
    return Table(
        f"{name}: {case.title} on its own test images and on the others",
        ["metric", "own test images", "the others", "the others minus own"],
        [
            [
                marked_cell(label(metric), case.marks),
                figure_cell(drop.own),
                estimate_cell(found.metrics.get(metric)),
                difference_cell(drop.difference),
            ]
            for metric, drop in found.drop.items()
        ],
    )


def describe_external(name: str, found: ExternalReport, case: CaseResults, title: str) -> str:
    """What a case loses on images from elsewhere, and which images those are."""
    said = "; ".join(_describe_drop(metric, found.drop[metric]) for metric in DISCUSSED)
    return (
        f"External test {name}: {case.title} as it is on {found.n} images ({found.n_groups} "
        f"groups) of {title}; left out are {found.n_left_out} of other classes and "
        f"{found.n_shared_with_training} that its own data set has too: {said}."
    )


def _describe_drop(metric: str, drop: Drop) -> str:
    there, own = drop.external, drop.own
    if not drop.difference.has_interval or there is None or own is None:
        return f"{label(metric)} is not compared"
    # The words hold whichever of the two the difference starts from.
    side = "lower" if there < own else "higher"
    return (
        f"{label(metric)} {there:.3f} there and {own:.3f} on its own test images, a difference of "
        f"{difference_text(drop.difference)}, {standing(drop.difference, side, side, ahead='as')}"
    )
