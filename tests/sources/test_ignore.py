import logging
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.sources.ignore import Decision, Ignore
from tests.sources.trees import listed, paths, put

MATCHES = [
    # entry, matches, does not
    ("masks", ["masks/", "COVID/P1/masks/", "COVID/masks"], ["xmasks/", "COVID/masks/a.png"]),
    ("masks/", ["COVID/masks/"], ["COVID/masks"]),
    ("COVID/masks", ["COVID/masks/", "set/COVID/masks/"], ["Normal/masks/", "xCOVID/masks/"]),
    ("./COVID/masks/", ["COVID/masks/"], ["COVID/masks", "Normal/masks/"]),
    ("/masks", ["masks/"], ["COVID/masks/"]),
    ("*_mask.png", ["COVID/a_mask.png", "a_mask.png"], ["COVID/a.png", "COVID/a_mask.jpg"]),
    ("*.txt", ["COVID/notes.txt"], ["COVID/notes.txt.png"]),
    ("COVID/*.txt", ["COVID/a.txt", "set/COVID/a.txt"], ["Normal/a.txt", "COVID/P1/a.txt"]),
    ("COVID/**/*.txt", ["COVID/a.txt", "COVID/P1/a.txt"], ["Normal/a.txt"]),
    ("P?", ["COVID/P1/"], ["COVID/P10/"]),
    ("[oO]ld*", ["Old stuff/", "COVID/old/"], ["bold/"]),
    ("Old [2020]", ["Old [2020]/", "COVID/Old [2020]/"], ["x/"]),  # as it is written, too
    ("#1", ["COVID/#1/"], ["COVID/1/"]),
    ("lung masks ", ["COVID/lung masks /"], []),
    ("a+b (1)", ["a+b (1)/"], ["aab (1)/"]),
    ("Pat\u00e9", ["Pate\u0301/", "Pat\u00e9/"], []),
    ("*", ["a", "a/b/"], []),
]


@pytest.mark.parametrize(("entry", "matches", "others"), MATCHES)
def test_an_entry_is_a_name_a_path_or_a_pattern(
    entry: str, matches: list[str], others: list[str]
) -> None:
    ignore = Ignore([entry])
    assert [ignore.find(path) for path in matches] == [Decision(entry, False)] * len(matches)
    assert [ignore.find(path) for path in others] == [None] * len(others)


def test_the_last_entry_that_matches_decides() -> None:
    ignore = Ignore(["P*", "!P1", "P1/old"])
    assert ignore.find("COVID/P2/") == Decision("P*", False)
    assert ignore.find("COVID/P1/") == Decision("!P1", True)
    assert ignore.find("COVID/P1/old/") == Decision("P1/old", False)


def test_a_folder_that_is_kept_does_not_keep_what_lies_in_it() -> None:
    assert Ignore(["!images"]).find("COVID/images/masks/") is None
    assert Ignore(["!*"]).find("COVID/images/masks/") == Decision("!*", True)


@pytest.mark.parametrize("entry", ["", " ", "/", "!", "!/", "a\\"])
def test_what_can_match_nothing_is_refused(entry: str) -> None:
    with pytest.raises(UserError, match=r"^ignore: got .*allowed: a name, a path inside the sou"):
        Ignore([entry])


def test_files_and_folders_are_left_out_by_pattern_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "COVID/a_mask.png", "COVID/notes.txt", "COVID/P1/old/b.png")
    put(tmp_path, "Normal/c.png", "Normal/old/d.png", "Normal/c_mask.png")
    listing = listed(tmp_path, "*_mask.*", "*.txt", "COVID/P1/old")
    assert [item.source_path for item in listing.items] == [
        "COVID/a.png",
        "Normal/c.png",
        "Normal/old/d.png",
    ]
    assert [tuple(out) for out in listing.left_out] == [
        ("COVID/P1/old/", "ignored by 'COVID/P1/old'", 1),
        ("COVID/a_mask.png", "ignored by '*_mask.*'", 1),
        ("COVID/notes.txt", "ignored by '*.txt'", 1),
        ("Normal/c_mask.png", "ignored by '*_mask.*'", 1),
    ]


def test_a_pattern_takes_no_part_of_a_class_folder_s_name(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    with pytest.raises(UserError, match=r"ignore: 'COV\*' takes out folder 'COVID' of class 'cov"):
        listed(tmp_path, "COV*")
    assert paths(tmp_path, "COV*", "!COVID", "!Covid-19") == ["COVID/a.png", "Normal/c.png"]


def test_an_entry_that_matches_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "COVID/a.png", "COVID/old/b.png", "Normal/c.png")
    with caplog.at_level(logging.WARNING):
        listed(tmp_path, "old", "masks", "!b.*", "COVID\\x")
    assert [record.getMessage() for record in caplog.records] == [
        f"ignore: 'masks' matches nothing in {tmp_path}",
        f"ignore: '!b.*' matches nothing in {tmp_path}",  # b.png lies in what is left out
        f"ignore: 'COVID\\\\x' matches nothing in {tmp_path}; folders in a path are divided by /",
    ]
