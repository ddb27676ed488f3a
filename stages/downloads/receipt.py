"""What was downloaded, noted beside it: by this the check knows a folder from an older one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stages.config.params import Params, RemoteFile
from stages.config.paths import Paths, download_of
from stages.config.writing import write_json

RECEIPT = ".download.json"  # hidden: no source takes it for an image


class Fetched(NamedTuple):
    """One file as it came.

    Attributes:
        name: in the folder, before it was unpacked; null of Kaggle's, which are many.
        sha256: of its bytes; null likewise.
    """

    name: str | None
    sha256: str | None


def write_receipt(
    folder: Path, files: Mapping[str, RemoteFile], fetched: Mapping[str, Fetched]
) -> None:
    """Note addresses, names and hashes; no time, so that the same files give the same folder."""
    rows = {
        name: {"address": file.address, "unpack": file.unpack, **fetched[name]._asdict()}
        for name, file in files.items()
    }
    write_json(folder / RECEIPT, rows)


def awaited(params: Params, paths: Paths, *given: str) -> list[str]:
    """The downloads that paths of params.yaml lie in and that are still to be fetched.

    Args:
        params: which downloads there are; names are known to be among them.
        paths: where they are.
        given: paths as params.yaml has them, such as `source.path`.
    """
    names = dict.fromkeys(filter(None, map(download_of, given)))
    return [name for name in names if not _is_there(paths.download(name), params.download(name))]


def _is_there(folder: Path, files: Mapping[str, RemoteFile]) -> bool:
    """Whether a folder holds what is asked for now; an address may have changed since."""
    try:
        rows = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        return set(rows) == set(files) and all(_is_of(rows[name], files[name]) for name in files)
    except (OSError, ValueError, TypeError, KeyError):  # no receipt, or none of ours
        return False


def _is_of(row: dict[str, object], file: RemoteFile) -> bool:
    return (
        (row["address"], row["unpack"]) == (file.address, file.unpack)
        and file.sha256 in (None, row["sha256"])
        and file.file in (None, row["name"])
    )
