import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.writing import (
    HOST,
    keep_only,
    link_or_copy,
    replacing,
    replacing_folder,
    write_csv,
    write_json,
)


def linked_into_a_cache(path: Path) -> Path:
    """An output as DVC hands it out: read-only, and the same file as the one in its cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("before", encoding="utf-8")
    cached = path.with_name("cached")
    os.link(path, cached)
    cached.chmod(0o444)
    return cached


def test_writing_leaves_what_shares_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    cached = linked_into_a_cache(path)
    write_json(path, {"a": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert cached.read_text(encoding="utf-8") == "before"


def test_missing_folders_are_made_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "table.csv"
    write_csv(path, pd.DataFrame({"x": [1, 2]}))
    assert path.read_text(encoding="utf-8") == "x\n1\n2\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before", encoding="utf-8")

    def fail(partial: Path) -> None:
        partial.write_text("half of", encoding="utf-8")
        raise KeyError("interrupted")

    with pytest.raises(KeyError, match="interrupted"), replacing(path) as partial:
        fail(partial)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_partial_file_has_the_ending_of_the_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "sheet.png") as partial:
        assert partial.suffix == ".png"
        partial.touch()


def test_a_second_place_is_the_same_file_or_has_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_text("pixels", encoding="utf-8")
    link_or_copy(source, tmp_path / "linked")
    assert (tmp_path / "linked").samefile(source)

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "copied")
    assert not (tmp_path / "copied").samefile(source)
    assert (tmp_path / "copied").read_text(encoding="utf-8") == "pixels"


def test_files_and_folders_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    for name in ("new.csv", "old.csv"):
        (tmp_path / name).touch()
    for name in ("method", "dropped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    keep_only(tmp_path, {"new.csv", "method"})
    assert {path.name for path in tmp_path.iterdir()} == {"new.csv", "method"}
    assert (tmp_path / "method" / "a.png").exists()


DEAD = 4_194_304  # above the largest number that Linux gives a process (PID_MAX_LIMIT)


def test_what_a_killed_process_was_about_to_write_is_removed(tmp_path: Path) -> None:
    for name in (f".a.{HOST}-{DEAD}.partial.csv", f".b.{HOST}-{DEAD}.partial"):
        (tmp_path / name).touch()
    others = {f".a.{HOST}-{os.getppid()}.partial.csv", f".a.elsewhere-{DEAD}.partial.csv", ".x.csv"}
    for name in others:
        (tmp_path / name).touch()
    write_json(tmp_path / "out.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {*others, "out.json"}


def test_a_file_that_a_killed_process_was_writing_is_recognised(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from stages.config.writing import replacing\n"
        "with replacing(Path(sys.argv[1])) as partial:\n"
        "    partial.touch(); os.kill(os.getpid(), 9)"
    )
    place = str(tmp_path / "out.json")
    done = subprocess.run([sys.executable, "-c", code, place], cwd=REPOSITORY, check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    write_json(tmp_path / "out.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


REPOSITORY = Path(__file__).parents[2]
KINDS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG)


@pytest.mark.parametrize("at", ["fsync", "replace", "mkdir"])
@pytest.mark.parametrize("kind", KINDS, ids=errno.errorcode.get)
def test_a_machine_that_does_not_take_a_file_is_told_of_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, at: str
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before", encoding="utf-8")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(kind, os.strerror(kind), str(path.parent))

    monkeypatch.setattr(Path if at == "mkdir" else os, at, refuse)
    with pytest.raises(UserError) as caught, replacing(path) as partial:
        partial.write_text("after", encoding="utf-8")
    assert str(caught.value).startswith(f"{path}: cannot be written ({os.strerror(kind)}); ")
    assert len(str(caught.value).splitlines()) == 1
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_what_a_block_reads_is_not_taken_for_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), replacing(tmp_path / "out.npy"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/picture.png")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_the_results_before_are_as_they_were(tiny_disk: Path) -> None:
    write_json(tiny_disk / "a.json", {"a": 1})
    for path, content in ((tiny_disk / "a.json", "x" * 10**6), (tiny_disk / "b.json", "x" * 10**6)):
        said = r"json: cannot be written \(No space left on device\); make room on the disk"
        with pytest.raises(UserError, match=said):
            write_json(path, content)
    assert json.loads((tiny_disk / "a.json").read_text(encoding="utf-8")) == {"a": 1}
    assert [path.name for path in tiny_disk.iterdir()] == ["a.json"]


# ---- folders that are replaced as a whole ----------------------------------------------------


def fill(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def contents_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_a_folder_is_there_when_its_block_ends_well_and_what_stood_there_is_gone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "deep" / "out"
    with replacing_folder(folder, ["a", "b"]) as partial:
        fill(partial, a="1", b="2")
        assert not folder.exists()
    with replacing_folder(folder, ["a", "b"]) as partial:
        fill(partial, a="3")
        assert contents_of(folder) == {"a": "1", "b": "2"}
    assert contents_of(folder) == {"a": "3"}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "out", a="before")

    def fail(partial: Path) -> None:
        fill(partial, a="half of")
        raise KeyError("interrupted")

    with pytest.raises(KeyError), replacing_folder(tmp_path / "out", ["a"]) as partial:
        fail(partial)
    assert contents_of(tmp_path / "out") == {"a": "before"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_other_things_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    fill(tmp_path / "home", **{"a": "1", "thesis\n.txt": "years"})
    with (
        pytest.raises(UserError, match=r"holds 'thesis\\n.txt' and would be replaced as a whole"),
        replacing_folder(tmp_path / "home", ["a"]),
    ):
        raise AssertionError("nothing is to be done")
    assert (tmp_path / "home" / "thesis\n.txt").exists()
    fill(tmp_path, file="1")
    with pytest.raises(UserError, match="is a file"), replacing_folder(tmp_path / "file", []):
        raise AssertionError("nothing is to be done")


def test_a_link_to_a_folder_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "real", a="before")
    (tmp_path / "link").symlink_to("real")
    with replacing_folder(tmp_path / "link", ["a"]) as partial:
        fill(partial, a="after")
    assert (tmp_path / "link").is_symlink()
    assert contents_of(tmp_path / "real") == {"a": "after"}


def test_a_folder_that_a_killed_process_was_filling_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from stages.config.writing import *\n"
        "with replacing_folder(Path(sys.argv[1]), []) as partial:\n"
        "    (partial / 'a').touch(); os.kill(os.getpid(), 9)"
    )
    place = str(tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", code, place], cwd=REPOSITORY, check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    write_json(tmp_path / "out.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_disk_that_does_not_take_a_folder_is_an_error_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(tmp_path / "out", a="before")
    monkeypatch.setattr(os, "fsync", refuse)
    with (
        pytest.raises(UserError, match=r"out: cannot be written .*make room on the disk"),
        replacing_folder(tmp_path / "out", ["a"]) as partial,
    ):
        fill(partial, a="after")
    assert contents_of(tmp_path / "out") == {"a": "before"}
    long = tmp_path / ("n" * 254)
    with pytest.raises(UserError, match="shorter name"), replacing_folder(long, []):
        raise AssertionError("nothing is to be done")
