"""Who is shown: a pattern on the names of files or folders, or the table of the source."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from stages.config.errors import UserError
from stages.config.params import NoGroup, PatternGroup, TableGroup
from stages.sources.disguise import Disguise
from stages.sources.identity import find_restart, number_by_class, unify_ids
from stages.sources.item import SourceItem

if TYPE_CHECKING:  # pydicom takes a while to import, and most sources have no such files
    from stages.sources.dicom_header import DicomHeader

logger = logging.getLogger(__name__)


class Named(NamedTuple):
    """Images with their patients, and what there is to say of these, a sentence each."""

    items: list[SourceItem]
    notes: list[str]


def name_patients(items: Sequence[SourceItem], group: NoGroup | PatternGroup | TableGroup) -> Named:
    """The same items with the patient that `group` gives each; unknown ones keep None.

    Args:
        items: images of a folder source, with the patients of its table where it has one.
        group: where the patient stands.

    Raises:
        UserError: the pattern cannot be used, or no image has a patient.
    """
    if isinstance(group, NoGroup):
        return Named(list(items), [])
    if isinstance(group, PatternGroup):
        patients, notes = unify_ids(_search(items, group.pattern))
        where = f"group.pattern: {group.pattern!r}"
    else:
        patients, notes = [item.patient_id for item in items], []
        where = "group: the table"
    if not any(patients):
        hint = _folder_hint(items, group.pattern) if isinstance(group, PatternGroup) else ""
        raise UserError(
            f"{where} names the patient of none of {len(items)} images, such as "
            f"{items[0].source_path!r}; {hint or 'mend it'}, or set group to {{kind: none}}"
        )
    _log_unknown(items, patients, where)
    labels = [item.label for item in items]
    if group.patients_per_class:
        patients = number_by_class(patients, labels)
    elif restart := find_restart(patients, labels):
        notes = [*notes, restart]
    named = [replace(item, patient_id=p) for item, p in zip(items, patients, strict=True)]
    return Named(named, notes)


def name_patients_of_headers(
    items: Sequence[SourceItem],
    headers: Mapping[str, "DicomHeader | None"],
    disguise: Disguise,
) -> Named:
    """The same items with the hash of who stands in their DICOM header; others keep None.

    Args:
        items: images of a folder source.
        headers: of its DICOM files, by path; None where one cannot be read.
        disguise: of the data set.

    Raises:
        UserError: no header names anybody.
    """
    found = (headers.get(item.source_path) for item in items)
    hashes = [disguise.hash(one.patient) if one and one.patient else None for one in found]
    known = sum(patient is not None for patient in hashes)
    if not known:
        raise UserError(
            f"group.kind: got dicom, but no DICOM header names a patient or study, of {len(items)} "
            "files; set group to {kind: none}, or to a pattern"
        )
    if known < len(items):
        logger.warning(
            "group: %d of %d files have no DICOM header that names a patient or study",
            len(items) - known,
            len(items),
        )
    patients, notes = unify_ids(hashes)
    return Named([replace(i, patient_id=p) for i, p in zip(items, patients, strict=True)], notes)


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
