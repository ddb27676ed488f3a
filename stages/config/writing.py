"""The one writer: whatever a stage puts down goes through here.

A file is written beside its place under another name, flushed to the disk, and moved onto its
place in one step. So a file is never half there, and never written *into*: DVC hands out its
outputs as hard links to its cache, read-only, and writing into one would change the cache itself.
What a killed process left of such names goes when another writes into the folder: it would pass for
an output where DVC watches the whole folder.
"""

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.config.errors import UserError
from stages.config.text import visible

if TYPE_CHECKING:  # 0.3 s of CPU, which a stage without tables need not spend
    import pandas as pd


HOST = os.uname().nodename
# Of a process on this machine; another may write into the same folder over a network.
PARTIAL = re.compile(rf"\..*\.{re.escape(HOST)}-(\d+)\.partial(\..*)?")
# What the machine may have against a file, and what a person can do.
ADVICE = {
    errno.ENOSPC: "make room on the disk (`dvc gc -w` clears DVC's cache of old results)",
    errno.EDQUOT: "make room in the quota (`dvc gc -w` clears DVC's cache of old results)",
    errno.EFBIG: "use a file system, or a `ulimit -f`, that allows larger files",
    errno.EROFS: "use a folder on a file system that can be written to",
    errno.EACCES: "give this user access to it",
    errno.EPERM: "give this user access to it",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EIO: "look at the disk: it reports errors",
}
# Of these a block that writes may be told when it reads; of the others it cannot.
OF_READING_TOO = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EIO}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` if the block ends well, else is removed.

    It has the ending of `path`, by which some libraries choose a format. Missing folders are made.

    Raises:
        UserError: the machine does not let it be written; what stood there still does.
    """
    partial = path.with_name(f".{path.stem}.{HOST}-{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent.absolute())
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if not _is_of_writing(error, path.parent):
            raise
        raise UserError(explain_refusal(path, error)) from None


@contextmanager
def replacing_folder(folder: Path, may_hold: Collection[str]) -> Iterator[Path]:
    """Give a new folder to fill, which becomes `folder` if the block ends well, else is removed.

    What stood there goes as a whole. The disk has the files by then.

    Args:
        folder: where to; a link to a folder stays, and what it leads to is replaced.
        may_hold: names of files and folders that an earlier run may have left there.

    Raises:
        UserError: something else stands there, or the machine does not let it be written; nothing
            has changed then.
    """
    folder = Path(os.path.realpath(folder))
    partial, old = (
        folder.with_name(f".{folder.name}.{HOST}-{os.getpid()}.partial{ending}")
        for ending in ("", ".old")
    )
    try:
        _require_replaceable(folder, may_hold)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        try:
            partial.mkdir()
            yield partial
            _flush(partial)
            _put_in_place(partial, folder, old)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if not _is_of_writing(error, folder.parent):
            raise
        raise UserError(explain_refusal(folder, error)) from None


def _require_replaceable(folder: Path, may_hold: Collection[str]) -> None:
    """Refuse a file, and a folder of things that are not this program's to remove."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{visible(str(folder))}: is a file; name a folder, which is made")
    strangers = sorted(entry.name for entry in folder.iterdir() if entry.name not in may_hold)
    if strangers:
        raise UserError(
            f"{visible(str(folder))}: holds '{visible(strangers[0])}' and would be replaced as a "
            "whole; name a folder that does not exist, or one of an earlier run"
        )


def _flush(folder: Path) -> None:
    """Have the disk take the files of a folder, whoever wrote them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as written:
                os.fsync(written.fileno())


def _put_in_place(partial: Path, folder: Path, old: Path) -> None:
    """Rename a filled folder; the one that stood there is put back if that fails."""
    if not folder.exists():
        os.rename(partial, folder)
        return
    os.rename(folder, old)
    try:
        os.rename(partial, folder)
    except OSError:
        os.rename(old, folder)
        raise
    shutil.rmtree(old)


def explain_refusal(path: Path, error: OSError) -> str:
    """One line on a file that the machine does not let be written."""
    return f"{path}: cannot be written ({error.strerror}); {ADVICE[error.errno or 0]}"


def is_of_writing_alone(error: OSError) -> bool:
    """Whether an error is of the machine and cannot come of reading."""
    return error.errno in ADVICE and error.errno not in OF_READING_TOO


def _is_of_writing(error: OSError, folder: Path) -> bool:
    """Whether an error of a block is the machine's refusal to write into the folder."""
    if error.errno in OF_READING_TOO:
        named = Path(str(error.filename or ""))
        return folder == named or folder in named.parents or named in folder.parents
    return is_of_writing_alone(error)


@cache  # once per folder and process: listing it for every file would cost
def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that are no more were about to write when they were killed."""
    for entry in folder.iterdir():
        match = PARTIAL.fullmatch(entry.name)
        if match and not is_alive(int(match[1])):
            _remove(entry)


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; a number that none can have
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, with the line ends that it has."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented so that Git shows what changed."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table without its index, for `read_csv`.

    Text is quoted where it has to be. Python 3.11 forgets carriage returns, which end lines for
    most readers; of a table with one all text is quoted.
    """
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    write_text(path, text)


def link_or_copy(source: Path, path: Path) -> None:
    """Put a file at a second place: a hard link where the file system can, else a copy."""
    with replacing(path) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def keep_only(folder: Path, names: Collection[str]) -> None:
    """Remove what an earlier run left in an output folder: files and folders not named here."""
    for entry in folder.iterdir():
        if entry.name not in names:
            _remove(entry)


def _remove(entry: Path) -> None:
    """A file, a link or a folder."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
