"""The files below a folder, and what is left out of them, with the reason."""

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stages.config.errors import UserError
from stages.sources.ignore import Ignore

# What Windows, macOS and Synology leave in folders, in any case; so do names that start with a dot.
# `@eaDir` holds thumbnails, `.ipynb_checkpoints` second copies: both would pass for images.
DROPPINGS = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
MAX_DEPTH = 100  # folders within folders; archives of patients, studies and series have 3 or 4
WILDCARDS = "!*?/"
SHOWN_CHARACTERS = 60  # of a path in a message


class LeftOut(NamedTuple):
    """Something under the root that is no item.

    Attributes:
        path: inside the root; a folder, with a slash at the end, stands for all it holds.
        reason: in words.
        files: how many files that is.
    """

    path: str
    reason: str
    files: int


class ClassFolder(NamedTuple):
    """One class folder and the files at any depth below it.

    Attributes:
        path: on the disk.
        label: the class.
        split: train, val or test where it lies in such a folder, else None.
        files: on the disk.
    """

    path: Path
    label: str
    split: str | None
    files: list[Path]

    def folders(self) -> set[Path]:
        """All folders below it that have files at some depth."""
        found: set[Path] = set()
        for parent in {file.parent for file in self.files}:
            while parent != self.path and parent not in found:
                found.add(parent)
                parent = parent.parent
        return found


class Tree:
    """Looks into the folders of a source, and keeps account of what it passes over."""

    def __init__(self, root: Path, ignore: Ignore) -> None:
        """Start at the folder of a source."""
        self.root = root
        self.ignore = ignore
        self.left_out: list[LeftOut] = []
        self.kept: set[Path] = set()  # by an entry of `ignore` with `!`
        self.kept_by_name: set[Path] = set()  # by one that says more than `!*`

    def folders(self, level: Path) -> list[Path]:
        """The folders of a level above the class folders; its files are left out."""
        folders = []
        for entry, is_folder in self._entries(level):
            if is_folder:
                folders.append(entry)
            else:
                self._leave_out(entry, "outside the class folders")
        return folders

    def files(self, folder: Path) -> list[Path]:
        """The files at any depth below a folder. Links are followed, but not in circles."""
        files = []
        waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, ())]  # and the folders around
        while waiting:
            level, around = waiting.pop()
            around = (*around, os.path.realpath(level))
            if len(around) > MAX_DEPTH:
                self._refuse_depth(folder, level)
            for entry, is_folder in self._entries(level):
                if not is_folder:
                    files += self._file(entry)
                elif os.path.realpath(entry) in around:
                    self._leave_out(entry, "a link back to a folder around it")
                else:
                    waiting.append((entry, around))
        return files

    def inside(self, path: Path) -> str:
        """The path inside the root with forward slashes."""
        return str(PurePosixPath(path.relative_to(self.root)))

    def _entries(self, folder: Path) -> list[tuple[Path, bool]]:
        """What counts of a folder, sorted by the bytes of the names, and whether it is a folder."""
        try:
            entries = sorted(folder.iterdir(), key=os.fsencode)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be listed ({error.strerror}); check access"
            ) from None
        listed = ((entry, os.path.isdir(entry)) for entry in entries)
        return [(entry, is_folder) for entry, is_folder in listed if self._counts(entry, is_folder)]

    def _counts(self, entry: Path, is_folder: bool) -> bool:
        """Whether neither its name nor `ignore` takes something out."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            name = os.fsencode(entry.name)
            raise UserError(f"{entry.parent}: name {name!r} is not UTF-8; rename it") from None
        if entry.name.startswith(".") or entry.name.lower() in DROPPINGS:
            self._leave_out(entry, "hidden, or left behind by an operating system")
            return False
        decision = self.ignore.decide(self.inside(entry) + ("/" if is_folder else ""))
        if decision and decision.keeps:
            self.kept.add(entry)
            if decision.entry.strip(WILDCARDS):
                self.kept_by_name.add(entry)
        elif decision:
            self._leave_out(entry, f"ignored by {decision.entry!r}")
            return False
        return True

    def _file(self, entry: Path) -> list[Path]:
        if os.path.isfile(entry) or not os.path.exists(entry):  # a link to nothing is read in vain
            return [entry]
        self._leave_out(entry, "neither a file nor a folder")
        return []

    def _leave_out(self, entry: Path, reason: str) -> None:
        is_folder = os.path.isdir(entry)
        path = self.inside(entry) + ("/" if is_folder else "")
        files = _count_files(entry) if is_folder and not entry.is_symlink() else not is_folder
        self.left_out.append(LeftOut(path, reason, int(files)))

    def _refuse_depth(self, folder: Path, level: Path) -> None:
        raise UserError(
            f"{folder}: folders lie within each other more than {MAX_DEPTH} deep, at "
            f"'{self.inside(level)[:SHOWN_CHARACTERS]}...'; move the files up, or add the "
            "outermost of these folders to ignore"
        )


def _count_files(folder: Path) -> int:
    """Files at any depth, as far as they can be seen; links to folders are not followed.

    A loop of its own: `os.walk` of Python 3.11 goes no deeper than the stack.
    """
    count, waiting = 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        count += 1
        except OSError:  # no access, or a path that is too long: these files stay uncounted
            continue
    return count
