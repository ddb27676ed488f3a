"""What a listing and its pictures say of an entry: patients, table, modality, size, grey levels."""

import random
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.adoption.class_names import WELL, choose_positive
from stages.adoption.drafts import Draft, table_entry
from stages.adoption.modality import guess_modality
from stages.adoption.patient_pattern import count_leaking, find_patient_pattern
from stages.adoption.sampling import DICOM_GREY, choose_grey, choose_size, sample_pictures
from stages.adoption.table_roles import TableRoles
from stages.adoption.traps import find_same_files, say_sizes, say_unreadable
from stages.config.errors import UserError
from stages.sources.formats import START_BYTES, recognise
from stages.sources.identity import find_restart
from stages.sources.item import SourceItem, UnreadableImage

NOTICES = ("licen", "copying", "readme", "citation", "terms of use", "data use")
MOST_SHOWN = 4
SPLITS = ("train", "val", "test")
DRAW_SEED = 0  # of the pictures that are looked at
FEW_GROUPS = 10
HEADERS_READ = 20
SALT_BYTES = 16
NOBODY = (
    "who the patients are: images of one person may stand on both sides of a split, and figures be "
    "too good; only pictures that look the same are kept together"
)


def take_table(draft: Draft, table: TableRoles | None) -> None:
    """Use what a table says of patients, splits and metadata, with labels or beside folders."""
    if table is None:
        return
    has_labels = draft.entry["table"] is not None
    if table.patient or table.split or has_labels:
        label = table.label if has_labels else None
        draft.entry["table"] = table_entry(table, label=label) | {"patient": table.patient}
        if table.patient:
            draft.entry["group"] = {"kind": "table", "patients_per_class": False}
    if table.metadata:
        metadata = {"table": table.path, "file": table.file, "columns": dict(table.metadata)}
        draft.entry["metadata"] = metadata
        draft.comments["metadata"] = (
            "For shortcut probes and subgroups. Columns by their names and cells; take out what "
            "names the class."
        )
    said = (
        f"{table.path}: {table.matched:,} of {table.rows:,} rows name a file, {table.files:,} "
        f"pictures in all; files stand in column {table.file!r}"
    )
    draft.notes.append(said)
    if draft.entry["table"]:
        draft.comments["table"] = said
    if table.label and not has_labels:
        draft.notes.append(
            f"{table.path}: column {table.label!r} has labels too; class folders are taken"
        )


def take_headers(draft: Draft, items: Sequence[SourceItem]) -> None:
    """Let DICOM files say who is shown, by hashes, and which grey levels they were meant for."""
    drawn = random.Random(DRAW_SEED).sample(list(items), min(len(items), HEADERS_READ))
    starts = [start for item in drawn if (start := _start(item)) is not None]
    count = sum(recognise(start) == "DICOM" for start in starts)
    if not count:
        return
    draft.entry["group"] = {"kind": "dicom", "salt": secrets.token_hex(SALT_BYTES)}
    draft.comments["group"] = (
        "Patients from DICOM headers, as hashes; files are named by hashes too. The salt was drawn "
        "just now: keep it as secret as the files."
    )
    draft.entry["grey"] = DICOM_GREY.model_dump()
    draft.notes.append(
        f"{count} of {len(drawn)} files looked at are DICOM: patients come from their headers, CT "
        "gets the lung window, other pictures their own"
    )
    if draft.entry["metadata"] is None:
        draft.entry["metadata"] = {"kind": "dicom", "columns": ["age", "sex", "view"]}


def _start(item: SourceItem) -> bytes | None:
    try:
        return item.read().content[:START_BYTES]
    except UnreadableImage:
        return None


