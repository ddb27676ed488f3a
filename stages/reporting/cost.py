"""What each case costs, in quantities that are the same on every machine."""

from collections.abc import Sequence

from stages.reporting.results import CaseResults
from stages.reporting.table import Cell, Table, case_cell, count_cell

GIGA, TERA = 1e9, 1e12


def build_cost_table(cases: Sequence[CaseResults]) -> Table:
    """Operations and parameters of each case, and how much dearer it is than the cheapest one."""
    counted = [flop for case in cases if (flop := case.training.flop_of_all_runs)]
    least = min(counted, default=None)
    return Table(
        "Cost of each case (a multiplication and an addition are two operations; initial weights "
        "are not counted; seconds, memory and energy on this machine stand in times.html)",
        [
            *("case", "parameters", "of them trained", "GFLOP per image", "trainings"),
            *("TFLOP of all trainings", "times the cheapest"),
        ],
        [_row(case, least) for case in cases],
    )


def _row(case: CaseResults, least: int | None) -> list[Cell]:
    facts = case.training
    flop = facts.flop_of_all_runs
    ratio = Cell("not counted")
    if flop is not None and least is not None:
        ratio = Cell(f"{flop / least:,.3g}", number=flop / least, is_figure=True)
    return [
        case_cell(case),
        count_cell(facts.n_trained + facts.n_frozen),
        count_cell(facts.n_trained),
        _operations_cell(facts.flop_per_image, GIGA),
        count_cell(case.figures.n_runs),
        _operations_cell(flop, TERA),
        ratio,
    ]


def _operations_cell(count: int | None, unit: float) -> Cell:
    if count is None:
        return Cell("not counted")
    return Cell(f"{count / unit:,.3g}", number=count, is_figure=True)
