"""Who is shown: a pattern on the names of files or folders, or a table inside the source."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import Group, NoGroup, PatternGroup, TableGroup
from stages.sources.item import SourceItem

logger = logging.getLogger(__name__)


def name_patients(items: Sequence[SourceItem], group: Group, root: Path) -> list[SourceItem]:
    """The same items with the patient that `group` gives each; unknown ones keep None.

    Args:
        items: images of a folder source.
        group: where the patient stands.
        root: folder of the source, in which a table is looked for.

    Raises:
        UserError: the pattern or the table cannot be used, or gives no image a patient.
    """
    if isinstance(group, NoGroup):
        return list(items)
    if isinstance(group, PatternGroup):
        patients = _search(items, group.pattern)
        where = f"group.pattern: {group.pattern!r}"
    else:
        patients = _look_up(items, _read_table(group, root))
        where = f"group.table: {group.table!r}, column {group.file!r}"
    if not any(patients):
        hint = _folder_hint(items, group.pattern) if isinstance(group, PatternGroup) else ""
        raise UserError(
            f"{where} names the patient of none of {len(items)} images, such as "
            f"{items[0].source_path!r}; {hint or 'mend it'}, or set group to {{kind: none}}"
        )
    _log_unknown(items, patients, where)
    return [
        replace(item, patient_id=patient) for item, patient in zip(items, patients, strict=True)
    ]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"group.pattern: {pattern!r} is not a regular expression ({error}); "
            r"give one such as 'P(\d+)', or set group to {kind: none}"
        ) from None


def _search(items: Sequence[SourceItem], text: str) -> list[str | None]:
    """Search the file names, and then, with a pattern that has a slash, the paths."""
    pattern = _compiled(text)
    paths = [PurePosixPath(item.source_path) for item in items]
    return [
        _match(path.name, pattern) or (_match(str(path), pattern) if "/" in text else None)
        for path in paths
    ]


def _folder_hint(items: Sequence[SourceItem], text: str) -> str:
    """What to write where the pattern would match folders, which it is not searched in."""
    bare = f"(?:{text})" if "|" in text else text.removeprefix("^").removesuffix("$")
    for wanted in (f"(?:^|/){bare}/", f"{bare}/", f"(?:^|/){bare}[^/]*/", f"{bare}[^/]*/"):
        try:
            count = sum(patient is not None for patient in _search(items, wanted))
        except UserError:  # a pattern that cannot stand inside another
            continue
        if count:
            return (
                f"it is searched in file names alone, but {count} of {len(items)} images have it "
                f"in the name of a folder: to search the path too, write {wanted!r} (with a slash)"
            )
    return ""


def _log_unknown(items: Sequence[SourceItem], patients: Sequence[str | None], where: str) -> None:
    """Say how many images are of nobody known; each of them is a group of its own."""
    unknown = [item.source_path for item, one in zip(items, patients, strict=True) if not one]
    if unknown:
        logger.warning(
            "%s names no patient of %d of %d images, such as %r",
            where,
            len(unknown),
            len(items),
            unknown[0],
        )


def _match(text: str, pattern: re.Pattern[str]) -> str | None:
    """The first group that took part, or the whole match where there is no group."""
    match = pattern.search(text)
    if match is None:
        return None
    return next((part for part in match.groups() or (match.group(),) if part), None)


def _read_table(group: TableGroup, root: Path) -> dict[str, str]:
    """File to patient, as the table says; rows without a patient are left out."""
    path = root / group.table
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"group.table: {path} cannot be read ({error}); allowed: a CSV file inside the source"
        ) from None
    for column in (group.file, group.group):
        if column not in table:
            raise UserError(
                f"group: {path} has no column {column!r}; allowed: {', '.join(table.columns)}"
            )
    known = table[table[group.group] != ""].drop_duplicates([group.file, group.group])
    twice = known[group.file][known[group.file].duplicated()]
    if len(twice):
        raise UserError(
            f"group: {path} gives {len(twice)} files more than one {group.group}, the first "
            f"{twice.iloc[0]!r}; allowed: one per file"
        )
    return dict(zip(known[group.file], known[group.group], strict=True))


def _look_up(items: Sequence[SourceItem], patient_of: dict[str, str]) -> list[str | None]:
    """By the path inside the source, else by the file's name, else by that without its ending."""
    return [
        next(
            (patient_of[name] for name in _names(item.source_path) if name in patient_of),
            None,
        )
        for item in items
    ]


def _names(source_path: str) -> tuple[str, str, str]:
    path = PurePosixPath(source_path)
    return source_path, path.name, path.stem
