"""A table of text as people save it: any usual separator and encoding, quoted line breaks."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError, suggest
from stages.sources.identity import tidy

FILES_SHOWN = 5
MAX_BYTES = 100_000_000  # NIH's table of 112,120 X-rays has 8 MB
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# The longer ones first: UTF-32 of this byte order begins as UTF-16 does.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# How files begin that are no text.
NO_TEXT = {
    b"PK\x03\x04": "a spreadsheet (.xlsx, .ods) or an archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls)",
    b"\x1f\x8b": "compressed (.gz)",
}


class TableFile(NamedTuple):
    """What a file holds.

    Attributes:
        rows: the columns asked for, all text as it stands; the index is the number of the row, as
            a spreadsheet counts them, with 1 for the column names.
        read_as: encoding and separator, in words.
        notes: what is odd about it, a sentence each.
    """

    rows: pd.DataFrame
    read_as: str
    notes: list[str]


class _Row(NamedTuple):
    number: int
    cells: list[str]


def read_source_table(root: Path, name: str, columns: Collection[str], key: str) -> TableFile:
    """Read some columns of a table inside a source.

    Args:
        root: folder of the source.
        name: path of the table below it.
        columns: names of columns, each read once.
        key: of params.yaml, by which messages begin.

    Raises:
        UserError: there is no such file inside the source, or it cannot be read as such a table.
    """
    path, where = PurePosixPath(name), f"{key}: {name!r}"
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{where}; allowed: a path inside the source, so that DVC sees it change")
    if not (root / path).is_file():
        alike = (p for p in root.rglob("*") if p.name == path.name)
        elsewhere = sorted(p.relative_to(root).as_posix() for p in alike)
        found = f"; found {', '.join(elsewhere[:FILES_SHOWN])}" if elsewhere else ""
        raise UserError(f"{where}: there is no such file inside the source{found}")
    return read_table_file(root / path, list(dict.fromkeys(columns)), where)


def read_column_names(path: Path, where: str) -> list[str]:
    """The names in the first row of a table, tidied; those that stand there twice are left out.

    Raises:
        UserError: it is no text, or empty.
    """
    text, _ = _read_text(path, where)
    names = [tidy(name) for name in _first_cells(text, _separator(text, (), where))]
    return [name for name in names if name and names.count(name) == 1]


def read_table_file(path: Path, columns: Collection[str], where: str) -> TableFile:
    """Read some columns of a table.

    Args:
        path: of the file; it is there.
        columns: names of columns; spaces around names in the file do not matter.
        where: how messages begin.

    Raises:
        UserError: it is no text, has no rows, is not cut into cells evenly, or lacks a column.
    """
    text, encoding = _read_text(path, where)
    separator = _separator(text, columns, where)
    header, *rows = _split_rows(text, separator, where)
    names = [tidy(name) for name in header.cells]
    places = [_place(name, names, where) for name in columns]
    if not rows:
        raise UserError(f"{where} has column names but no rows; give it a row per image")
    n_short = sum(len(row.cells) < len(names) for row in rows)
    for row in rows:
        _require_width(row, names, where)
    table = pd.DataFrame(
        [[_cell(row, place) for place in places] for row in rows],
        columns=list(columns),
        index=[row.number for row in rows],
    )
    notes = [f"{n_short} rows end before the last column; what they lack is empty"]
    read_as = f"{encoding}, cells separated by {SEPARATORS[separator]}"
    return TableFile(table, read_as, notes if n_short else [])


def _read_text(path: Path, where: str) -> tuple[str, str]:
    """The text and how it was encoded."""
    try:
        n_bytes = path.stat().st_size
        content = path.read_bytes() if n_bytes <= MAX_BYTES else b""
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror}); check access") from None
    if n_bytes > MAX_BYTES:
        raise UserError(f"{where} has {n_bytes:,} bytes; allowed: at most {MAX_BYTES:,}")
    for start, kind in NO_TEXT.items():
        if content.startswith(start):
            raise UserError(f"{where} is {kind}, no text; save it as CSV (UTF-8) and name that")
    for encoding in _encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding.removesuffix("-sig")
    raise UserError(f"{where} is no text in UTF-8, UTF-16 or cp1252; save it as CSV (UTF-8)")


def _encodings(content: bytes) -> tuple[str, ...]:
    """What to try: what a byte-order mark says, or where zeros stand, else UTF-8, then cp1252."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return (encoding,)
    start = content[:1000]
    if start[1::2].count(0) > len(start) / 4:  # Latin letters take one byte of two
        return ("utf-16-le",)
    if start[::2].count(0) > len(start) / 4:
        return ("utf-16-be",)
    return ("utf-8", "cp1252")


def _separator(text: str, columns: Collection[str], where: str) -> str:
    """The separator that gives the first row most of the columns asked for, or most cells."""
    stated = re.match(r"sep=([,;\t|])\s", text)  # a line of Excel's
    if stated:
        return stated[1]

    def worth(separator: str) -> tuple[int, int]:
        names = [tidy(name) for name in _first_cells(text, separator)]
        return sum(name in names for name in columns), len(names)

    if not text.strip():
        raise UserError(f"{where} is empty; give it column names and a row per image")
    return max(SEPARATORS, key=worth)


def _first_cells(text: str, separator: str) -> list[str]:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return next((cells for cells in rows if any(cells)), [])
    except csv.Error:
        return []


def _split_rows(text: str, separator: str, where: str) -> list[_Row]:
    """Rows with something in them, the column names first."""
    # Strict: a quote that is never closed would else swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found = []
    try:
        for number, cells in enumerate(reader, start=1):
            is_hint = number == 1 and re.fullmatch(r"sep=.?", "".join(cells)) is not None
            if any(cell.strip() for cell in cells) and not is_hint:
                found.append(_Row(number, cells))
    except csv.Error as error:
        raise UserError(
            f"{where}, line {reader.line_num}: {error}; close the quote, or double a quote that "
            "belongs to the text"
        ) from None
    return found


def _place(column: str, names: Sequence[str], where: str) -> int:
    """Where a column stands."""
    found = [place for place, name in enumerate(names) if name == tidy(column)]
    if len(found) > 1:
        raise UserError(f"{where} has {len(found)} columns {column!r}; rename all but one")
    if not found:
        listed = ", ".join(name or "(no name)" for name in names)
        raise UserError(
            f"{where} has no column {column!r}{suggest(column, names)}; it has: {listed}"
        )
    return found[0]


def _require_width(row: _Row, names: Sequence[str], where: str) -> None:
    """Refuse cells beyond the last column: what stands where is then not known."""
    if any(cell.strip() for cell in row.cells[len(names) :]):
        raise UserError(
            f"{where}, row {row.number} has {len(row.cells)} cells, but there are {len(names)} "
            "column names; put cells that contain the separator in quotes"
        )


def _cell(row: _Row, place: int) -> str:
    return row.cells[place] if place < len(row.cells) else ""
