"""Figures of each group of a case's test images, beside all others."""

from collections.abc import Sequence

from stages.reporting.documents import GroupFigures, GroupPartition
from stages.reporting.results import CaseResults
from stages.reporting.table import (
    Cell,
    Table,
    case_cell,
    difference_cell,
    estimate_cell,
    figure_cell,
    p_value_cell,
)
from stages.reporting.wording import SIGNIFICANCE, label

METRICS = ("balanced_accuracy", "auroc")  # which are shown, and tested against the rest
UNSCORED_SHOWN = 8  # of one column, of a case


def build_subgroup_table(cases: Sequence[CaseResults]) -> Table | None:
    """A row for each group of each case; None where nothing cuts the images into groups."""
    rows = [
        row
        for case in cases
        for part in case.report.subgroups.partitions
        for row in _rows(case, part)
    ]
    if not rows:
        return None
    fewest = cases[0].report.subgroups.fewest_patients
    shown = [
        heading
        for name in map(label, METRICS)
        for heading in (name, f"{name} less the rest's", "p, Holm")
    ]
    return Table(
        "Subgroups of the test images: figures of each group, and less those of all other images "
        f"on the same classes. A class counts from {fewest} patients on, a group with two classes; "
        "p-values of a figure are adjusted by Holm's method over all groups of a case",
        ["case", "cut by", "group", "images by class, those that count", *shown],
        rows,
    )


def describe_gaps(case: CaseResults) -> list[str]:
    """Groups whose difference from the rest is settled; nothing where none was tested."""
    tested = [
        (f"{part.title} {group.name}", metric, group.against_rest[metric].difference)
        for part in case.report.subgroups.partitions
        for group in part.groups
        for metric in group.against_rest
    ]
    if not tested:
        return []
    settled = [
        f"{name} ({label(metric)} {difference.value:+.3f})"
        for name, metric, difference in tested
        if difference.excludes_zero and (difference.p_value_holm or 0) < SIGNIFICANCE
    ]
    said = (
        f"differ from the rest: {', '.join(settled)}" if settled else "none differs from the rest"
    )
    return [
        f"{case.title}, subgroups of the test images: {said}; {len(tested)} differences tested."
    ]


def _rows(case: CaseResults, part: GroupPartition) -> list[list[Cell]]:
    scored = [group for group in part.groups if group.metrics.figures]
    others = [group for group in part.groups if not group.metrics.figures]
    rows = [_row(case, part, group) for group in scored]
    rows += [_row(case, part, group) for group in others[:UNSCORED_SHOWN]]
    if len(others) > UNSCORED_SHOWN:
        more = Cell(f"{len(others) - UNSCORED_SHOWN} more groups", "too few in each to be scored")
        nothing = [figure_cell(None)] * (3 * len(METRICS))
        rows.append([case_cell(case), Cell(part.title, part.how), more, Cell(""), *nothing])
    return rows


def _row(case: CaseResults, part: GroupPartition, group: GroupFigures) -> list[Cell]:
    cells = [
        case_cell(case),
        Cell(part.title, part.how),
        Cell(group.name, group.remark or ""),
        _counts_cell(group),
    ]
    for metric in METRICS:
        cells += [estimate_cell(group.metrics.get(metric)), *_gap_cells(group, metric)]
    return cells


def _counts_cell(group: GroupFigures) -> Cell:
    """Images of each class; of those that do not count, patients too."""
    counted = [f"{name} {group.counts[name].images}" for name in group.classes]
    few = [
        f"{name} {count.images} of {count.patients} patients"
        for name, count in group.counts.items()
        if name not in group.classes
    ]
    return Cell(", ".join(counted) or "none", f"too few: {', '.join(few)}" if few else "")


def _gap_cells(group: GroupFigures, metric: str) -> list[Cell]:
    if metric not in group.against_rest:
        return [figure_cell(None), figure_cell(None)]
    gap = group.against_rest[metric].difference
    return [difference_cell(gap), p_value_cell(gap.p_value, gap.p_value_holm)]
