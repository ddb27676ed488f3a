"""Drafts of an entry, and how the listing of the pipeline takes them: what it refuses is mended.

What `check` and `prepare` believe of a source is what is believed here: the same code lists it.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from stages.adoption.class_names import choose_positive, name_classes
from stages.adoption.folder_tree import Folder, is_picture
from stages.adoption.layout import Layout, as_entry
from stages.adoption.sampling import GREY
from stages.adoption.table_roles import TableRoles
from stages.config.errors import UserError
from stages.config.params import Dataset
from stages.config.source_references import TRUTH_CODE
from stages.imaging.decode import decode
from stages.sources.companions import PICTURES, CompanionsFound
from stages.sources.item import SourceItem, UnreadableImage
from stages.sources.listing import Listing, open_source
from stages.sources.names import hints_at_split, words
from stages.sources.table import require_matched

MOST_MENDINGS = 20
UNMATCHED_SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
DEFAULT_UNMATCHED = UNMATCHED_SHARES[0]


@dataclass
class Draft:
    """An entry that is being made.

    Attributes:
        entry: all keys of `datasets.<name>`.
        ignored: entry of `ignore` to why it is there.
        notes: what there is to say of it, a sentence each.
        unknown: what is not known, a sentence each.
        traps: what makes figures too good, or a run stop, a sentence each.
        comments: key of the entry to what is to stand above it.
    """

    entry: dict[str, Any]
    ignored: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)

    def ignore(self, entry: str, reason: str) -> None:
        """Leave something out."""
        self.ignored[entry] = reason
        self.entry["ignore"] = list(self.ignored)


def from_folders(layout: Layout) -> Draft:
    """The entry of a source whose folders are classes."""
    names = [[folder.name for folder in level.classes] for level in layout.levels]
    draft = Draft(_blank(name_classes(names)))
    for ignored in layout.ignored:
        draft.ignore(ignored.entry, ignored.reason)
        if ignored.may_belong:
            draft.unknown.append(
                f"whether {ignored.entry} belongs to the set: it is left out ({ignored.reason})"
            )
    if not layout.is_sure:
        draft.unknown.append("whether the folders are classes: few are called as in other sets")
    hinting = [name for name in layout.names if hints_at_split(name)]
    if hinting:
        draft.unknown.append(
            f"the splits that names such as {hinting[0]!r} speak of: they are not taken; for that "
            "put train, val and test folders around the class folders"
        )
    return draft


def from_table(table: TableRoles, top: Folder) -> Draft:
    """The entry of a source of which a table has the labels."""
    draft = Draft(_blank(table.classes))
    for folder in _without_named(top, table.named):
        count = folder.count_pictures()
        draft.ignore(as_entry(folder.path), f"{count:,} pictures, and the table names none of them")
    draft.entry["table"] = table_entry(table, label=table.label)
    for text, count in table.unused.items():
        if "|" not in text:
            draft.ignore(text, f"{count:,} rows with a label of no class, or of one too small")
    several = sum(count for text, count in table.unused.items() if "|" in text)
    if several:
        draft.ignore("*|*", f"{several:,} rows with more than one label")
    return draft


def _without_named(folder: Folder, named: frozenset[str]) -> Iterator[Folder]:
    """The outermost folders with pictures of which a table names none."""
    for child in folder.folders.values():
        if named.isdisjoint(child.all_files()):
            if child.count_pictures():
                yield child
        else:
            yield from _without_named(child, named)


def table_entry(table: TableRoles, *, label: str | None) -> dict[str, str | None]:
    """What `table` of the entry says of its columns, without patients."""
    return {
        "path": table.path,
        "file": table.file,
        "label": label,
        "patient": None,
        "split": table.split,
        "fold": None,
    }


def _blank(classes: dict[str, list[str]]) -> dict[str, Any]:
    """All keys, in the order of params.yaml, with what is usual."""
    return {
        "source": {"kind": "folder", "path": ""},
        "cohort": None,
        "modality": "xray",
        "classes": classes,
        "implies": {},
        "positive": choose_positive(classes)[0],
        "ignore": [],
        "table": None,
        "metadata": None,
        "slices": {"kind": "all"},
        "group": {"kind": "none"},
        "truth": {"kind": "source", "path": TRUTH_CODE},
        "near_duplicates": True,
        "allow_leakage": False,
        "grey": GREY.model_dump(),
        "size_px": 224,
        "split": {"train": 0.6, "val": 0.15, "test": 0.25},
        "max_rejected": 0.02,
        "max_unmatched": DEFAULT_UNMATCHED,
        "provenance": "",
        "licence": "",
    }


def list_draft(draft: Draft, folder: Path) -> Listing:
    """List the images of a draft; masks and files that are no pictures go to its `ignore`.

    Raises:
        UserError: the listing refuses what nobody but the user can decide.
    """
    for _ in range(MOST_MENDINGS):
        try:
            listing = _list(draft, folder)
        except CompanionsFound as found:
            _leave_out_companions(draft, found)
            continue
        strangers = dict(_find_strangers(listing.items, draft))
        if not strangers:
            _allow_unmatched(draft, listing)
            return listing
        for entry, reason in strangers.items():
            draft.ignore(entry, reason)
    raise UserError("more kinds of files than can be told apart; sort the source by hand")


def _list(draft: Draft, folder: Path) -> Listing:
    entry = draft.entry | {"source": {"kind": "folder", "path": str(folder)}}
    try:
        dataset = Dataset.model_validate(entry)
    except ValidationError as error:  # names of files and columns can be of any length
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{where}: {first['msg']}; rename what is called so in the source"
        ) from None
    with listing_quietly(), open_source(dataset, seed=0, scratch=folder) as listing:
        return listing


@contextmanager
def listing_quietly() -> Iterator[None]:
    """List without what a listing logs, which would be said each time."""
    sources = logging.getLogger("stages.sources")
    level = sources.level
    sources.setLevel(logging.ERROR)
    try:
        yield
    finally:
        sources.setLevel(level)


def _leave_out_companions(draft: Draft, found: CompanionsFound) -> None:
    """Masks by their names go; of what is only suspected, what lies beside folders of images."""
    entries = [entry for entry in found.entries if entry not in draft.ignored]
    pictures = [entry for entry in entries if PICTURES & {*words(entry)}]
    if found.named:
        gone, reason = entries, "masks, overlays or the like, by name"
    elif found.folders and pictures:
        gone = [entry for entry in entries if entry not in pictures]
        reason = f"the same names as in {', '.join(map(repr, pictures))}, which hold the pictures"
    else:
        raise found
    if not gone:
        raise found
    for entry in gone:
        draft.ignore(entry, reason)


def _find_strangers(items: list[SourceItem], draft: Draft) -> Iterator[tuple[str, str]]:
    """Files below class folders that are no pictures by their names, and cannot be read as some."""
    table = draft.entry["table"]
    if table and table["label"]:
        return  # there a file without a row is none of the set
    strange = [item for item in items if not is_picture(item.source_path)]
    endings = Counter(PurePosixPath(item.source_path).suffix for item in strange)
    first = {PurePosixPath(item.source_path).suffix: item for item in reversed(strange)}
    for ending, count in endings.items():
        if _gives_picture(first[ending]):
            continue
        if ending:
            yield f"*{ending}", f"{count:,} files that are no pictures"
        else:
            for item in strange:
                if not PurePosixPath(item.source_path).suffix:
                    yield as_entry(item.source_path), "no picture"


def _gives_picture(item: SourceItem) -> bool:
    try:
        decode(item.read().content, GREY, item.frame)
    except UnreadableImage:
        return False
    return True


def _allow_unmatched(draft: Draft, listing: Listing) -> None:
    """Let the rows and files of a table differ as far as they do, and say so."""
    if listing.reconciliation is None:
        return
    reason = ""
    for share in UNMATCHED_SHARES:
        try:
            require_matched(listing.reconciliation, share, listed_in="")
        except UserError as error:
            reason = str(error).removeprefix("table: ").partition("; allowed")[0]
            continue
        draft.entry["max_unmatched"] = share
        line = f"why rows and files of the table differ: {reason}" if reason else ""
        if line and line not in draft.unknown:
            draft.unknown.append(line)
        return
