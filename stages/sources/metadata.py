"""Metadata of a source: cells of a table's columns, as numbers or categories, or DICOM headers."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import ColumnKind, DicomColumn, DicomMetadata, SourceMetadata
from stages.dataset.metadata import Column
from stages.sources.identity import is_missing, tidy, unify_ids
from stages.sources.item import SourceItem
from stages.sources.matching import Found
from stages.sources.table import file_of, match_rows
from stages.sources.table_file import read_source_table

Value = float | str | None

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = 1e12  # far from where squares overflow
SHOWN = 3
KIND_OF_FACT: dict[DicomColumn, ColumnKind] = {
    "age": "number",
    "sex": "category",
    "view": "category",
    "manufacturer": "category",
}


class MetadataListing(NamedTuple):
    """What a table says of a source's images.

    Attributes:
        columns: by name.
        cells: path of an image to its value in each column; None where nothing is known. Images
            without a row are not in it.
        notes: what there is to say, a sentence each.
    """

    columns: dict[str, Column]
    cells: dict[str, dict[str, Value]]
    notes: list[str]


def list_metadata(
    items: Sequence[SourceItem], settings: SourceMetadata, root: Path
) -> MetadataListing:
    """Read the metadata of a data set's images.

    Rows find files as those of `datasets.<name>.table` do. Images without a row, rows without a
    file and cells that are no number are counted in the notes.

    Args:
        items: images of the source.
        settings: `metadata` of the data set.
        root: folder of the source.

    Raises:
        UserError: the table cannot be read, lacks a column, names no file or says two things of
            one, or a column of numbers has none.
    """
    table = read_source_table(
        root, settings.table, [settings.file, *settings.columns], "metadata.table"
    )
    names = table.rows[settings.file]
    paths = [item.source_path for item in items]
    matches = match_rows(names, paths, f"metadata.file: column {settings.file!r}")
    rows = table.rows[[file_of(name, matches) is not None for name in names]]
    columns, values = {}, {}
    for name, kind in settings.columns.items():
        columns[name], values[name] = _read_column(rows[name].tolist(), name, kind)
    said = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    cells = _cells_of_files(rows[settings.file], said, matches)
    notes = [
        f"{settings.table} is read as {table.read_as}",
        *table.notes,
        *_unmatched_notes(names, paths, matches, cells),
        *_unusable_notes(columns),
    ]
    return MetadataListing(columns, cells, [f"metadata: {note}" for note in notes])


def list_header_facts(
    facts: Mapping[str, Mapping[str, Value]], settings: DicomMetadata
) -> MetadataListing:
    """What DICOM headers say of images; what a header does not say is not known.

    Args:
        facts: by path of the file, what `dicom_header` takes from its header.
        settings: `metadata` of the data set.
    """
    columns: dict[str, Column] = {
        name: Column(KIND_OF_FACT[name], 0, []) for name in settings.columns
    }
    values = {name: [said[name] for said in facts.values()] for name in columns}
    for name, column in columns.items():
        if column.kind == "category":  # SIEMENS and Siemens are one
            values[name] = [*unify_ids([str(v) if v else None for v in values[name]]).ids]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return MetadataListing(columns, dict(zip(facts, rows, strict=True)), [])


def _read_column(texts: Sequence[str], name: str, kind: ColumnKind) -> tuple[Column, list[Value]]:
    if kind == "category":
        return Column(kind, 0, []), [*unify_ids(texts).ids]
    tidied = [tidy(text) for text in texts]
    numbers = [_number(text) for text in tidied]
    unusable = [
        text
        for text, number in zip(tidied, numbers, strict=True)
        if number is None and not is_missing(text)
    ]
    if unusable and all(number is None for number in numbers):
        raise UserError(
            f"metadata.columns.{name}: got number, but none of {len(unusable)} cells is one, such "
            f"as {unusable[0]!r}; allowed here: category"
        )
    return Column(kind, len(unusable), list(dict.fromkeys(unusable))[:SHOWN]), [*numbers]


def _number(text: str) -> float | None:
    value = float(text) if NUMBER.fullmatch(text) else None
    return None if value is None or abs(value) > LARGEST else value


def _cells_of_files(
    names: "pd.Series[str]",
    said: Sequence[dict[str, Value]],
    matches: Mapping[str, Found],
) -> dict[str, dict[str, Value]]:
    """What the rows say of each file; several rows of one must say the same."""
    cells: dict[str, dict[str, Value]] = {}
    first_row: dict[str, int] = {}
    for (row, name), values in zip(names.items(), said, strict=True):
        file, number = matches[name].files[0], int(str(row))
        first = first_row.setdefault(file, number)
        known = cells.setdefault(file, values)
        differing = [column for column in values if values[column] != known[column]]
        if differing:
            column = differing[0]
            raise UserError(
                f"metadata: rows {first} and {number} are both of {file!r} and differ in {column}: "
                f"{known[column]!r} and {values[column]!r}; leave one row per file"
            )
    return cells


def _unmatched_notes(
    names: "pd.Series[str]",
    paths: Sequence[str],
    matches: Mapping[str, Found],
    cells: Mapping[str, object],
) -> list[str]:
    without_row = [path for path in paths if path not in cells]
    without_file = [name for name in names if file_of(name, matches) is None]
    notes = []
    if without_row:
        notes.append(
            f"{len(without_row)} of {len(paths)} files have no row, such as {without_row[0]!r}; "
            "nothing is known of them"
        )
    if without_file:
        notes.append(
            f"{len(without_file)} of {len(names)} rows name no file, or several, such as "
            f"{without_file[0]!r}"
        )
    return notes


def _unusable_notes(columns: Mapping[str, Column]) -> list[str]:
    return [
        f"{column.n_unusable} cells of {name} are no number, such as "
        f"{', '.join(map(repr, column.unusable))}; they are taken as missing"
        for name, column in columns.items()
        if column.n_unusable
    ]