def take_patients(draft: Draft, items: Sequence[SourceItem]) -> None:
    """Say who is one patient: a table's column, a pattern on names, or that nobody knows."""
    if draft.entry["group"]["kind"] == "table":
        _take_patients_of_table(draft, items)
        return
    if draft.entry["group"]["kind"] == "dicom":
        known = {item.patient_id for item in items} - {None}
        draft.notes.append(f"group: {len(known):,} patients, from DICOM headers")
        return
    pattern = find_patient_pattern(items)
    if pattern is None:
        draft.comments["group"] = f"Nobody knows {NOBODY}."
        draft.unknown.append(f"{NOBODY} (no table or names tell patients apart convincingly)")
        return
    draft.entry["group"] = {
        "kind": "pattern",
        "pattern": pattern.pattern,
        "patients_per_class": pattern.patients_per_class,
    }
    said = f"{pattern.patients:,} patients in {pattern.images:,} of {len(items):,} images"
    draft.comments["group"] = f"A guess: {said}, from {pattern.why}."
    draft.notes.append(f"group: {said}, from {pattern.why}: {pattern.pattern}")
    if pattern.patients_per_class:
        draft.notes.append("group: the numbering seems to begin anew in each class")
    if pattern.images < len(items):
        draft.unknown.append(
            f"the patients of {len(items) - pattern.images:,} images, whose names do not tell; "
            "each counts as a patient of its own"
        )
    _mark_leaking(draft, pattern.leaking)


def _take_patients_of_table(draft: Draft, items: Sequence[SourceItem]) -> None:
    ids = [item.patient_id for item in items]
    known = [one for one in ids if one]
    said = f"{len(set(known)):,} patients in {len(known):,} of {len(items):,} images"
    draft.comments["group"] = f"{said}, from column {draft.entry['table']['patient']!r}."
    draft.notes.append(f"group: {said}, from the table")
    if len(known) < len(items):
        draft.unknown.append(
            f"the patients of {len(items) - len(known):,} images, of which the table says none"
        )
    if restart := find_restart(ids, [item.label for item in items]):
        draft.unknown.append(f"whether patients begin anew in each class: {restart}")
    _mark_leaking(draft, count_leaking(ids, [item.split or "" for item in items]))


def _mark_leaking(draft: Draft, leaking: int) -> None:
    """Let a run go on whose given splits share patients, with all of its figures marked."""
    if not leaking:
        return
    draft.entry["allow_leakage"] = True
    draft.comments["allow_leakage"] = (
        f"{leaking:,} patients are in two of the splits that came with the data: every figure "
        "will be marked. If ids begin anew in each split: group {kind: none}, and here false."
    )
    draft.traps.append(
        f"{leaking:,} patients are in two of the splits that came with the data; allow_leakage: "
        "true lets the run go on and marks every figure"
    )


def take_pictures(
    draft: Draft, items: Sequence[SourceItem], names: Sequence[str], folder: Path
) -> None:
    """Look at a draw of the pictures: modality, size, grey levels, and what is odd.

    Raises:
        UserError: none of them can be read.
    """
    sampled = sample_pictures(items, seed=DRAW_SEED)
    signs = [picture.signs for picture in sampled if picture.signs]
    guess = guess_modality(signs, names)
    draft.entry["modality"] = guess.modality
    why = "; ".join(guess.reasons)
    draft.comments["modality"] = f"A guess ({guess.sureness}): {guess.reasons[0]}."
    draft.notes.append(f"modality: {guess.modality}, a guess ({guess.sureness}): {why}")
    if guess.sureness != "likely":
        draft.unknown.append(
            f"whether these are CT slices or X-rays: {guess.modality} is {guess.sureness}; look at "
            "some and correct it"
        )
    size, why_size = choose_size(sampled)
    draft.entry["size_px"] = size
    draft.comments["size_px"] = f"Of {len(sampled)} pictures {why_size}."
    if draft.entry["group"]["kind"] == "dicom":
        why_grey = ""
    else:
        draft.entry["grey"], why_grey = choose_grey(sampled, guess.modality)
    if why_grey:
        draft.comments["grey"] = why_grey
        draft.notes.append(f"grey: {why_grey}")
    if len(sampled) < len(items):
        draft.notes.append(
            f"{len(sampled)} of {len(items):,} pictures were looked at, drawn with a seed, evenly "
            "from the classes; prepare reads all"
        )
    draft.traps += [
        *say_unreadable(sampled, draft.entry["max_rejected"]),
        *say_sizes(sampled),
        *find_same_files(items, folder),
    ]
    if not signs:
        raise UserError(
            f"none of {len(sampled)} files looked at gives a picture, such as {sampled[0].path!r} "
            f"({sampled[0].reason})"
        )


