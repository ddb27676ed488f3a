"""Entries are added to params.yaml as lines; nothing else of the file changes."""

import difflib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.adoption.params_text import write_entry
from stages.config.errors import UserError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
ENTRY = {
    "source": {"kind": "folder", "path": "/data/a: b #c"},
    "classes": {"normal": ["Normal", "1", "true", "010", "no", "2020-01-01", "a\u202eb", "a, b"]},
    "ignore": [],
    "implies": {},
    "table": None,
    "group": {"kind": "pattern", "pattern": r"^(?:(p\d+)_|'x\"y')", "patients_per_class": False},
    "size_px": 224,
    "provenance": "to be filled in: who, where",
}


def read(text: str) -> dict:  # type: ignore[type-arg]
    return YAML(typ="safe").load(text)


def changes(before: str, after: str) -> set[str]:
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return {line[0] for line in lines} - {" "}


@pytest.mark.parametrize("section", ["datasets", "views", "weights", "cases", "external", "cam"])
def test_an_entry_is_read_back_and_all_other_lines_stay(section: str) -> None:
    text = write_entry(TEXT, section, "mine", ENTRY, {"classes": "Images: 3.\nA second line."})
    assert changes(TEXT, text) == {"+"}
    before, after = read(TEXT), read(text)
    assert after[section].pop("mine") == ENTRY
    assert after == before
    assert "    # Images: 3.\n    # A second line.\n    classes:" in text


def test_it_comes_behind_the_last_entry_and_before_the_comment_of_the_next_section() -> None:
    lines = write_entry(TEXT, "datasets", "mine", {"a": 1}).splitlines()
    place = lines.index("  mine:")
    assert lines[place - 1] == "    licence: that of this repository"
    assert lines[place + 1 : place + 4] == ["    a: 1", "", lines[place + 3]]
    assert lines[place + 3].startswith("# crop:")


def test_in_one_line_it_looks_like_its_neighbours() -> None:
    view = {"dataset": "mine", "crop": {"kind": "none"}, "size_px": 128, "fit": "letterbox"}
    text = write_entry(TEXT, "views", "mine-full", view, in_one_line=True)
    line = "  mine-full: {dataset: mine, crop: {kind: none}, size_px: 128, fit: letterbox}\n"
    assert line in text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n  x: 1\n", "a:\n  x: 1\n  n:\n    k: 1\n"),
        ("a:\n    x: 1", "a:\n    x: 1\n    n:\n      k: 1\n"),  # no line end; four columns
        ("a:\r\n  x: 1\r\nb: 2\r\n", "a:\r\n  x: 1\r\n  n:\r\n    k: 1\r\nb: 2\r\n"),
        ("a: {}\nb: 2\n", "a:\n  n:\n    k: 1\nb: 2\n"),
        ("a: {} # none yet\n", "a: # none yet\n  n:\n    k: 1\n"),
        ("b: 2\n", "b: 2\na:\n  n:\n    k: 1\n"),
        ("a:\n  x: >-\n    long\n    text\n\n# of b\nb: 2\n",) * 2,
        ("a:\n  x: [1,\n    2] # two\n  # of nothing\nb: 2\n",) * 2,
    ],
)
def test_files_of_other_layouts(before: str, after: str) -> None:
    text = write_entry(before, "a", "n", {"k": 1})
    if after != before:
        assert text == after
    assert read(text)["a"]["n"] == {"k": 1}
    assert {k: v for k, v in read(text).items() if k != "a"} == {
        k: v for k, v in read(before).items() if k != "a"
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n  n: 1\n", "a.n: is there already"),
        ("a: {x: 1}\n", "one below the other"),
        ("a: 1\n", "no mapping of entries"),
        ("a: [\n", "not valid YAML"),
        ("- 1\n", "no mapping of sections"),
        ("", "no mapping of sections"),
    ],
)
def test_what_cannot_take_an_entry_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        write_entry(text, "a", "n", {"k": 1})
