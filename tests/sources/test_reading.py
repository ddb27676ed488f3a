import errno
import os
import stat
from pathlib import Path

import pytest

from stages.sources.item import UnreadableImage
from stages.sources.reading import read_file


def test_bytes_of_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\0pixels")
    raw = read_file(tmp_path / "a.png")
    assert (raw.content, raw.truth) == (b"\0pixels", None)


def test_sparse_file_of_2_tib_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**41)
    with pytest.raises(UnreadableImage, match=r"^2,097,152 MiB: a picture may take 256$"):
        read_file(tmp_path / "a.png")


def test_device_and_pipe_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("zeros.png", "pipe.png"):
        with pytest.raises(UnreadableImage, match=r"^no regular file$"):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")],
)
def test_what_the_system_says_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"pixels")

    def fail(path: Path, mode: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UnreadableImage, match=rf"^cannot be read \({said}\)$"):
        read_file(tmp_path / "a.png")


def test_link_to_nothing_and_to_itself_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(UnreadableImage, match=r"^a link to a file that is not there$"):
        read_file(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match=r"^cannot be read \(Too many levels of symbolic"):
        read_file(tmp_path / "b.png")


def test_file_of_the_kernel_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/proc/self/stat")  # /proc/kmsg would wait for a message
    assert read_file(tmp_path / "a.png").content == b""


@pytest.mark.parametrize("stated", [3, 9])
def test_file_of_another_size_than_stated_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int
) -> None:
    (tmp_path / "a.png").write_bytes(b"pixels")
    found = list((tmp_path / "a.png").stat())
    found[stat.ST_SIZE] = stated
    monkeypatch.setattr(Path, "stat", lambda path: os.stat_result(found))
    with pytest.raises(UnreadableImage, match=r"^not as large as the system says"):
        read_file(tmp_path / "a.png")
