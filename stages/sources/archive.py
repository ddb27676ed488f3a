"""Archives of images: unpacked into a temporary folder, or refused.

An archive from the internet is not trusted: nothing is written outside the folder, and neither a
link nor a bomb is unpacked.
"""

import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from stages.config.errors import UserError
from stages.config.writing import explain_refusal, is_of_writing_alone

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = ZIP_SUFFIXES + TAR_SUFFIXES
GIB = 2**30
# Public chest image sets reach about 100 GiB (ChestX-ray14: 42 GiB of PNG).
MAX_UNPACKED_BYTES = 200 * GIB
# Deflate reaches 1032:1, images about 1:1 and text about 10:1. Small archives of blank masks may
# pass the ratio, so it counts from MIN_BOMB_BYTES on.
MAX_RATIO = 200
MIN_BOMB_BYTES = GIB
# APPNOTE.TXT 4.3.16: the record that ends a zip holds the number of members at byte 10, 2 bytes
# wide, and the record is 22 bytes plus a comment of up to 65535.
ZIP_END = b"PK\5\6"
ZIP_END_MAX_BYTES = 22 + 65535
ZIP_COUNT_AT = slice(10, 12)
ZIP64_COUNT = 0xFFFF  # the number is elsewhere
ENCRYPTED_FLAG = 0x1  # APPNOTE.TXT 4.4.4, bit 0 of the general purpose flags
# What the readers raise on damaged or unsupported archives, and on a full disk. KeyError: a hard
# link in a tar to a member that is not there.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    UnicodeDecodeError,
    zlib.error,
    lzma.LZMAError,
)


def is_archive(path: Path) -> bool:
    """Whether a file name ends like an archive that `unpacked` reads, in any case."""
    return path.name.lower().endswith(SUFFIXES)


@contextmanager
def unpacked(path: Path, scratch: Path) -> Iterator[Path]:
    """Unpack an archive into a new folder, which is removed at the end, also after an error.

    Args:
        path: a .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz file.
        scratch: folder that the new folder is made in; made where missing.

    Yields:
        The new folder, with the members of the archive.

    Raises:
        UserError: when the archive is missing, damaged, encrypted, too large, or has a member that
            is a link, is there twice, or would land outside the folder.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such archive; check the path")
    if not is_archive(path):
        raise UserError(f"{path}: not an archive by its name; can be read: {', '.join(SUFFIXES)}")
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=scratch) as folder:
        unpack = _unpack_zip if path.name.lower().endswith(ZIP_SUFFIXES) else _unpack_tar
        try:
            unpack(path, Path(folder))
        except UserError:
            raise
        except DAMAGE as error:
            if isinstance(error, OSError) and is_of_writing_alone(error):
                raise UserError(explain_refusal(scratch, error)) from None  # it may be sound
            raise UserError(
                f"{path}: cannot be unpacked ({_one_line(error)}); download it again, or unpack "
                "it by hand and give the folder"
            ) from None
        yield Path(folder)


def _unpack_zip(path: Path, folder: Path) -> None:
    """Check all members, then write them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_count(path, len(members))
        seen: set[PurePosixPath] = set()
        for member in members:
            # orig_filename: ZipFile has already cut the name at a null byte.
            _check_name(path, member.orig_filename, seen)
            if member.flag_bits & ENCRYPTED_FLAG:
                raise UserError(
                    f"{path}: member {member.filename!r} is encrypted; unpack it by hand"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(_link_message(path, member.filename))
        _check_total(path, sum(member.file_size for member in members))
        for member in members:
            archive.extract(member, folder)


def _unpack_tar(path: Path, folder: Path) -> None:
    """Check and write one member after the other, since a packed tar is read only forwards."""
    seen: set[PurePosixPath] = set()
    total = 0
    with _open_tar(path) as archive:
        for member in archive:
            _check_name(path, member.name, seen)
            if member.issym():  # the "data" filter of some Python 3.11 can be led out by chains
                raise UserError(_link_message(path, member.name))
            total += member.size
            _check_total(path, total)
            archive.extract(member, folder, filter="data")
        _check_end(path, archive)


def _open_tar(path: Path) -> tarfile.TarFile:
    """Open a tar of any of the compressions, whichever its name says."""
    try:
        return tarfile.open(path, "r:*")
    except tarfile.ReadError:  # its message is a line for each compression
        raise UserError(f"{path}: not a tar archive, or damaged; download it again") from None


def _check_name(path: Path, name: str, seen: set[PurePosixPath]) -> None:
    """Refuse names that leave the folder, or that overwrite another member.

    Backslashes count as slashes, because they are on Windows.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    has_drive = name[:1].isalpha() and name[1:2] == ":"
    if inside.is_absolute() or has_drive or ".." in inside.parts or "\0" in name:
        raise UserError(
            f"{path}: member {name!r} would land outside the folder; do not trust this archive"
        )
    if inside in seen and inside.parts:  # `./` may stand more than once
        raise UserError(f"{path}: member {name!r} is there twice; pack it again")
    seen.add(inside)


def _check_total(path: Path, unpacked_bytes: int) -> None:
    """Refuse more than the disk should take, and what only a bomb is packed like."""
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise UserError(
            f"{path}: would take {unpacked_bytes / GIB:.1f} GiB unpacked, allowed are "
            f"{MAX_UNPACKED_BYTES / GIB:.1f}; unpack it by hand and give the folder"
        )
    ratio = unpacked_bytes / path.stat().st_size
    if unpacked_bytes > MIN_BOMB_BYTES and ratio > MAX_RATIO:
        raise UserError(
            f"{path}: unpacks to {ratio:.0f} times its size, as a decompression bomb does; allowed "
            f"are {MAX_RATIO} times; unpack it by hand and give the folder if you trust it"
        )


def _check_count(path: Path, count: int) -> None:
    """Refuse a zip of which zipfile found fewer members than the archive counts.

    It skips by lengths in the table of contents, so that one wrong byte there loses members.
    """
    with path.open("rb") as stream:
        stream.seek(-min(ZIP_END_MAX_BYTES, path.stat().st_size), os.SEEK_END)
        tail = stream.read()
    record = tail[tail.rfind(ZIP_END) :]
    counted = int.from_bytes(record[ZIP_COUNT_AT], "little")
    if counted not in (count % (ZIP64_COUNT + 1), ZIP64_COUNT):
        raise UserError(
            f"{path}: damaged: {count} members found, {counted} expected; download it again"
        )


def _check_end(path: Path, archive: tarfile.TarFile) -> None:
    """Refuse a tar without its mark of the end.

    tarfile takes a damaged header after the first member, or a cut between two members, for the
    end, which would lose all members behind it. POSIX 1003.1 (pax): the end is blocks of zeros.
    """
    stream = archive.fileobj
    assert stream is not None  # open for reading
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(
            f"{path}: damaged or cut short after {len(archive.getmembers())} members; "
            "download it again"
        )


def _link_message(path: Path, name: str) -> str:
    """Links are refused, wherever they point."""
    return f"{path}: member {name!r} is a link; pack the files themselves (tar -h, zip without -y)"


def _one_line(error: BaseException) -> str:
    """What went wrong, without line ends and without the temporary folder of an OSError."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
