"""The named comparisons of a data set as one table."""

from collections.abc import Mapping
from typing import Any

from stages.reporting.html_table import (
    Cell,
    Table,
    count_cell,
    interval_cell,
    marked_cell,
    p_value_cell,
    text_cell,
)
from stages.reporting.results import Results

Json = dict[str, Any]


def build_comparison_table(results: Results, comparisons: Mapping[str, Json]) -> Table:
    """First minus second case on the test images of both, with each test's adjusted p-value."""
    return Table(
        "Comparisons: the first case minus the second, on the test images of both; p-values "
        "adjusted by Holm's method over all named comparisons",
        [
            *("comparison", "first", "second", "images"),
            *("balanced accuracy", "p, bootstrap", "AUROC", "p, bootstrap"),
            *("AUROC, DeLong", "p, DeLong", "right in the first only", "in the second only"),
            "p, McNemar",
        ],
        [_comparison_row(results, name, found) for name, found in comparisons.items()],
    )


def _comparison_row(results: Results, name: str, found: Json) -> list[Cell]:
    test, mcnemar = found["test"], found["mcnemar"]
    leaking = results.cases[found["first"]].metrics["n_leaking_groups"]
    return [
        marked_cell(name, leaking),
        text_cell(found["first"]),
        text_cell(found["second"]),
        count_cell(test["n"]),
        *(
            cell
            for metric in ("balanced_accuracy", "auroc")
            for cell in (_difference_cell(test[metric]), p_value_cell(test[metric]))
        ),
        _difference_cell(found["delong"]),
        p_value_cell(found["delong"]),
        *(_count_or_nothing(mcnemar[key]) for key in ("n_only_first", "n_only_second")),
        p_value_cell(mcnemar),
    ]


def _difference_cell(values: Json) -> Cell:
    """A difference over its interval; why, where there is none."""
    cell = interval_cell(values, "difference", ("low", "high"), is_signed=True)
    return cell._replace(note=cell.note or values["undefined"] or "")


def _count_or_nothing(value: int | None) -> Cell:
    return Cell("n/a", is_figure=True) if value is None else count_cell(value)
