"""Sentences, tables and code as Markdown (GitHub's dialect, which has tables)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from stages.config.text import visible
from stages.reporting.table import Cell, Table

# What would be read as markup inside a line, and begin HTML.
MARKUP = re.compile(r"([\\`*\[\]<>|~])")


class MarkdownSection(NamedTuple):
    """A heading with what stands below it: sentences, tables, code."""

    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    code: str = ""


def render_sections(title: str, notices: Sequence[str], sections: Sequence[MarkdownSection]) -> str:
    """A page: its title, what has to be read first, and sections."""
    blocks = [f"# {plain(title)}", *(f"> {plain(notice)}" for notice in notices)]
    for section in sections:
        blocks.append(f"## {plain(section.title)}")
        if section.sentences:
            blocks.append("\n".join(f"- {plain(line)}" for line in section.sentences))
        for table in section.tables:
            blocks += [f"**{plain(table.caption)}**", render_table(table)]
        if section.code:
            blocks.append(f"```python\n{section.code.strip()}\n```")
    return "\n\n".join(blocks) + "\n"


def render_table(table: Table) -> str:
    """Rows of cells with their notes in brackets; a list of names and values without a header."""
    if not table.columns:
        return "\n".join(f"- {_cell(name)}: {_cell(value)}" for name, value in table.rows)
    lines = [[plain(column) for column in table.columns], ["---"] * len(table.columns)]
    lines += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text in which nothing is markup and nothing acts on its surroundings."""
    return MARKUP.sub(r"\\\1", visible(text))


def _cell(cell: Cell) -> str:
    return plain(f"{cell.text} ({cell.note})" if cell.note else cell.text)
