"""Who is shown: a pattern on the file names, or the table of the source."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.config.errors import UserError
from stages.config.params import Group, NoGroup, PatternGroup
from stages.sources.identity import find_restart, number_by_class, unify_ids
from stages.sources.item import SourceItem


class Named(NamedTuple):
    """Images with their patients, and what there is to say of these, a sentence each."""

    items: list[SourceItem]
    notes: list[str]


def name_patients(items: Sequence[SourceItem], group: Group) -> Named:
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
        pattern = _compiled(group.pattern)
        matches = [_match(PurePosixPath(item.source_path).name, pattern) for item in items]
        patients, notes = unify_ids(matches)
        where = f"group.pattern: {group.pattern!r}"
    else:
        patients, notes = [item.patient_id for item in items], []
        where = "group: the table"
    if not any(patients):
        raise UserError(
            f"{where} names the patient of none of {len(items)} images, such as "
            f"{items[0].source_path!r}; mend it, or set group to {{kind: none}}"
        )
    labels = [item.label for item in items]
    if group.patients_per_class:
        patients = number_by_class(patients, labels)
    elif restart := find_restart(patients, labels):
        notes = [*notes, restart]
    named = [replace(item, patient_id=p) for item, p in zip(items, patients, strict=True)]
    return Named(named, notes)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"group.pattern: {pattern!r} is not a regular expression ({error}); "
            r"give one such as 'P(\d+)', or set group to {kind: none}"
        ) from None


def _match(file_name: str, pattern: re.Pattern[str]) -> str | None:
    """The first group that took part, or the whole match where there is no group."""
    match = pattern.search(file_name)
    if match is None:
        return None
    return next((part for part in match.groups() or (match.group(),) if part), None)
