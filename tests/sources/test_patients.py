from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.params import NoGroup, PatternGroup, TableGroup
from stages.sources.item import RawImage, SourceItem
from stages.sources.patients import name_patients

FILES = ("COVID/ct-P0041-3.png", "COVID/b.png", "Normal/sub/x.y.png")
TABLE = TableGroup(kind="table", table="m.csv", file="filename", group="patientid")


def items(*files: str) -> list[SourceItem]:
    return [SourceItem(file, "covid", None, None, "", lambda: RawImage(b"")) for file in files]


def patients_by_table(root: Path, *rows: str) -> list[str | None]:
    (root / "m.csv").write_text("\n".join(("patientid,filename", *rows)) + "\n")
    return [item.patient_id for item in name_patients(items(*FILES), TABLE, root)]


def test_without_a_group_nobody_is_known(tmp_path: Path) -> None:
    named = name_patients(items(*FILES), NoGroup(kind="none"), tmp_path)
    assert [item.patient_id for item in named] == [None, None, None]


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"P(\d+)", "0041"),
        (r"P\d+", "P0041"),
        (r"^scan_(\w)|P(\d+)", "0041"),  # the group that took part
    ],
)
def test_the_patient_is_searched_in_the_file_name(
    tmp_path: Path, pattern: str, patient: str
) -> None:
    named = name_patients(items(*FILES), PatternGroup(kind="pattern", pattern=pattern), tmp_path)
    assert [item.patient_id for item in named] == [patient, None, None]
    assert [item.source_path for item in named] == list(FILES)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d*)",  # matches emptily at the start
        r"Q(\d+)",
        r"Q(\d+)/",
        r"COVID",  # the folder is not searched
    ],
)
def test_a_pattern_that_names_nobody_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(
        UserError, match=r"names the patient of none of 3 images.*group to \{kind: none\}$"
    ):
        name_patients(items(*FILES), PatternGroup(kind="pattern", pattern=pattern), tmp_path)


FOLDERS = ("COVID/patient01/1.png", "COVID/patient02/1.png", "Normal/patient03/s2/1.png")


def patients_by_pattern(pattern: str, *files: str) -> list[str | None]:
    group = PatternGroup(kind="pattern", pattern=pattern)
    return [item.patient_id for item in name_patients(items(*files), group, Path())]


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


def test_a_pattern_that_is_no_regular_expression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"group\.pattern: '\(P' is not a regular expression.*none\}$"
    ):
        name_patients(items(*FILES), PatternGroup(kind="pattern", pattern="(P"), tmp_path)


def test_a_table_names_files_by_path_by_name_or_without_ending(tmp_path: Path) -> None:
    rows = ("0007,COVID/ct-P0041-3.png", "8,b.png", "9,x.y")
    assert patients_by_table(tmp_path, *rows) == ["0007", "8", "9"]  # text: no zero is lost


def test_files_that_the_table_lacks_or_leaves_empty_are_of_unknown_patients(
    tmp_path: Path,
) -> None:
    assert patients_by_table(tmp_path, "1,b.png", ",x.y.png") == [None, "1", None]


def test_a_table_that_gives_a_file_two_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gives 1 files more than one patientid.*'b\.png'"):
        patients_by_table(tmp_path, "1,b.png", "2,b.png")


def test_a_row_given_twice_is_no_contradiction(tmp_path: Path) -> None:
    assert patients_by_table(tmp_path, "1,b.png", "1,b.png") == [None, "1", None]


def test_a_table_that_is_missing_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.csv cannot be read .*inside the source"):
        name_patients(items(*FILES), TABLE, tmp_path)
    (tmp_path / "m.csv").write_text("id,filename\n1,b.png\n")
    with pytest.raises(UserError, match="no column 'patientid'; allowed: id, filename"):
        name_patients(items(*FILES), TABLE, tmp_path)


def test_a_table_without_any_of_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"group\.table: 'm\.csv', column 'filename' names"):
        patients_by_table(tmp_path, "1,other.png")
