"""A source's entry of params.yaml, proposed with reasons, and listed as `check` would list it."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stages.adoption.class_names import cleaned
from stages.adoption.decisions import (
    say_counts,
    take_classes,
    take_headers,
    take_ignored,
    take_notices,
    take_patients,
    take_pictures,
    take_table,
)
from stages.adoption.drafts import Draft, from_folders, from_table, list_draft
from stages.adoption.folder_tree import Folder, is_picture, read_tree
from stages.adoption.layout import find_layout
from stages.adoption.table_roles import TableRoles, Tables, find_tables
from stages.adoption.traps import say_hidden
from stages.config.errors import UserError
from stages.config.params import MAX_NAME, NAME_PATTERN
from stages.config.paths import download_of
from stages.sources.archive import SUFFIXES, is_archive, unpacked
from stages.sources.listing import Listing

FEWEST_OF_CLASS = 10  # rows of a label that is worth being a class
FILES_NAMED = 50  # whose names may say what they show


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a source.

    Attributes:
        name: of the entry.
        entry: all keys of `datasets.<name>`.
        comments: key of the entry to what stands above it.
        reasons: what was found, and what follows from it, a sentence each.
        unknown: what is not known, or has to be looked at by a person.
        traps: what makes figures too good, or a run stop.
        problem: why the entry cannot be listed as it stands, or None.
        downloads: entries of `downloads` that the source lies in once they are fetched.
    """

    name: str
    entry: dict[str, Any]
    comments: dict[str, str]
    reasons: list[str]
    unknown: list[str]
    traps: list[str]
    problem: str | None
    downloads: dict[str, dict[str, Any]] = field(default_factory=dict)


def propose(path: Path, name: str, *, scratch: Path) -> Proposal:
    """Look at a folder or an archive and propose its entry.

    Args:
        path: a folder, or a .zip or .tar file.
        name: of the entry.
        scratch: folder below which an archive is unpacked while it is looked at.

    Raises:
        UserError: there is no such folder or archive, or no way to tell classes in it.
    """
    path, written = Path(os.path.abspath(path)), _as_written(path)
    if path.is_dir():
        return _propose(path, name, {"kind": "folder", "path": written})
    if not path.exists():
        raise UserError(f"{path}: there is no such folder or archive; correct the path")
    if not is_archive(path):
        raise UserError(
            f"{path}: neither a folder nor an archive by its name; allowed: a folder of class "
            f"folders, or a file that ends with {', '.join(SUFFIXES)}"
        )
    with unpacked(path, scratch) as folder:
        try:
            return _propose(folder, name, {"kind": "archive", "path": written})
        except UserError as error:
            raise UserError(str(error).replace(str(folder), str(path))) from None


def _as_written(path: Path) -> str:
    """As params.yaml has a path: absolute, but for what `fetch` made, which DVC knows by this."""
    inside = os.path.relpath(path)
    return os.path.abspath(path) if download_of(inside) is None else Path(inside).as_posix()


def default_name(path: Path) -> str:
    """The name of a folder or archive, as an entry may be called."""
    name = Path(os.path.abspath(path)).name
    ending = next((e for e in SUFFIXES if name.lower().endswith(e)), "")
    return cleaned(name[: len(name) - len(ending)]) or "images"


def require_name(name: str) -> None:
    """Refuse what no entry can be called.

    Raises:
        UserError: with the characters that a name may have.
    """
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > MAX_NAME:
        raise UserError(
            f"name: got {name!r}; allowed: text that matches {NAME_PATTERN}, of at most {MAX_NAME} "
            "characters"
        )


def _propose(folder: Path, name: str, source: dict[str, str]) -> Proposal:
    top, hidden = read_tree(folder)
    files = list(top.all_files())
    if not any(map(is_picture, files)):
        raise UserError(f"{folder}: {len(files):,} files, and none is called as pictures are")
    tables = find_tables(folder, files, fewest=FEWEST_OF_CLASS)
    draft = _draft(top, tables, folder)
    draft.entry["source"] = source
    draft.unknown += tables.others
    draft.traps += say_hidden(hidden)
    problem = _decide(draft, tables, folder, [source["path"], *files[:FILES_NAMED]])
    take_ignored(draft)
    take_notices(draft, files)
    if problem:
        problem = problem.replace(str(folder), source["path"])
    return Proposal(
        name, draft.entry, draft.comments, draft.notes, draft.unknown, draft.traps, problem
    )


def _draft(top: Folder, tables: Tables, folder: Path) -> Draft:
    """The first guess: class folders of known names, else labels of a table, else any folders."""
    layout, table = find_layout(top), tables.best
    has_labels = table is not None and table.label is not None
    if layout and (layout.is_sure or not has_labels):
        return from_folders(layout)
    if table and has_labels:
        return from_table(table, top)
    hint = "".join(f"; {said}" for said in tables.others[:2])
    raise UserError(
        f"{folder}: no two folders side by side that could be classes, and no table with file "
        "names and labels; sort the pictures into a folder per class, or add a CSV with the "
        f"columns file and label{hint}"
    )


def _decide(draft: Draft, tables: Tables, folder: Path, names: Sequence[str]) -> str | None:
    """Fill in what the listing and the pictures tell; why it cannot be listed, or None."""
    try:
        take_headers(draft, list_draft(draft, folder).items)
        listing = _list_with_table(draft, tables.best, folder)
        take_patients(draft, listing.items)
        listing = list_draft(draft, folder)
        take_classes(draft, listing.items)
        draft.notes += [*say_counts(listing.items), *listing.notes]
        parents = {PurePosixPath(item.source_path).parent.as_posix() for item in listing.items}
        take_pictures(draft, listing.items, [*names, *sorted(parents)[:FILES_NAMED]], folder)
    except UserError as error:
        draft.unknown.append(
            "all that a listing and pictures tell (modality, sizes, patients): see why it stopped"
        )
        return str(error)
    return None


def _list_with_table(draft: Draft, table: TableRoles | None, folder: Path) -> Listing:
    """List with what a table says; one that contradicts itself is left aside, with the reason.

    Raises:
        UserError: without the table, which has the labels, there is nothing to list.
    """
    kept = {key: draft.entry[key] for key in ("table", "group", "metadata", "max_unmatched")}
    take_table(draft, table)
    try:
        return list_draft(draft, folder)
    except UserError as error:
        if table is None or kept["table"] is not None:
            raise
        draft.entry.update(kept)
        for key in kept:
            draft.comments.pop(key, None)
        draft.unknown.append(f"what {table.path} tells: it is not used, since {error}")
        return list_draft(draft, folder)
