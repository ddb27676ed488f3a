"""Images in folders: one folder per class, or train, val and test folders of class folders.

Every folder at class level has to be named in the parameters, as part of a class or as ignored, so
that no picture gets into or drops out of a class unseen. Below a class folder lie patients and
studies at any depth; splits there are kept, and what else is there stops the run.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stages.config.errors import UserError
from stages.sources.companions import require_pictures_alone
from stages.sources.folder_splits import find_splits, split_around
from stages.sources.ignore import Ignore
from stages.sources.item import SourceItem
from stages.sources.names import composed, did_you_mean, split_of
from stages.sources.reading import read_file
from stages.sources.tree import ClassFolder, LeftOut, Tree

logger = logging.getLogger(__name__)


class FolderListing(NamedTuple):
    """What a folder holds.

    Attributes:
        items: the images to read, sorted by the bytes of their path.
        left_out: what is under the root and is no item, sorted by path.
        inner: of each class folder with folders below it, how many these are, and the first.
    """

    items: list[SourceItem]
    left_out: list[LeftOut]
    inner: Sequence["InnerFolders"] = ()


class InnerFolders(NamedTuple):
    """Folders below a class folder, taken as patients, studies or splits."""

    around: Path
    folders: int
    first: Path


class _Classes(NamedTuple):
    """What folder names at class level mean; they are compared in one form of Unicode."""

    names: tuple[str, ...]
    of_folder: dict[str, str]
    ignore: Ignore

    def label(self, folder: Path) -> str | None:
        """The class that has this folder."""
        return self.of_folder.get(composed(folder.name))

    def allowed(self) -> str:
        """The folder names that a class has, and those that are ignored, for messages."""
        ignored = _listed(self.ignore.entries)
        return f"classes take {_listed(self.of_folder)}; ignored are {ignored}"


def folder_items(
    root: Path,
    *,
    classes: Mapping[str, Sequence[str]],
    ignore: Sequence[str],
) -> FolderListing:
    """List the images of a folder of class folders, each as an item that is read later.

    The root holds class folders, or train, val and test folders of class folders, or, any number
    of times, a single folder around these. All files at any depth under a class folder become
    items, whether they are images or not: reading tells. Links to files and folders are followed.

    Args:
        root: the folder; it is there.
        classes: folder names of each class name, spelt as on disk (in any form of Unicode).
        ignore: what is left out, at class level and at any depth; see `Ignore`.

    Raises:
        UserError: when the root cannot be read, a folder or class has no counterpart, a class
            folder has no file, split and class folders stand side by side, what lies below class
            folders is not pictures of the class alone, or a name is not UTF-8.
    """
    known = _known_classes(classes, ignore)
    tree = Tree(Path(root), known.ignore)
    folders = _class_folders(tree.root, known, tree, split=None)
    for folder in folders:
        _require_own_files(folder, known, tree)
    splits = find_splits(folders, tree)
    require_pictures_alone(folders, tree)
    items = [_item(file, folder, splits, tree) for folder in folders for file in folder.files]
    items.sort(key=lambda item: os.fsencode(item.source_path))
    for entry in known.ignore.unused():
        logger.warning("ignore: %r matches nothing in %s%s", entry, root, _path_hint(entry))
    left_out = sorted(tree.left_out, key=lambda out: os.fsencode(out.path))
    return FolderListing(items, left_out, _inner_folders(folders))


def tree_items(root: Path, *, ignore: Sequence[str]) -> FolderListing:
    """List all files of a folder at any depth, as items without a label.

    A folder around a file that is called train, val or test is its split.

    Raises:
        UserError: when a folder cannot be read, or a file stands in folders of two splits.
    """
    tree = Tree(Path(root), Ignore(ignore))
    whole = ClassFolder(tree.root, "", None, tree.files(tree.root))
    folders = {file.parent for file in whole.files}
    splits = {folder: split_around(folder, whole, tree) for folder in folders}
    items = [_item(file, whole, splits, tree) for file in whole.files]
    items.sort(key=lambda item: os.fsencode(item.source_path))
    return FolderListing(items, sorted(tree.left_out, key=lambda out: os.fsencode(out.path)))


def _known_classes(classes: Mapping[str, Sequence[str]], ignore: Sequence[str]) -> _Classes:
    """Turn class -> folders around, refusing folders that are named twice."""
    of_class = {name: {composed(folder) for folder in folders} for name, folders in classes.items()}
    named = Counter([folder for folders in of_class.values() for folder in folders])
    named.update({composed(entry) for entry in ignore})
    twice = [folder for folder, count in named.items() if count > 1]
    if twice:
        raise UserError(
            f"classes, ignore: folder {_listed(twice)} is named in more than one of them; "
            "name it in one class or in ignore"
        )
    rules = Ignore(ignore)
    of_folder = {folder: name for name, folders in of_class.items() for folder in folders}
    for folder, name in of_folder.items():
        decision = rules.find(f"{folder}/")
        if decision and not decision.keeps:
            raise UserError(
                f"ignore: {decision.entry!r} takes out folder {folder!r} of class {name!r}; "
                f"give a pattern that does not match it, or add '!{folder}' behind"
            )
    return _Classes(tuple(classes), of_folder, rules)


def _class_folders(
    level: Path, known: _Classes, tree: Tree, *, split: str | None
) -> list[ClassFolder]:
    """Find the class folders under a folder, through wrapping folders and split folders."""
    above = [os.path.realpath(level)]
    while True:
        folders = tree.folders(level)
        if any(known.label(folder) for folder in folders):
            return _class_level(level, folders, known, tree, split=split)
        if split is None and any(split_of(folder.name) for folder in folders):
            return _split_level(level, folders, known, tree)
        if len(folders) != 1 or os.path.realpath(folders[0]) in above:
            raise UserError(_nothing_found(level, folders, known))
        level = folders[0]
        if split_of(level.name) not in (None, split):
            raise UserError(f"{level}: lies in the split {split!r}; move its files out of it")
        above.append(os.path.realpath(level))


def _nothing_found(level: Path, folders: list[Path], known: _Classes) -> str:
    names = sorted(folder.name for folder in folders)
    hints = (f"{name!r}{did_you_mean(name, known.of_folder)}" for name in names)
    return (
        f"{level}: no class folder and no train, val or test folder; found "
        f"{', '.join(hints) or 'none'}; {known.allowed()}; "
        "add a found folder to a class or to ignore"
    )


def _class_level(
    level: Path, folders: list[Path], known: _Classes, tree: Tree, *, split: str | None
) -> list[ClassFolder]:
    """The class folders of one level, which has no other folders and all classes."""
    _require_one_form(level, folders)
    labels = {folder: known.label(folder) for folder in folders}
    for folder, label in labels.items():
        if label is None:
            raise UserError(_stranger(folder, known, beside_classes=split is None))
    found = [
        ClassFolder(folder, label, split, tree.files(folder))
        for folder, label in labels.items()
        if label is not None
    ]
    missing = [name for name in known.names if name not in labels.values()]
    if missing:
        wanted = [folder for folder, owner in known.of_folder.items() if owner == missing[0]]
        raise UserError(
            f"{level}: class {missing[0]!r} has no folder here; it takes {_listed(wanted)}; found "
            f"{_listed(f.name for f in folders)}; correct the folder names of the class"
        )
    return found


def _require_one_form(level: Path, folders: list[Path]) -> None:
    """Refuse two folders whose names differ in Unicode's form alone: they look the same."""
    seen: dict[str, Path] = {}
    for folder in folders:
        other = seen.setdefault(composed(folder.name), folder)
        if other is not folder:
            raise UserError(
                f"{level}: folders {other.name!a} and {folder.name!a} have the same name "
                f"in two forms of Unicode ({folder.name!r}); put their files into one of them"
            )


