"""One file of a folder: its bytes, or the reason why it gives none."""

import stat
from pathlib import Path

from stages.sources.item import RawImage, UnreadableImage

# 20 million pixels, the most of detectors for chests, of four colours of 16 bits are 160 MB.
MAX_FILE_BYTES = 2**28
MAX_VOLUME_FILE_BYTES = 2**30  # 2,000 slices of 512 x 512 values of 16 bits


def read_file(file: Path, limit: int = MAX_FILE_BYTES) -> RawImage:
    """Read the bytes of a regular file; devices and pipes could go on for ever.

    Args:
        file: where it is.
        limit: bytes that it may have.

    Raises:
        UnreadableImage: it is none, is too large, or the system cannot read it.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("no regular file")
        if found.st_size > limit:
            size, allowed = found.st_size / 2**20, limit // 2**20
            raise UnreadableImage(f"{size:,.0f} MiB: a picture may take {allowed}")
        return RawImage(_read_whole(file, found.st_size))
    except FileNotFoundError:
        kind = "a link to a file that is not there" if file.is_symlink() else "gone since listed"
        raise UnreadableImage(kind) from None
    except OSError as error:
        raise UnreadableImage(f"cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise UnreadableImage("takes more memory than there is") from None


def _read_whole(file: Path, size: int) -> bytes:
    """All bytes of a file. Those of the kernel, some of which keep a reader waiting, have size 0.

    Raises:
        UnreadableImage: it has more bytes, or fewer.
    """
    if size == 0:
        return b""
    with file.open("rb") as stream:
        content = stream.read(size + 1)
    if len(content) != size:
        raise UnreadableImage("not as large as the system says: changed since, or no plain file")
    return content
