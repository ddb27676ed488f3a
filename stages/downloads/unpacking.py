"""Archives that become folders: their files, and those of archives among these."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.config.errors import UserError
from stages.sources.archive import SUFFIXES, is_archive, unpacked

MAX_WITHIN = 3  # archives within each other; sets of class archives have 2


def unpack_into(archive: Path, folder: Path, scratch: Path) -> None:
    """Put what an archive holds into a folder; archives in it become folders where they lie.

    Args:
        archive: it stays as it is.
        folder: there are no files of these names in it.
        scratch: on the same file system.

    Raises:
        UserError: it is no archive, is refused (see `unpacked`), or two files have one name.
    """
    if not is_archive(archive):
        raise UserError(
            f"unpack: got true, but {archive.name!r} is no archive by its name; allowed: false, or "
            f"a `file` that ends with {', '.join(SUFFIXES)}"
        )
    _unpack(archive, folder, scratch, within=1)


def unpack_archives(folder: Path, scratch: Path) -> None:
    """Replace every archive in a folder, at any depth, by what it holds."""
    for archive in list(_archives(folder)):
        _replace(archive, scratch, within=1)


def _unpack(archive: Path, folder: Path, scratch: Path, *, within: int) -> None:
    if within > MAX_WITHIN:
        raise UserError(
            f"{archive.name!r}: archives lie within each other more than {MAX_WITHIN} deep; set "
            "unpack to false and unpack by hand"
        )
    with unpacked(archive, scratch) as inside:
        for inner in list(_archives(inside)):
            _replace(inner, scratch, within=within + 1)
        move_files(inside, folder)


def _replace(archive: Path, scratch: Path, *, within: int) -> None:
    _unpack(archive, archive.parent, scratch, within=within)
    archive.unlink()


def _archives(folder: Path) -> Iterator[Path]:
    """What an operating system left behind, such as `._a.zip`, is none."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return (file for file in files if is_archive(file) and not file.name.startswith("."))


def move_files(source: Path, folder: Path) -> None:
    """Move all files below a folder to the same places below another.

    Raises:
        UserError: there is one of that name already.
    """
    for file in sorted(file for file in source.rglob("*") if file.is_file()):
        inside = file.relative_to(source)
        target = folder / inside
        if os.path.lexists(target):
            raise UserError(f"{inside.as_posix()!r} comes twice; give one file another name")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UserError(
                f"{inside.as_posix()!r} has to lie in a folder of which another file has the name"
            ) from None
        shutil.move(file, target)
