import logging
import os
from pathlib import Path

import pytest

from stages.deployment.files import HIDDEN, NO_IMAGE, list_files

PNG = b"\x89PNG\r\n\x1a\n"


def write(path: Path, content: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_keep_their_order_and_folders_are_walked_by_name(tmp_path: Path) -> None:
    for name in ("in/b.png", "in/a/2.png", "in/a/10.png", "z.png", "c.png"):
        write(tmp_path / name)
    given = [str(tmp_path / name) for name in ("z.png", "in", "c.png", "z.png")]
    inside = [str(tmp_path / "in" / name) for name in ("a/10.png", "a/2.png", "b.png")]
    assert [file.name for file in list_files(given)] == [given[0], *inside, given[2], given[3]]


def test_what_is_no_image_in_a_folder_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.png", b"broken, and called an image all the same")
    write(tmp_path / "IM0001", bytes(128) + b"DICM")
    write(tmp_path / "scan")
    for name in ("notes.txt", "README", "empty"):
        write(tmp_path / name, b"" if name == "empty" else b"said of the images")
    for name in (".DS_Store", "Thumbs.db", ".cache/x.png"):
        write(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    with caplog.at_level(logging.WARNING):
        files = list_files([str(tmp_path)])
    assert [Path(file.name).name for file in files] == ["IM0001", "a.png", "scan"]
    assert f"3 left out: {NO_IMAGE}" in caplog.text
    assert f"3 left out: {HIDDEN}" in caplog.text
    assert "1 left out: neither a file nor a folder" in caplog.text


def test_a_named_file_is_meant_whatever_it_is(tmp_path: Path) -> None:
    named = [write(tmp_path / ".hidden.png"), write(tmp_path / "notes.txt", b"text")]
    assert [file.problem for file in list_files([*map(str, named)])] == ["", ""]


def test_what_is_not_there_is_listed_with_its_reason(tmp_path: Path) -> None:
    (file,) = list_files([str(tmp_path / "none")])
    assert file.problem == "there is no such file or folder"


def test_a_link_to_a_folder_around_it_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "back").symlink_to(tmp_path)
    assert len(list_files([str(tmp_path)])) == 1


def test_a_broken_link_called_like_an_image_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert len(list_files([str(tmp_path)])) == 1


def test_names_that_are_not_utf_8_are_listed(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/in\xff/\xfe.png"
    write(Path(os.fsdecode(name)))
    (file,) = list_files([str(tmp_path)])
    assert os.fsencode(file.name) == name


def test_an_empty_folder_is_said_to_hold_no_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list_files([str(tmp_path)]) == []
    assert f"{tmp_path}: there is no image in it" in caplog.text
