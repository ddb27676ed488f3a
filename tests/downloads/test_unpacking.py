import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.downloads.unpacking import MAX_WITHIN, unpack_archives, unpack_into


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def held(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_archives_within_become_folders_where_they_lie(tmp_path: Path) -> None:
    inner = tarred({"CT_COVID/1.png": b"1", "CT_COVID/a.zip": zipped({"deep/2.png": b"2"})})
    outer = zipped({"Images/CT_COVID.tgz": inner, "README.md": b"r", "__MACOSX/._x.zip": b"junk"})
    archive = put(tmp_path / "set.zip", outer)
    folder = tmp_path / "folder"
    unpack_into(archive, folder, tmp_path)
    assert held(folder) == {
        "Images/CT_COVID/1.png": b"1",
        "Images/CT_COVID/deep/2.png": b"2",
        "README.md": b"r",
        "__MACOSX/._x.zip": b"junk",
    }
    assert archive.read_bytes() == outer


def test_archives_of_a_folder_are_replaced(tmp_path: Path) -> None:
    put(tmp_path / "folder" / "a" / "x.ZIP", zipped({"1.png": b"1"}))
    unpack_archives(tmp_path / "folder", tmp_path)
    assert held(tmp_path / "folder") == {"a/1.png": b"1"}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    unpack_into(put(tmp_path / "a.zip", zipped({"x/1.png": b"1"})), folder, tmp_path)
    with pytest.raises(UserError, match=r"'x/1\.png' comes twice"):
        unpack_into(put(tmp_path / "b.zip", zipped({"x/1.png": b"2"})), folder, tmp_path)
    with pytest.raises(UserError, match="of which another file has the name"):
        unpack_into(put(tmp_path / "c.zip", zipped({"x/1.png/2": b"2"})), folder, tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'a\.png' is no archive by its name"):
        unpack_into(put(tmp_path / "a.png", b""), tmp_path / "folder", tmp_path)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack_into(put(tmp_path / "a.zip", b"no zip"), tmp_path / "folder", tmp_path)


def test_archives_within_each_other_have_an_end(tmp_path: Path) -> None:
    content = b"1"
    for _ in range(MAX_WITHIN + 1):
        content = zipped({"a.zip": content})
    with pytest.raises(UserError, match="within each other"):
        unpack_into(put(tmp_path / "b.zip", content), tmp_path / "folder", tmp_path)
