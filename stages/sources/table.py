"""The table of a data set, reconciled with its files: what matched how, and what did not."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import Dataset, SourceTable
from stages.sources.identity import is_missing, tidy
from stages.sources.item import SourceItem
from stages.sources.matching import Found, has_image_ending, match_names
from stages.sources.table_file import TableFile, read_source_table
from stages.sources.table_values import IGNORED, RowValues, one_line_end, read_values
from stages.sources.tree import LeftOut

RECONCILIATION = "reconciliation.csv"
RECONCILIATION_COLUMNS = (
    "file",  # path inside the source, or nothing
    "row",  # its number, 1 for the column names, or nothing
    "named",  # what the row says of the file
    "how",  # the rule by which they matched, or one of the words below
    "note",
)
NO_FILE, NO_NAME, SEVERAL = "row without a file", "row names no file", "row fits several files"
NO_ROW, NO_LABEL = "file without a row", "row without a label"
NO_CLASS = "no class in the table"
NO_IMAGE = "neither a row nor the name of an image"
FILES_UNMATCHED, ROWS_UNMATCHED = (NO_ROW, NO_LABEL), (NO_FILE, NO_NAME, SEVERAL)
FILES_SHOWN = 5


class Tabled(NamedTuple):
    """What a table says of a source's images.

    Attributes:
        items: those that can be used, with what the table says of them.
        left_out: files that cannot, since no row gives them a class.
        reconciliation: a line per row and per file without one, columns RECONCILIATION_COLUMNS,
            all text.
        notes: what there is to say, a sentence each.
    """

    items: list[SourceItem]
    left_out: list[LeftOut]
    reconciliation: pd.DataFrame
    notes: list[str]


class _Line(NamedTuple):
    """A line of the reconciliation."""

    file: str
    row: str
    named: str
    how: str
    note: str


def apply_table(files: Sequence[SourceItem], dataset: Dataset, root: Path) -> Tabled:
    """Read the table of a data set and give each image what its row says.

    Args:
        files: of the source, as items without labels where the table has them.
        dataset: its entry of params.yaml; it has a table.
        root: folder of the source.

    Raises:
        UserError: the table cannot be read, names no file or says two things of one, or has a
            value that means nothing.
    """
    settings = dataset.table
    assert settings is not None
    table = _read(root, settings)
    own_path = PurePosixPath(settings.path).as_posix()
    items = [item for item in files if item.source_path != own_path]
    names = table.rows[settings.file]
    matches = _match(names, items, settings)
    rows = table.rows[[file_of(name, matches) is not None for name in names]]
    values, notes = read_values(rows, settings, dataset.classes, dataset.ignore)
    said = dict(zip(rows.index, values, strict=True))
    values_of = _values_of_files(rows[settings.file], said, matches)
    used = [
        _with_values(item, values_of.get(item.source_path), settings)
        for item in items
        if _has_class(values_of.get(item.source_path), settings)
    ]
    _require_classes(used, dataset)
    labelled = {item.source_path for item in used}
    lines = [*_row_lines(names, matches, said, dataset), *_file_lines(items, values_of, matches)]
    return Tabled(
        items=used,
        left_out=[
            LeftOut(item.source_path, NO_CLASS, 1)
            for item in items
            if item.source_path not in labelled
        ],
        reconciliation=pd.DataFrame(lines, columns=list(RECONCILIATION_COLUMNS)),
        notes=[f"{settings.path} is read as {table.read_as}", *table.notes, *notes],
    )


def require_matched(reconciliation: pd.DataFrame, max_unmatched: float, *, listed_in: str) -> None:
    """Refuse a table that leaves too many files without a row, or rows without a file.

    Args:
        reconciliation: what `apply_table` gives.
        max_unmatched: the share of either that is allowed.
        listed_in: where all are listed, or nothing, for the message.

    Raises:
        UserError: more of them are unmatched.
    """
    lines = reconciliation[reconciliation["how"] != NO_IMAGE]
    problems = []
    for column, hows, said in (
        ("file", FILES_UNMATCHED, "files have no row, or none with a label"),
        ("row", ROWS_UNMATCHED, "rows name no file, or several"),
    ):
        total = lines[column][lines[column] != ""].nunique()
        unmatched = lines[lines["how"].isin(hows)].drop_duplicates(column)
        if len(unmatched) > max_unmatched * total:
            first = unmatched["file" if column == "file" else "named"].iloc[0]
            problems.append(f"{len(unmatched)} of {total} {said}, such as {first!r}")
    if problems:
        raise UserError(
            f"table: {'; '.join(problems)}; allowed: a share of {max_unmatched:g} of either "
            f"(max_unmatched){listed_in}; mend the table, or add files without a row to ignore"
        )


def _read(root: Path, settings: SourceTable) -> TableFile:
    columns = (settings.file, settings.label, settings.patient, settings.split, settings.fold)
    wanted = [name for name in columns if name is not None]
    return read_source_table(root, settings.path, wanted, "table.path")


def _match(
    names: "pd.Series[str]", items: Sequence[SourceItem], settings: SourceTable
) -> dict[str, Found]:
    paths = [item.source_path for item in items]
    return match_rows(names, paths, f"table.file: column {settings.file!r}")


def match_rows(names: "pd.Series[str]", paths: Sequence[str], where: str) -> dict[str, Found]:
    """Find the files that the rows of a table name.

    Args:
        names: what each row says, by its number; those that say nothing find nothing.
        paths: of the files, inside the source.
        where: how the message begins.

    Raises:
        UserError: no row names a file.
    """
    matches = match_names([name for name in names if not is_missing(tidy(name))], paths)
    if not any(len(found.files) == 1 for found in matches.values()):
        such = f", such as {paths[0]!r}" if paths else ""
        raise UserError(
            f"{where} names none of {len(paths)} files{such}; row {names.index[0]} says "
            f"{names.iloc[0]!r}; name another column, or correct the table"
        )
    return matches


def file_of(name: str, matches: Mapping[str, Found]) -> str | None:
    """The one file that a row means, or None."""
    found = matches.get(name)
    return found.files[0] if found and len(found.files) == 1 else None


def _values_of_files(
    names: "pd.Series[str]", said: Mapping[int, RowValues], matches: Mapping[str, Found]
) -> dict[str, RowValues]:
    """What the rows say of each file; several rows of one must say the same."""
    first_row: dict[str, int] = {}
    for row, name in zip(names.index.tolist(), names.tolist(), strict=True):
        file = matches[name].files[0]
        first = first_row.setdefault(file, row)
        for field, one, other in zip(RowValues._fields, said[first], said[row], strict=True):
            if one != other:
                raise UserError(
                    f"table: rows {first} and {row} are both of {file!r} and differ in {field}: "
                    f"{one!r} and {other!r}; leave one row per file"
                )
    return {file: said[row] for file, row in first_row.items()}


def _has_class(values: RowValues | None, settings: SourceTable) -> bool:
    """Whether an image has a class: the folder's, or that of its row."""
    return settings.label is None or (
        values is not None and values.label is not None and values.label != IGNORED
    )


