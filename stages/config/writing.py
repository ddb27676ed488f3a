"""The one writer: whatever a stage puts down goes through here.

A file is written beside its place under another name, flushed to the disk, and moved onto its
place in one step. So a file is never half there, and never written *into*: DVC hands out its
outputs as hard links to its cache, read-only, and writing into one would change the cache itself.
"""

import csv
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # 0.3 s of CPU, which a stage without tables need not spend
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` if the block ends well, else is removed.

    It has the ending of `path`, by which some libraries choose a format. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
        if entry.name in names:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
