"""Tables as the page shows them: text that is ready, and what to sort it by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.evaluation.statistics.records import Estimate
from stages.reporting.results import CaseResults
from stages.reporting.wording import Mark, as_text, ends_text, p_text


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: what stands in it.
        note: a second, smaller line, such as an interval.
        number: what a figure is sorted by; None for text.
        is_figure: whether it is one; a figure without a number is undefined and sorts last.
    """

    text: str
    note: str = ""
    number: float | None = None
    is_figure: bool = False

    def with_note(self, note: str) -> "Cell":
        """The same with more below it."""
        return self._replace(
            note=f"{self.note}; {note}" if self.note and note else self.note + note
        )


class Table(NamedTuple):
    """A caption, a header row unless `columns` is empty, and rows that begin with their heading."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    is_sortable: bool = True


def fact_table(caption: str, facts: Mapping[str, str]) -> Table:
    """Names and values, without a header."""
    rows = [[Cell(name), Cell(value)] for name, value in facts.items()]
    return Table(caption, [], rows, is_sortable=False)


def count_cell(value: int | None) -> Cell:
    """A whole number."""
    if value is None:
        return figure_cell(None)
    return Cell(f"{value:,}", number=value, is_figure=True)


def figure_cell(value: float | None) -> Cell:
    """A figure with three decimals, n/a where it is undefined."""
    return Cell(as_text(value), "", value, is_figure=True)


def estimate_cell(estimate: Estimate) -> Cell:
    """A figure over its interval."""
    return Cell(as_text(estimate.value), ends_text(estimate), estimate.value, is_figure=True)


def difference_cell(estimate: Estimate) -> Cell:
    """A difference with its sign over its interval; why, where there is none and that is known."""
    note = ends_text(estimate, "+") or estimate.why_undefined or ""
    return Cell(as_text(estimate.value, "+"), note, estimate.value, is_figure=True)


def p_value_cell(plain: float | None, adjusted: float | None) -> Cell:
    """Holm's adjusted p-value over the plain one."""
    note = "" if plain is None else f"unadjusted {p_text(plain)}"
    return Cell(p_text(adjusted), note, adjusted, is_figure=True)


def case_cell(case: CaseResults) -> Cell:
    """The case's name with its marks."""
    return marked_cell(case.name, case.marks)


def marked_cell(name: str, marks: Sequence[Mark]) -> Cell:
    """A name with marks and, below it, what they say."""
    signs = "".join(mark.sign for mark in marks)
    return Cell(name + signs, "; ".join(mark.note for mark in marks))