def _with_values(item: SourceItem, values: RowValues | None, settings: SourceTable) -> SourceItem:
    if values is None:
        return item
    if item.split and values.split and item.split != values.split:
        raise UserError(
            f"table.split: the row of {item.source_path!r} says {values.split}, its folder "
            f"{item.split}; correct one, or set table.split to null"
        )
    return replace(
        item,
        label=item.label if settings.label is None else str(values.label),
        split=values.split or item.split,
        patient_id=values.patient,
        fold=values.fold,
    )


def _require_classes(items: Sequence[SourceItem], dataset: Dataset) -> None:
    present = {item.label for item in items}
    missing = [name for name in dataset.classes if name not in present]
    if missing:
        raise UserError(
            f"classes.{missing[0]}: no file has a row with one of its labels, "
            f"{', '.join(map(repr, dataset.classes[missing[0]]))}; correct the class or the table"
        )


def _row_lines(
    names: "pd.Series[str]",
    matches: Mapping[str, Found],
    said: Mapping[int, RowValues],
    dataset: Dataset,
) -> Iterator[_Line]:
    for row, name in zip(names.index.tolist(), names.tolist(), strict=True):
        file = file_of(name, matches)
        if file is not None:
            how, note = _how_matched(said[row], matches[name].how, file, dataset)
            yield _Line(file, str(row), one_line_end(name), how, note)
        elif name in matches:
            yield _Line("", str(row), one_line_end(name), SEVERAL, _some(matches[name].files))
        else:
            how = NO_NAME if is_missing(tidy(name)) else NO_FILE
            yield _Line("", str(row), one_line_end(name), how, "")


def _how_matched(values: RowValues, how: str, file: str, dataset: Dataset) -> tuple[str, str]:
    """The rule, or why the image cannot be used all the same; and what is odd about it."""
    settings = dataset.table
    assert settings is not None
    notes = []
    if settings.patient is not None and values.patient is None:
        notes.append("patient unknown")
    if settings.fold is not None and values.fold is None:
        notes.append("no fold")
    if settings.label is None:
        return how, "; ".join(notes)
    if values.label in (None, IGNORED):
        return values.label or NO_LABEL, "; ".join([how, *notes])
    of_folder = {folder: name for name, texts in dataset.classes.items() for folder in texts}
    folders = {of_folder[part] for part in PurePosixPath(file).parts[:-1] if part in of_folder}
    if folders - {values.label}:
        notes.append(f"stands in a folder of {', '.join(sorted(folders))}")
    return how, "; ".join(notes)


def _file_lines(
    items: Sequence[SourceItem], values_of: Mapping[str, RowValues], matches: Mapping[str, Found]
) -> Iterator[_Line]:
    fitting = {file: name for name, found in matches.items() for file in found.files}
    for item in items:
        path = item.source_path
        if path in values_of:
            continue
        note = f"one of several that fit {fitting[path]!r}" if path in fitting else ""
        yield _Line(path, "", "", NO_ROW if has_image_ending(path) or note else NO_IMAGE, note)


def _some(files: Collection[str]) -> str:
    more = f" and {len(files) - FILES_SHOWN} more" if len(files) > FILES_SHOWN else ""
    return ", ".join(list(files)[:FILES_SHOWN]) + more
