"""Reporting checklists: what the run answers, what the authors answer, what is open.

The items are in checklists.csv, named in our own words, with the numbers of CLAIM 2024 (Tejani et
al., Radiology: Artificial Intelligence 2024;6(4):e240300) and of TRIPOD+AI (Collins et al., BMJ
2024;385:e078378). Its columns:

answer  an entry of `ANSWERS`, of the run, or of `KNOWN`, of each data set: answers the item where
        it says something, of every data set
part    an entry of `ANSWERS`: what the run knows of an item that it cannot answer
study   keys of the section `study` of params.yaml, apart by spaces: they answer the item where all
        of them are given, and stand beside an answer of the run otherwise
"""

import csv
from pathlib import Path
from typing import NamedTuple

from stages.reporting.answers import ANSWERS
from stages.reporting.known import KNOWN
from stages.reporting.results import Results
from stages.reporting.table import Cell, Table

ITEMS = Path(__file__).parent / "checklists.csv"
TITLES = {
    "CLAIM": "CLAIM, 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024)",
    "TRIPOD+AI": "TRIPOD+AI (Collins et al., BMJ 2024)",
}


class Item(NamedTuple):
    """An item.

    Attributes:
        number: as the checklist has it.
        name: in our own words.
        lines: what the run knows.
        is_known: whether that answers the item.
        open_for: data sets of which the run knows nothing, where it knows of others.
        study: keys of `study` that answer the item together, to what the authors say.
    """

    number: str
    name: str
    lines: list[str]
    is_known: bool
    open_for: list[str]
    study: dict[str, str | None]

    @property
    def is_said(self) -> bool:
        """Whether the authors answer it."""
        return bool(self.study) and None not in self.study.values()

    @property
    def is_open(self) -> bool:
        """Whether nobody does."""
        return not (self.is_known or self.is_said)

    @property
    def quotes(self) -> list[str]:
        """What the authors say, behind its key."""
        return [f"study.{key}: {text}" for key, text in self.study.items() if text is not None]

    @property
    def missing(self) -> str:
        """The keys that would answer an open item."""
        return ", ".join(f"study.{key}" for key, text in self.study.items() if text is None)

    @property
    def answered_by(self) -> str:
        """Who answers, or what would."""
        if self.is_open:
            where = f" (for {', '.join(self.open_for)})" if self.open_for else ""
            return f"open: {self.missing}{where}"
        who = ["the run"] * self.is_known + ["the authors"] * bool(self.quotes)
        return " and ".join(who)


class Checklist(NamedTuple):
    """A checklist: its title and all of its items."""

    title: str
    items: list[Item]

    @property
    def n_by_run(self) -> int:
        """How many items the run answers."""
        return sum(item.is_known for item in self.items)

    @property
    def n_by_authors(self) -> int:
        """How many more the authors do."""
        return sum(item.is_said and not item.is_known for item in self.items)

    @property
    def summary(self) -> str:
        """Title and counts."""
        answered = self.n_by_run + self.n_by_authors
        return (
            f"{self.title}: {answered} of {len(self.items)} items answered, {self.n_by_run} by the "
            f"run and {self.n_by_authors} by the authors"
        )

    @property
    def table(self) -> Table:
        """Every item with its answer."""
        return Table(
            self.title,
            ["item", "name", "answered by", "answer"],
            [
                [Cell(item.number), Cell(item.name), Cell(item.answered_by), Cell(_answer(item))]
                for item in self.items
            ],
            is_sortable=False,
        )

    @property
    def open_table(self) -> Table:
        """The items that nobody answers, by name, and the keys that would."""
        rows = [item for item in self.items if item.is_open]
        return Table(
            f"Open items of {self.title}",
            ["item", "name", "answered by, in params.yaml", "open for"],
            [
                [
                    Cell(item.number),
                    Cell(item.name),
                    Cell(item.missing),
                    Cell(", ".join(item.open_for) or "all data sets"),
                ]
                for item in rows
            ],
            is_sortable=False,
        )


def _answer(item: Item) -> str:
    return "\n".join([*item.lines, *item.quotes])


def build_checklists(results: Results) -> list[Checklist]:
    """Every checklist, each item answered or open."""
    items: dict[str, list[Item]] = {name: [] for name in TITLES}
    with ITEMS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            items[row["checklist"]].append(_item(row, results))
    return [Checklist(title, items[name]) for name, title in TITLES.items()]


def _item(row: dict[str, str], results: Results) -> Item:
    lines, open_for = _said_by_run(row["answer"], results)
    known = bool(lines) and not open_for
    if row["part"]:
        lines = lines + ANSWERS[row["part"]](results)
    study = {key: getattr(results.params.study, key) for key in row["study"].split()}
    is_partly_known = bool(lines) and row["answer"] in KNOWN
    return Item(
        row["number"], row["item"], lines, known, open_for if is_partly_known else [], study
    )


def _said_by_run(answer: str, results: Results) -> tuple[list[str], list[str]]:
    """The run's lines, and the data sets that it knows nothing of."""
    if answer in KNOWN:
        said: dict[str | None, list[str]] = {}  # the same of several data sets is said once
        for dataset in results.datasets.values():
            said.setdefault(KNOWN[answer](dataset), []).append(dataset.info.dataset)
        open_for = said.pop(None, [])
        return [f"{', '.join(names)}: {text}" for text, names in said.items()], open_for
    return (ANSWERS[answer](results) if answer else []), []
