"""Images in folders: one folder per class, or train, val and test folders of class folders.

Every folder at class level has to be named in the parameters, as part of a class or as ignored, so
that no picture gets into or drops out of a class unseen.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stages.config.errors import UserError
from stages.sources.item import SourceItem
from stages.sources.reading import read_file

# Names of split folders, in any case.
SPLIT_OF_FOLDER = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# What Windows, macOS and Synology leave in folders, in any case; so do names that start with a dot.
# `@eaDir` holds thumbnails, `.ipynb_checkpoints` second copies: both would pass for images.
DROPPINGS = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


class FolderListing(NamedTuple):
    """What a folder holds.

    Attributes:
        items: the images to read, sorted by the bytes of their path.
        left_out: what is under the root and is no item, relative to it, sorted; folders, with a
            slash at the end, stand for all they hold. These are the droppings of operating
            systems, ignored folders, files outside class folders, links back to a folder above
            themselves, and what is neither file nor folder.
    """

    items: list[SourceItem]
    left_out: list[str]


class _Classes(NamedTuple):
    """What folder names at class level mean."""

    names: tuple[str, ...]
    of_folder: dict[str, str]
    ignore: frozenset[str]

    def allowed(self) -> str:
        """The folder names that a class has, and those that are ignored, for messages."""
        return f"classes take {_listed(self.of_folder)}; ignored are {_listed(self.ignore)}"


class _Branch(NamedTuple):
    """One class folder."""

    path: Path
    label: str
    split: str | None


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
        classes: folder names, spelt as on disk, of each class name.
        ignore: names of folders that are left out, at class level and at any depth.

    Raises:
        UserError: when the root cannot be read, a folder or class has no counterpart, a class
            folder has no file, split and class folders stand side by side, or a name is not UTF-8.
    """
    known = _known_classes(classes, ignore)
    left_out: list[Path] = []
    branches = _branches(Path(root), known, left_out)
    items = []
    for branch in branches:
        files = list(_files(branch.path, known.ignore, left_out, above=()))
        if not files:
            raise UserError(f"{branch.path}: class folder without any file; fill it or remove it")
        items += [_item(Path(root), file, branch) for file in files]
    items.sort(key=lambda item: os.fsencode(item.source_path))
    return FolderListing(
        items, sorted((_relative(Path(root), p) for p in left_out), key=os.fsencode)
    )


def _known_classes(classes: Mapping[str, Sequence[str]], ignore: Sequence[str]) -> _Classes:
    """Turn class -> folders around, refusing folders that are named twice."""
    named = Counter([folder for folders in classes.values() for folder in set(folders)])
    named.update(set(ignore))
    twice = [folder for folder, count in named.items() if count > 1]
    if twice:
        raise UserError(
            f"classes, ignore: folder {_listed(twice)} is named in more than one of them; "
            "name it in one class or in ignore"
        )
    of_folder = {folder: name for name, folders in classes.items() for folder in folders}
    return _Classes(tuple(classes), of_folder, frozenset(ignore))


def _branches(root: Path, known: _Classes, left_out: list[Path]) -> list[_Branch]:
    """Find the class folders under the root, through wrapping folders and split folders."""
    level, above = root, [os.path.realpath(root)]
    while True:
        folders = _folders(level, known.ignore, left_out)
        if any(folder.name in known.of_folder for folder in folders):
            return _class_level(level, folders, known, split=None)
        if any(_split(folder) for folder in folders):
            return _split_level(level, folders, known, left_out)
        if len(folders) != 1 or os.path.realpath(folders[0]) in above:
            raise UserError(
                f"{level}: no class folder and no train, val or test folder; found "
                f"{_listed(f.name for f in folders)}; {known.allowed()}; "
                "add a found folder to a class or to ignore"
            )
        level = folders[0]
        above.append(os.path.realpath(level))


