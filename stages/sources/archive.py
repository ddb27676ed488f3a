"""Archives of images: unpacked into a temporary folder, or refused.

An archive from the internet is not trusted: nothing is written outside the folder, and neither a
link nor a bomb is unpacked.
"""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from stages.config.errors import UserError
from stages.config.progress import progress
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
MAX_MEMBERS = 1_000_000  # the largest public set, MIMIC-CXR-JPG, has 377,110 images
MAX_DEPTH = 100  # folders within folders; archives of patients, studies and series have 3 or 4
MAX_HEADER_BYTES = 2**20  # of a tar's member; a path has up to 4096 bytes
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257  # POSIX 1003.1, in a header
CHUNK_BYTES = 2**20
SHOWN_CHARACTERS = 60  # of a name in a message
# First bytes of compressed tars: RFC 1952, bzip2 1.0, xz 1.0.4.
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
LONGEST_MAGIC = max(map(len, COMPRESSIONS))
# APPNOTE.TXT 4.3.16: the record that ends a zip holds the number of members at byte 10, 2 bytes
# wide, and the record is 22 bytes plus a comment of up to 65535.
ZIP_END = b"PK\5\6"
ZIP_END_MAX_BYTES = 22 + 65535
ZIP_COUNT_AT = slice(10, 12)
ZIP64_COUNT = 0xFFFF  # the number is elsewhere
ENCRYPTED_FLAG = 0x1  # APPNOTE.TXT 4.4.4, bit 0 of the general purpose flags
# What the readers raise on damaged or unsupported archives, and on a full disk. ValueError,
# IndexError, OverflowError and struct.error: numbers in headers that are none or too large.
# RecursionError: tarfile reads a header that stands before another one within that one.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    KeyError,
    IndexError,
    NotImplementedError,
    ValueError,
    OverflowError,
    RecursionError,
    MemoryError,
    struct.error,
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
        The new folder, with the files of the archive; empty folders are not made.

    Raises:
        UserError: when the archive is missing, damaged, encrypted, over one of the limits above,
            or has a member that is a link or a special file, is there twice, or would land outside
            the folder.
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
                    f"{path}: member {_shown(member.filename)} is encrypted; unpack it by hand"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(_link_message(path, member.filename))
        _check_total(path, sum(member.file_size for member in members))
        for member in progress(members, "unpacking", len(members)):
            if not member.is_dir():
                with archive.open(member) as content:
                    _write(content, folder / member.filename)


def _unpack_tar(path: Path, folder: Path) -> None:
    """Check and write one member after the other, since a packed tar is read only forwards."""
    seen: set[PurePosixPath] = set()
    total = 0
    with _open_packed(path) as packed, _open_tar(path, packed) as archive:
        # A tar does not say how many there are.
        for member in progress(_members(archive, packed), "unpacking", None):
            _check_name(path, member.name, seen)
            if member.size < 0:
                raise UserError(f"{path}: member {_shown(member.name)} has a size below 0")
            total += member.size
            _check_total(path, total)
            packed.allow(member.size)
            _unpack_member(path, archive, member, folder)
        _check_end(path, archive)
        _check_rest(path, packed, total)


def _members(archive: tarfile.TarFile, packed: "_Packed") -> Iterator[tarfile.TarInfo]:
    """One member after the other, each with headers of a limited length."""
    packed.allow(0)
    while (member := archive.next()) is not None:
        yield member
        packed.allow(0)


