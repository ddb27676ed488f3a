"""Splits that came with the data as folders below the class folders: COVID/train, COVID/test."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from stages.config.errors import UserError
from stages.sources.names import hints_at_split, split_of
from stages.sources.tree import ClassFolder, Tree


def find_splits(folders: Sequence[ClassFolder], tree: Tree) -> dict[Path, str | None]:
    """The split of each folder with files: that of the folders around it, else None.

    Raises:
        UserError: folders contradict each other, stand for the same split, look like splits
            without being named so, hold a part of a class alone, or are not there in every class.
    """
    splits: dict[Path, str | None] = {}
    for folder in folders:
        below = folder.folders()
        _require_plain_names(below, tree)
        parents = Counter(file.parent for file in folder.files)
        found = {parent: split_around(parent, folder, tree) for parent in parents}
        _require_all_or_none(folder, found, parents, tree)
        splits |= found
    _require_in_every_class(folders, splits, tree)
    return splits


def split_around(parent: Path, folder: ClassFolder, tree: Tree) -> str | None:
    """The split that the names between a file and its class folder give, and those above."""
    names = {}
    here = parent
    while here != folder.path:
        split = None if here in tree.kept_by_name else split_of(here.name)
        if split:
            names[split] = here.name
        here = here.parent
    if folder.split:
        names.setdefault(folder.split, folder.path.parent.name)
    if len(names) > 1:
        raise UserError(
            f"{tree.root}: {tree.inside(parent)!r} lies in the splits {_quoted(names)}; move its "
            f"files into one of them, or keep a folder as one of pictures with {_keeping(names)} "
            "in ignore"
        )
    return next(iter(names), None)


def _require_plain_names(below: set[Path], tree: Tree) -> None:
    """Refuse two folders for one split, and names that have the word of a split among others."""
    children: dict[Path, list[str]] = defaultdict(list)
    for path in below - tree.kept_by_name:
        children[path.parent].append(path.name)
    for parent, names in sorted(children.items()):
        exact = [(split_of(name), name) for name in sorted(names)]
        count = Counter(split for split, _ in exact if split)
        twice = [name for split, name in exact if split and count[split] > 1]
        if twice:
            raise UserError(
                f"{parent}: folders {_quoted(twice)} are the same split; keep one, or add the "
                "others to ignore"
            )
        unclear = {name: hints_at_split(name) for split, name in exact if not split}
        hints = {hint for hint in unclear.values() if hint}
        if "fold" in hints or (hints and len(hints | set(count)) > 1):
            named = sorted(name for name, hint in unclear.items() if hint)
            raise UserError(
                f"{parent}: folders {_quoted(named[:4])} look like splits or folds that came with "
                "the data; name them train, val and test, add them to ignore, or keep them as "
                f"folders of pictures with {_keeping(named[:4])} in ignore"
            )


def _require_all_or_none(
    folder: ClassFolder, found: dict[Path, str | None], parents: Counter[Path], tree: Tree
) -> None:
    """Refuse files beside split folders: nobody knows their split."""
    without = [parent for parent, split in found.items() if not split]
    if not without or not any(found.values()):
        return
    count = sum(parents[parent] for parent in without)
    first = min(file for file in folder.files if file.parent in set(without))
    splits = sorted({split for split in found.values() if split})
    raise UserError(
        f"{folder.path}: {count} of {len(folder.files)} files stand beside the split folders "
        f"({', '.join(splits)}), the first {tree.inside(first)!r}; move them into one of these, or "
        "add them to ignore"
    )


def _require_in_every_class(
    folders: Sequence[ClassFolder], splits: dict[Path, str | None], tree: Tree
) -> None:
    """Refuse splits below some class folders that others lack."""
    of_class: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        own = {splits[file.parent] for file in folder.files} - {None, folder.split}
        if folder.split is None:
            if not own and any(splits.values()):
                raise UserError(
                    f"{tree.root}: class folder {tree.inside(folder.path)!r} has no split folders, "
                    "but others have train, val or test in them; sort its files into such folders "
                    "too, or put all others' together"
                )
            of_class[folder.label] |= {split for split in own if split}
    present = set().union(*of_class.values())
    for label, own_splits in of_class.items():
        missing = sorted(present - own_splits)
        if missing:
            raise UserError(
                f"{tree.root}: class {label!r} has no {missing[0]} folder below its class folders, "
                "but another class has; fill it, or add those folders to ignore"
            )


def _quoted(names: Sequence[str] | dict[str, str]) -> str:
    listed = sorted(names.values() if isinstance(names, dict) else names)
    return " and ".join(repr(name) for name in listed)


def _keeping(names: Sequence[str] | dict[str, str]) -> str:
    listed = sorted(names.values() if isinstance(names, dict) else names)
    return ", ".join(repr(f"!{name}") for name in listed)