def _class_level(
    level: Path, folders: list[Path], known: _Classes, split: str | None
) -> list[_Branch]:
    """The class folders of one level, which has no other folders and all classes."""
    for folder in folders:
        if folder.name not in known.of_folder:
            raise UserError(_stranger(folder, known, beside_classes=split is None))
    branches = [_Branch(folder, known.of_folder[folder.name], split) for folder in folders]
    present = {branch.label for branch in branches}
    missing = [name for name in known.names if name not in present]
    if missing:
        wanted = [folder for folder, owner in known.of_folder.items() if owner == missing[0]]
        raise UserError(
            f"{level}: class {missing[0]!r} has no folder here; it takes {_listed(wanted)}; found "
            f"{_listed(f.name for f in folders)}; correct the folder names of the class"
        )
    return branches


def _stranger(folder: Path, known: _Classes, *, beside_classes: bool) -> str:
    """The message for a folder at class level that nobody named."""
    if beside_classes and _split(folder):
        return (
            f"{folder.parent}: split folder {folder.name!r} beside class folders; "
            "keep class folders only, or split folders only, or add it to ignore"
        )
    return (
        f"{folder.parent}: folder {folder.name!r} belongs to no class; {known.allowed()}; "
        "add it to a class or to ignore"
    )


def _split_level(
    level: Path, folders: list[Path], known: _Classes, left_out: list[Path]
) -> list[_Branch]:
    """The class folders of all split folders of one level."""
    branches: list[_Branch] = []
    seen: dict[str, str] = {}
    for folder in folders:
        split = _split(folder)
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
        inner = _folders(folder, known.ignore, left_out)
        branches += _class_level(folder, inner, known, split)
    return branches


def _split(folder: Path) -> str | None:
    """The split that a folder's name stands for."""
    return SPLIT_OF_FOLDER.get(folder.name.lower())


def _folders(level: Path, ignore: frozenset[str], left_out: list[Path]) -> list[Path]:
    """The folders of a level that count; all else on it is added to `left_out`."""
    folders = []
    for entry in _entries(level):
        if entry.is_dir() and not _is_left_out(entry, ignore):
            folders.append(entry)
        else:
            left_out.append(entry)
    return folders


def _files(
    folder: Path, ignore: frozenset[str], left_out: list[Path], above: tuple[str, ...]
) -> Iterator[Path]:
    """Yield the files at any depth; `above` holds the real paths of the folders around."""
    here = (*above, os.path.realpath(folder))
    for entry in _entries(folder):
        if _is_left_out(entry, ignore):
            left_out.append(entry)
        elif entry.is_dir():
            if os.path.realpath(entry) in here:
                left_out.append(entry)
            else:
                yield from _files(entry, ignore, left_out, here)
        elif entry.is_file() or not os.path.exists(entry):  # a link to nothing is read in vain
            yield entry
        else:
            left_out.append(entry)


def _is_left_out(entry: Path, ignore: frozenset[str]) -> bool:
    """Whether a name is a dropping of an operating system, or that of an ignored folder."""
    if entry.name.startswith(".") or entry.name.lower() in DROPPINGS:
        return True
    return entry.name in ignore and entry.is_dir()


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted by the bytes of the names."""
    try:
        entries = sorted(folder.iterdir(), key=os.fsencode)
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); check access") from None
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            name = os.fsencode(entry.name)
            raise UserError(f"{folder}: name {name!r} is not UTF-8; rename it") from None
    return entries


def _item(root: Path, file: Path, branch: _Branch) -> SourceItem:
    """The item of one file."""
    return SourceItem(
        source_path=_relative(root, file),
        label=branch.label,
        split=branch.split,
        patient_id=None,
        subgroup="",
        read=partial(read_file, file),
    )


def _relative(root: Path, path: Path) -> str:
    """The path inside the root with forward slashes; folders end with one."""
    inside = str(PurePosixPath(path.relative_to(root)))
    return f"{inside}/" if path.is_dir() else inside


def _listed(names: Iterable[str]) -> str:
    """Names for a message: quoted, so that spaces and line ends show, sorted, or `none`."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"
