from collections.abc import Sequence
from itertools import zip_longest

import pytest

from stages.config.errors import UserError
from stages.config.params import NoGroup, PatternGroup, TableGroup
from stages.sources.item import RawImage, SourceItem
from stages.sources.patients import Named, name_patients

FILES = ("COVID/ct-P0041-3.png", "COVID/b.png", "Normal/sub/x.y.png")


def items(*files: str, patients: Sequence[str | None] = ()) -> list[SourceItem]:
    """Images whose class is the folder they stand in."""
    return [
        SourceItem(file, file.partition("/")[0], None, patient, "", lambda: RawImage(b""))
        for file, patient in zip_longest(files, patients)
    ]


def pattern_group(pattern: str, *, patients_per_class: bool = False) -> PatternGroup:
    return PatternGroup(kind="pattern", pattern=pattern, patients_per_class=patients_per_class)


def patients_of(named: Named) -> list[str | None]:
    return [item.patient_id for item in named.items]


def test_without_a_group_nobody_is_known() -> None:
    named = name_patients(items(*FILES), NoGroup(kind="none"))
    assert patients_of(named) == [None, None, None]


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"P(\d+)", "0041"),
        (r"P\d+", "P0041"),
        (r"^scan_(\w)|P(\d+)", "0041"),  # the group that took part
    ],
)
def test_the_patient_is_searched_in_the_file_name(pattern: str, patient: str) -> None:
    named = name_patients(items(*FILES), pattern_group(pattern))
    assert patients_of(named) == [patient, None, None]
    assert [item.source_path for item in named.items] == list(FILES)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d*)",  # matches emptily at the start
        r"Q(\d+)",
        r"Q(\d+)/",
        r"COVID",  # the folder is not searched
    ],
)
def test_a_pattern_that_names_nobody_is_refused(pattern: str) -> None:
    with pytest.raises(
        UserError, match=r"names the patient of none of 3 images.*group to \{kind: none\}$"
    ):
        name_patients(items(*FILES), pattern_group(pattern))


FOLDERS = ("COVID/patient01/1.png", "COVID/patient02/1.png", "Normal/patient03/s2/1.png")


def patients_by_pattern(pattern: str, *files: str) -> list[str | None]:
    return patients_of(name_patients(items(*files), pattern_group(pattern)))


@pytest.mark.parametrize(
    "pattern",
    [r"patient(\d+)/", r"^[^/]+/patient(\d+)/", r"/\w+?(\d+)/", r"/patient(\d+)/.*1\.png$"],
)
def test_a_pattern_with_a_slash_is_searched_in_the_path(pattern: str) -> None:
    assert patients_by_pattern(pattern, *FOLDERS) == ["01", "02", "03"]


def test_the_file_name_comes_before_the_path() -> None:
    files = ("COVID/P1/P7_1.png", "COVID/P2/x.png")
    assert patients_by_pattern(r"^P(\d+)_|/P(\d+)/", *files) == ["7", "2"]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (r"patient(\d+)", r"(?:^|/)patient(\d+)/"),
        (r"^patient(\d+)$", r"(?:^|/)patient(\d+)/"),
        (r"^(pat)", r"(?:^|/)(pat)[^/]*/"),
        (r"tient(\d+)", r"tient(\d+)/"),
        (r"patient(\d+)|P(\d+)", r"(?:^|/)(?:patient(\d+)|P(\d+))/"),
    ],
)
def test_a_pattern_that_matches_folders_alone_says_what_to_write(pattern: str, wanted: str) -> None:
    with pytest.raises(UserError) as caught:
        patients_by_pattern(pattern, *FOLDERS)
    assert str(caught.value) == (
        f"group.pattern: {pattern!r} names the patient of none of 3 images, such as "
        "'COVID/patient01/1.png'; it is searched in file names alone, but 3 of 3 images have it in "
        f"the name of a folder: to search the path too, write {wanted!r} (with a slash), or set "
        "group to {kind: none}"
    )
    assert all(patients_by_pattern(wanted, *FOLDERS))


def test_images_that_a_pattern_does_not_match_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patients_by_pattern(r"P(\d+)", *FILES)
    assert [record.getMessage() for record in caplog.records] == [
        r"group.pattern: 'P(\\d+)' names no patient of 2 of 3 images, such as 'COVID/b.png'"
    ]


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"group\.pattern: '\(P' is not a regular expression.*none\}$"
    ):
        name_patients(items(*FILES), pattern_group("(P"))


RESTARTED = [f"{label}/p{number}_1.png" for label in ("covid", "normal") for number in range(1, 5)]


def test_a_numbering_that_begins_anew_in_each_class_is_noted_and_said_how_to_declare() -> None:
    named = name_patients(items(*RESTARTED), pattern_group(r"^(p\d+)_"))
    assert len(set(patients_of(named))) == 4
    [note] = named.notes
    assert note.startswith("4 of the 4 patients of the smaller of covid and normal have the id of")
    assert "set group.patients_per_class: true" in note


def test_ids_declared_to_hold_within_a_class_are_other_people_in_another_class() -> None:
    group = pattern_group(r"^(p\d+)_", patients_per_class=True)
    named = name_patients(items(*RESTARTED), group)
    assert len(set(patients_of(named))) == 8
    assert named.notes == []


def test_patients_of_a_table_are_kept_and_can_be_declared_to_hold_within_a_class() -> None:
    found = items(*FILES, patients=["1", "2", "1"])
    plain = name_patients(found, TableGroup(kind="table", patients_per_class=False))
    assert patients_of(plain) == ["1", "2", "1"]
    within = name_patients(found, TableGroup(kind="table", patients_per_class=True))
    assert len(set(patients_of(within))) == 3


def test_a_table_that_names_nobody_is_refused() -> None:
    with pytest.raises(UserError, match=r"^group: the table names the patient of none of 3 images"):
        name_patients(items(*FILES), TableGroup(kind="table", patients_per_class=False))
