import json
import os
from pathlib import Path

import pandas as pd
import pytest

from stages.config.writing import keep_only, link_or_copy, replacing, write_csv, write_json


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
