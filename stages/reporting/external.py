"""Cases of one data set scored, untouched, on images of another."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.reporting.case_tables import build_confusion_table
from stages.reporting.discussion import DatasetDiscussion
from stages.reporting.html_table import Table, figure_cell, interval_cell, label, marked_cell
from stages.reporting.probability_tables import (
    CALIBRATION_COLUMNS,
    calibration_cells,
    operating_cells,
    operating_columns,
    point_name,
)
from stages.reporting.results import Results

Json = dict[str, Any]


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


def build_external_tests(
    results: Results, dataset: str, discussion: Mapping[str, DatasetDiscussion]
) -> list[ExternalTest]:
    """The external tests of the cases of one data set.

    Args:
        results: what all stages wrote.
        dataset: on which the cases were trained.
        discussion: for the titles of the data sets.
    """
    return [
        ExternalTest(
            name,
            _facts(found, discussion[found["dataset"]].title),
            _tables(results, name, found),
        )
        for name, found in results.external.items()
        if results.dataset_of(found["case"]) == dataset
    ]


def _facts(found: Json, title: str) -> list[str]:
    mapped = ", ".join(f"{theirs} as {ours}" for theirs, ours in found["classes"].items())
    return [
        f"{found['case']}, scored as it is on the data set {title}, view {found['view']}: "
        f"{found['n']} images of {found['n_groups']} groups. Classes: {mapped}.",
        f"{found['n_left_out']} images are left out, of other classes; "
        f"{found['n_shared_with_training']} are shared with the training data.",
    ]


def _tables(results: Results, name: str, found: Json) -> list[Table]:
    leaking = results.cases[found["case"]].metrics["n_leaking_groups"]
    return [
        _drop_table(name, found, leaking),
        Table(
            f"{name}: calibration, before and after the temperature of the case's own val images",
            ["case", *CALIBRATION_COLUMNS],
            [[marked_cell(found["case"], leaking), *calibration_cells(found["calibration"])]],
        ),
        Table(
            f"{name}: operating points, with the thresholds of the case's own val images",
            ["operating point", *operating_columns(results.params.evaluate.prevalences)],
            [
                [marked_cell(point_name(key), leaking), *operating_cells(point)]
                for key, point in found["operating_points"].items()
            ],
        ),
        build_confusion_table(name, found),
    ]


def _drop_table(name: str, found: Json, leaking: int) -> Table:
    """Each metric on both sets of images, and the difference."""
    case = marked_cell(found["case"], leaking).text
    return Table(
        f"{name}: {case} on its own test images and on the others",
        ["metric", "own test images", "the others", "the others minus own"],
        [
            [
                marked_cell(label(metric), leaking),
                figure_cell(drop["own"]),
                interval_cell(found["metrics"], metric),
                interval_cell(drop, "difference", ("low", "high"), is_signed=True),
            ]
            for metric, drop in found["drop"].items()
        ],
    )