def _unpack_member(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> None:
    """Write a file; a hard link is one more name of a file that is there."""
    if member.isdir():  # it comes with its files
        return
    if member.isreg():
        content = archive.extractfile(member)
        assert content is not None  # a file has some
        with content:
            _write(content, folder / member.name)
    elif member.issym():
        raise UserError(_link_message(path, member.name))
    elif member.islnk():
        _link(path, member, folder)
    else:
        raise UserError(
            f"{path}: member {_shown(member.name)} is a special file, such as a device or a pipe; "
            "pack files alone"
        )


def _link(path: Path, member: tarfile.TarInfo, folder: Path) -> None:
    linked = PurePosixPath(member.linkname)
    if linked.is_absolute() or ".." in linked.parts or not (folder / linked).is_file():
        raise UserError(
            f"{path}: cannot be unpacked: member {_shown(member.name)} is a link to "
            f"{_shown(member.linkname)}, which is no file before it; pack it again"
        )
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(folder / linked)


def _write(content: IO[bytes], target: Path) -> None:
    """Write a file without what an archive says of its owner, rights and times."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)


class _Packed:
    """A tar as a stream that refuses headers without end.

    tarfile reads names of any length into memory, so that a header can ask for 2 GiB, or hold them
    where the tar is compressed.
    """

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        """Read from the stream of an archive."""
        self._path = path
        self._stream = stream
        self.tell, self.seek, self.close = stream.tell, stream.seek, stream.close
        self.allow(0)

    def allow(self, content_bytes: int) -> None:
        """Let this many bytes be read, and headers."""
        self._left = content_bytes + MAX_HEADER_BYTES

    def read(self, length: int) -> bytes:
        """Read up to `length` bytes."""
        self._left -= length
        if self._left < 0:
            raise UserError(
                f"{self._path}: a header of more than {MAX_HEADER_BYTES} bytes, as no archive of "
                "images has; do not trust this archive"
            )
        return self._stream.read(length)


@contextmanager
def _open_packed(path: Path) -> Iterator[_Packed]:
    """Open a tar of any of the compressions, whichever its name says."""
    with path.open("rb") as file:
        start = file.read(LONGEST_MAGIC)
    opens = next((opens for magic, opens in COMPRESSIONS.items() if start.startswith(magic)), open)
    with opens(path, "rb") as stream:
        yield _Packed(path, stream)


def _open_tar(path: Path, packed: _Packed) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=cast(IO[bytes], packed), mode="r:")
    except tarfile.ReadError:
        raise UserError(f"{path}: not a tar archive, or damaged; download it again") from None


def _check_name(path: Path, name: str, seen: set[PurePosixPath]) -> None:
    """Refuse names that leave the folder, lie too deep, or overwrite another member.

    Backslashes count as slashes, because they are on Windows.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    has_drive = name[:1].isalpha() and name[1:2] == ":"
    if inside.is_absolute() or has_drive or ".." in inside.parts or "\0" in name:
        raise UserError(
            f"{path}: member {_shown(name)} would land outside the folder; do not trust this "
            "archive"
        )
    if len(inside.parts) > MAX_DEPTH:
        raise UserError(
            f"{path}: member {_shown(name)} lies {len(inside.parts)} folders deep, allowed are "
            f"{MAX_DEPTH}; unpack it by hand and move the files up"
        )
    if inside in seen and inside.parts:  # `./` may stand more than once
        raise UserError(f"{path}: member {_shown(name)} is there twice; pack it again")
    seen.add(inside)
    if len(seen) > MAX_MEMBERS:
        raise UserError(
            f"{path}: more than {MAX_MEMBERS:,} members; unpack it by hand and give the folder"
        )


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


def _check_rest(path: Path, packed: _Packed, unpacked_bytes: int) -> None:
    """Read what is behind the end of a tar, where a compressed one has its checksum.

    What fills up the last record may be anything (POSIX 1003.1), but a second tar would be lost.
    """
    packed.allow(CHUNK_BYTES)
    while chunk := packed.read(CHUNK_BYTES):
        unpacked_bytes += len(chunk)
        _check_total(path, unpacked_bytes)
        blocks = range(0, len(chunk), tarfile.BLOCKSIZE)
        if any(chunk.startswith(TAR_MAGIC, block + TAR_MAGIC_AT) for block in blocks):
            raise UserError(
                f"{path}: a second archive stands behind the end of the first and would be lost; "
                "pack all files into one"
            )
        packed.allow(CHUNK_BYTES)


def _link_message(path: Path, name: str) -> str:
    """Links are refused, wherever they point."""
    return (
        f"{path}: member {_shown(name)} is a link; pack the files themselves (tar -h, zip "
        "without -y)"
    )


def _shown(name: str) -> str:
    """The name of a member for a message: quoted, so that line ends show, and not without end."""
    return repr(name if len(name) <= SHOWN_CHARACTERS else f"{name[:SHOWN_CHARACTERS]}...")


def _one_line(error: BaseException) -> str:
    """What went wrong, without line ends and without the temporary folder of an OSError."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