def _stranger(folder: Path, known: _Classes, *, beside_classes: bool) -> str:
    """The message for a folder at class level that nobody named."""
    if beside_classes and split_of(folder.name):
        return (
            f"{folder.parent}: split folder {folder.name!r} beside class folders; "
            "keep class folders only, or split folders only, or add it to ignore"
        )
    hint = did_you_mean(folder.name, [*known.of_folder, *known.ignore.entries])
    return (
        f"{folder.parent}: folder {folder.name!r} belongs to no class{hint}; {known.allowed()}; "
        "add it to a class or to ignore"
    )


def _split_level(
    level: Path, folders: list[Path], known: _Classes, tree: Tree
) -> list[ClassFolder]:
    """The class folders of all split folders of one level."""
    found: list[ClassFolder] = []
    seen: dict[str, str] = {}
    for folder in folders:
        split = split_of(folder.name)
        if split is None:
            raise UserError(
                f"{level}: folder {folder.name!r} beside split folders is neither train, val nor "
                f"test; found {_listed(f.name for f in folders)}; rename it or add it to ignore"
            )
        if split in seen:
            raise UserError(
                f"{level}: folders {seen[split]!r} and {folder.name!r} are both the {split} "
                "split; keep one"
            )
        seen[split] = folder.name
        found += _class_folders(folder, known, tree, split=split)
    return found


def _require_own_files(folder: ClassFolder, known: _Classes, tree: Tree) -> None:
    """Refuse a class folder without files, or with a folder of another class in it."""
    if not folder.files:
        raise UserError(f"{folder.path}: class folder without any file; fill it or remove it")
    for inner in sorted(folder.folders() - tree.kept_by_name):
        label = known.label(inner)
        if label not in (None, folder.label):
            raise UserError(
                f"{inner}: folder of class {label!r} below a folder of class {folder.label!r}; "
                f"move it out, add it to ignore, or add '!{inner.name}' to ignore to keep it here"
            )


def _item(
    file: Path, folder: ClassFolder, splits: Mapping[Path, str | None], tree: Tree
) -> SourceItem:
    """The item of one file."""
    return SourceItem(
        source_path=tree.inside(file),
        label=folder.label,
        split=splits[file.parent],
        patient_id=None,
        subgroup="",
        read=partial(read_file, file),
    )


def _path_hint(entry: str) -> str:
    r"""Backslashes are no slashes here: `a\b` is the name `ab`."""
    return "; folders in a path are divided by /" if "\\" in entry else ""


def _inner_folders(folders: Iterable[ClassFolder]) -> list[InnerFolders]:
    found = ((folder.path, sorted(folder.folders())) for folder in folders)
    return [InnerFolders(around, len(inner), inner[0]) for around, inner in found if inner]


def _listed(names: Iterable[str]) -> str:
    """Names for a message: quoted, so that spaces and line ends show, sorted, or `none`."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def file_states(path: Path) -> dict[str, tuple[int, ...] | None]:
    """Of a file, or of all files below a folder: what changes when one is written; None: gone."""
    files = [path] if path.is_file() else _files_below(path)
    return {str(file): _state(file) for file in files}


def _files_below(folder: Path) -> Iterator[Path]:
    """Through links too, each folder once."""
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(here) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        yield from (Path(here, file) for file in files)


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
