"""Tables as the page shows them: text that is ready, and what to sort it by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.reporting.results import Results

UNDEFINED = "n/a"


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


class Table(NamedTuple):
    """A caption, a header row unless `columns` is empty, and rows that begin with their heading."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    is_sortable: bool = True


def text_cell(value: object) -> Cell:
    """Any value as text."""
    return Cell(str(value))


def count_cell(value: int) -> Cell:
    """A whole number."""
    return Cell(f"{value:,}", number=value, is_figure=True)


def figure_cell(value: float | None, note: str = "") -> Cell:
    """A figure with three decimals, n/a where it is undefined."""
    return Cell(as_text(value), note, value, is_figure=True)


def interval_cell(
    values: Mapping[str, Any],
    name: str,
    ends: tuple[str, str] | None = None,
    *,
    is_signed: bool = False,
) -> Cell:
    """A figure over its interval.

    Args:
        values: flat figures.
        name: of the figure; n/a where it is missing or None.
        ends: names of the interval's ends; by default `<name>_low` and `<name>_high`.
        is_signed: whether to write the plus sign, as for a difference.
    """
    low, high = (values.get(end) for end in ends or (f"{name}_low", f"{name}_high"))
    sign = "+" if is_signed else ""
    note = "" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"
    value = values.get(name)
    text = UNDEFINED if value is None else f"{value:{sign}.3f}"
    return Cell(text, note, value, is_figure=True)


def case_cell(results: Results, case: str) -> Cell:
    """The case's name, marked where its figures are optimistic."""
    return marked_cell(case, results.cases[case].metrics["n_leaking_groups"])


def marked_cell(name: str, n_leaking_groups: int) -> Cell:
    """A name, with a dagger where groups leak."""
    return Cell(f"{name} †", "leakage allowed") if n_leaking_groups else Cell(name)


def p_value_cell(values: Mapping[str, Any]) -> Cell:
    """Holm's adjusted p-value over the plain one."""
    adjusted, plain = values["p_value_holm"], values["p_value"]
    note = "" if plain is None else f"unadjusted {p_text(plain)}"
    return Cell(p_text(adjusted), note, adjusted, is_figure=True)


def p_text(value: float | None) -> str:
    """A p-value; never 0."""
    if value is None:
        return UNDEFINED
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def as_text(value: float | None) -> str:
    """Three decimals, n/a for None."""
    return UNDEFINED if value is None else f"{value:.3f}"


def label(name: str) -> str:
    """A field's name in words."""
    return (
        name.replace("_", " ").replace("auroc", "AUROC").replace("f1", "F1").replace("ece", "ECE")
    )
