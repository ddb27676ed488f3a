"""Cases of one data set scored, untouched, on images of another."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.config.text import visible
from stages.reporting.cases import build_confusion_table
from stages.reporting.documents import Drop, ExternalReport, SharedPicture
from stages.reporting.measures import recalibration_table
from stages.reporting.probabilities import (
    CALIBRATION_COLUMNS,
    calibration_cells,
    operating_cells,
    operating_columns,
)
from stages.reporting.results import CaseResults
from stages.reporting.table import (
    Cell,
    Table,
    case_cell,
    difference_cell,
    estimate_cell,
    figure_cell,
    marked_cell,
)
from stages.reporting.wording import DISCUSSED, difference_text, label, point_label, standing

SHARED_SHOWN = 20  # pictures that both data sets have


class ExternalTest(NamedTuple):
    """One external test as the page shows it.

    Attributes:
        name: its key in params.yaml.
        facts: sentences on who was tested on what.
        tables: the drop, calibration, operating points, confusion matrix, shared pictures if any.
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
        *([_shared_table(name, found)] if found.shared else []),
    ]
    return ExternalTest(name, _facts(found, case, title), tables)


def _facts(found: ExternalReport, case: CaseResults, title: str) -> list[str]:
    mapped = ", ".join(f"{theirs} as {ours}" for theirs, ours in found.classes.items())
    return [
        f"{case.title}, scored as it is on the data set {title}, view {found.view}: {found.n} "
        f"images of {found.n_groups} groups. Classes: {mapped}.",
        f"{found.n_left_out} images are left out, of other classes; "
        f"{found.n_shared_with_training} that the case's own data set has too (its train, val and "
        f"test images) are left out as well. {_describe_search(found)}",
    ]


def _describe_search(found: ExternalReport) -> str:
    """By what pictures that both data sets have are known."""
    if not found.bytes_alone_of:
        return "Looked for were equal files, and pictures that look the same."
    return (
        "Looked for were equal files alone, since near_duplicates is false of "
        f"{' and '.join(found.bytes_alone_of)}: changed copies may be among those scored."
    )


def _shared_table(name: str, found: ExternalReport) -> Table:
    """The pictures that were left out, by name; the rest of many is counted."""
    return Table(
        f"{name}: {len(found.shared)} pictures that the case's own data set has too, left out"
        + (f"; the first {SHARED_SHOWN}" if len(found.shared) > SHARED_SHOWN else "")
        + f" (all are listed in metrics/external/{name}.json)",
        ["picture there", "own picture", "how alike"],
        [
            [Cell(visible(one.file)), Cell(visible(one.own_file)), Cell(_describe_likeness(one))]
            for one in found.shared[:SHARED_SHOWN]
        ],
    )


def _describe_likeness(one: SharedPicture) -> str:
    if one.kind == "bytes":
        return "the same file"
    return "looks the same" + ("" if one.change == "same" else f", {one.change}")


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
