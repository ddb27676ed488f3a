"""Reporting checklists, filled in as far as a run knows the answer.

The items are in checklists.csv, named in our own words, with the numbers of CLAIM 2024 (Tejani et
al., Radiology: Artificial Intelligence 2024;6(4):e240300) and of TRIPOD+AI (Collins et al., BMJ
2024;385:e078378). Column `answer` names an entry of `ANSWERS`; where it is empty, only the authors
of a study can answer.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from stages.reporting.answers import ANSWERS
from stages.reporting.results import Results

ITEMS = Path(__file__).parent / "checklists.csv"
TITLES = {
    "CLAIM": "CLAIM, 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024)",
    "TRIPOD+AI": "TRIPOD+AI (Collins et al., BMJ 2024)",
}


class Item(NamedTuple):
    """An item: its number, its name, and the lines that answer it, none where authors must."""

    number: str
    name: str
    lines: list[str]


class Checklist(NamedTuple):
    """A checklist: its title and all of its items."""

    title: str
    items: list[Item]

    @property
    def n_filled(self) -> int:
        """How many items the run has filled in."""
        return sum(bool(item.lines) for item in self.items)


def build_checklists(results: Results) -> list[Checklist]:
    """Every checklist, each item answered or left to the authors."""
    items: dict[str, list[Item]] = {name: [] for name in TITLES}
    with ITEMS.open(encoding="utf-8", newline="") as file:
        for checklist, number, name, answer in list(csv.reader(file))[1:]:
            lines = ANSWERS[answer](results) if answer else []
            items[checklist].append(Item(number, name, lines))
    return [Checklist(title, items[name]) for name, title in TITLES.items()]
