"""One entry of `downloads`: its files, each got as its address asks for, in one folder."""

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from stages.config.errors import UserError
from stages.config.params import RemoteFile
from stages.config.writing import link_or_copy
from stages.downloads.file_name import NAMELESS, safe_name
from stages.downloads.providers import GDRIVE, KAGGLE, get_gdrive, get_kaggle
from stages.downloads.receipt import Fetched
from stages.downloads.unpacking import move_files, unpack_archives, unpack_into
from stages.downloads.web import get_file

logger = logging.getLogger(__name__)


def fetch_files(
    files: Mapping[str, RemoteFile], folder: Path, scratch: Path, name: str
) -> dict[str, Fetched]:
    """Get all files of a download into an empty folder.

    Args:
        files: as params.yaml has them.
        folder: where they go, under their names, or what they hold.
        scratch: on the same file system; what an earlier run left there is gone on with.
        name: of the download, for lines and errors.

    Raises:
        UserError: the first that cannot be had, with its key.
    """
    fetched = {}
    for key, remote in files.items():
        where = f"downloads.{name}.{key}"
        own = scratch / hashlib.sha256(remote.address.encode()).hexdigest()[:16]
        try:
            fetched[key] = _fetch(remote, folder, own, where)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return fetched


def _fetch(remote: RemoteFile, folder: Path, scratch: Path, where: str) -> Fetched:
    if remote.address.startswith(KAGGLE):
        _take_all(get_kaggle(remote.address, scratch), folder, scratch)
        if remote.unpack:
            unpack_archives(folder, scratch)
        return Fetched(name=None, sha256=None)
    if remote.address.startswith(GDRIVE):
        content = get_gdrive(remote.address, scratch / "drive", where)
        name = remote.file or safe_name(content.name) or NAMELESS
    else:
        partial = get_file(remote, scratch / "web", where)
        content, name = partial.content, remote.file or partial.name
    found = _require_hash(content, remote, scratch)
    if remote.sha256 is None:
        _say_hash(where, found)
    _put(content, name, remote, folder, scratch)
    return Fetched(name, found)


def _require_hash(content: Path, remote: RemoteFile, scratch: Path) -> str:
    """The SHA-256 of a file, which goes if it is not the one that is asked for."""
    with content.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if remote.sha256 not in (None, found):
        size = content.stat().st_size
        shutil.rmtree(scratch)
        raise UserError(
            f"sha256: got {remote.sha256}, but {remote.address} gives {size:,} bytes of {found}, "
            "of which nothing is kept; the file has changed, or somebody changed it: look at its "
            "source before you take the new hash"
        )
    return found


def _say_hash(where: str, found: str) -> None:
    name = where.split(".")[1]
    logger.info(
        "%s.sha256 is null; what came has sha256: %s (write it there, then `dvc commit -f "
        "fetch@%s` spares a second download)",
        *(where, found, name),
    )


def _put(content: Path, name: str, remote: RemoteFile, folder: Path, scratch: Path) -> None:
    """Put a file into the folder, or what it holds; what is in scratch stays until all is done."""
    if remote.unpack:
        named = scratch / "named" / name  # readers of archives go by the ending
        link_or_copy(content, named)
        try:
            unpack_into(named, folder, scratch)
        except UserError as error:
            said = str(error).replace(str(named), name)
            raise UserError(f"{said} (it lies in {scratch}, to be removed for another)") from None
        return
    if os.path.lexists(folder / name):
        raise UserError(f"file: {name!r} comes twice; give one of them another name")
    link_or_copy(content, folder / name)


def _take_all(source: Path, folder: Path, scratch: Path) -> None:
    """Move what kagglehub has put down; where that is not here, as in Kaggle's own, copy it.

    All at once: of half a folder kagglehub would say, after a kill, that it is the whole.
    """
    own = scratch / "files"
    shutil.rmtree(own, ignore_errors=True)
    if source.absolute().is_relative_to(scratch.absolute()):
        os.replace(source, own)
    else:
        shutil.copytree(source, own)
    move_files(own, folder)
