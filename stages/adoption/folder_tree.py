"""The folders of a source and the files in them, as a tree of names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stages.sources.ignore import Ignore
from stages.sources.matching import has_image_ending
from stages.sources.tree import LeftOut, Tree

# DICOM files are often called by a number or an identifier alone: `IM-0001-0012`, `1.2.840.113619`.
NUMBERED = re.compile(r"[\w-]*\d[\w-]*|\d+(\.\d+)+")


@dataclass
class Folder:
    """A folder of a source.

    Attributes:
        path: inside the source, "" for its root.
        files: paths inside the source of the files right in it.
        folders: those in it, by name; empty ones are there too.
    """

    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    def all_files(self) -> Iterator[str]:
        """Files at any depth."""
        yield from self.files
        for folder in self.folders.values():
            yield from folder.all_files()

    def count_pictures(self) -> int:
        """How many files at any depth look like pictures by their names."""
        return sum(is_picture(path) for path in self.all_files())


def is_picture(path: str) -> bool:
    """Whether a file is called as pictures or scans are."""
    name = PurePosixPath(path).name
    return has_image_ending(path) or NUMBERED.fullmatch(name) is not None


def read_tree(root: Path) -> tuple[Folder, list[LeftOut]]:
    """The tree of a source, and what is hidden or left behind in it by an operating system.

    Raises:
        UserError: a folder cannot be listed, lies too deep, or a name is not UTF-8.
    """
    tree = Tree(root, Ignore(()))
    files = sorted(tree.inside(file) for file in tree.files(root))
    hidden = list(tree.left_out)
    top = Folder("")
    for file in files:
        _folder(top, PurePosixPath(file).parent).files.append(file)
    _add_empty(top, tree)
    return top, hidden


def _folder(top: Folder, path: PurePosixPath) -> Folder:
    """The folder at a path, made where it is missing."""
    here = top
    for name in path.parts:
        inside = f"{here.path}/{name}" if here.path else name
        here = here.folders.setdefault(name, Folder(inside))
    return here


def _add_empty(folder: Folder, tree: Tree) -> None:
    """Add folders without any file beside those that have some: strangers to a listing."""
    for found in tree.folders(tree.root / folder.path):
        known = folder.folders.get(found.name)
        if known is None:
            folder.folders[found.name] = Folder(tree.inside(found))
        elif known.folders:
            _add_empty(known, tree)