def take_classes(draft: Draft, items: Sequence[SourceItem]) -> None:
    """Say which folders or labels mean which class, how many images, and which is looked for."""
    classes = draft.entry["classes"]
    counts = Counter(item.label for item in items)
    said = ", ".join(f"{name} {counts[name]:,}" for name in classes)
    draft.comments["classes"] = f"Images: {said}."
    positive, why = choose_positive(classes)
    draft.comments["positive"] = f"{why[:1].upper()}{why[1:]}."
    if "guess" in why:
        draft.unknown.append(f"which class is looked for: {positive} is a guess")
    for name, texts in classes.items():
        draft.notes.append(f"class {name}: {', '.join(map(repr, texts))}")
        if counts[name] < FEW_GROUPS:
            draft.traps.append(f"class {name}: {counts[name]} images, too few for most splits")
    draft.notes.append(f"positive: {positive} ({why})")
    if "covid" in classes and "pneumonia" in classes:
        draft.notes.append(
            "implies: {} keeps covid and pneumonia apart; {covid: [pneumonia]} would say that a "
            "covid image is a pneumonia image too, for losses bce and focal"
        )
    if not set(classes) & set(WELL):
        draft.unknown.append("which class is without disease: no name says so")


def say_counts(items: Sequence[SourceItem]) -> list[str]:
    """A table of images by class and split, a line each."""
    frame = pd.DataFrame([(i.label, i.split or "no split") for i in items], columns=["c", "s"])
    table = pd.crosstab(frame["c"], frame["s"])
    columns = [s for s in (*SPLITS, "no split") if s in table.columns]
    lines = [
        f"{label}: " + ", ".join(f"{s} {count:,}" for s, count in row.items() if count)
        for label, row in table[columns].iterrows()
    ]
    given = [s for s in SPLITS if s in table.columns]
    if not given:
        return [*lines, "no splits came with the images: they are drawn, by patient where known"]
    missing = [s for s in SPLITS if s not in given]
    drawn = f"; {' and '.join(missing)} will be drawn from train" if missing else ""
    return [*lines, f"splits that came with the images are kept: {', '.join(given)}{drawn}"]


def take_ignored(draft: Draft) -> None:
    """Say what is left out and why."""
    lines = [f"{entry}: {reason}" for entry, reason in draft.ignored.items()]
    draft.notes += [f"ignore {line}" for line in lines]
    if lines:
        more = f"\nand {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
        draft.comments["ignore"] = "\n".join(lines[:MOST_SHOWN]) + more


def take_notices(draft: Draft, files: Sequence[str]) -> None:
    """Leave lines to fill for provenance and licence, and name files that may say them."""
    found = [
        path for path in files if any(word in PurePosixPath(path).name.lower() for word in NOTICES)
    ]
    found.sort(key=lambda path: (path.count("/"), path))
    where = f"; see {', '.join(found[:MOST_SHOWN])} in the source" if found else ""
    draft.entry["provenance"] = f"to be filled in: who collected these images, and where{where}"
    draft.entry["licence"] = f"to be filled in{where}"
    draft.comments["provenance"] = "For the data card of the report: for you to say."
    draft.unknown.append(
        f"provenance and licence{where or ': no file in the source speaks of them'}"
    )
