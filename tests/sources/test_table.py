import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Dataset
from stages.sources.folder import tree_items
from stages.sources.item import RawImage, SourceItem
from stages.sources.table import Tabled, apply_table, require_matched
from tests.faults.tables import run

RawParams = dict[str, Any]
Apply = Callable[..., Tabled]

FOLDERS = ["covid/a.png", "covid/b.png", "normal/a.png", "normal/c.png"]
COLUMNS = {"label": None, "patient": None, "split": None, "fold": None}


@pytest.fixture
def dataset_of(tiny_params: RawParams) -> Callable[..., Dataset]:
    """A data set with a table m.csv whose column `file` names files."""

    def change(**columns: object) -> Dataset:
        table = {"path": "m.csv", "file": "file", **COLUMNS, **columns}
        tiny_params["datasets"]["ct"] |= {"table": table, "ignore": ["other", "*|*"]}
        tiny_params["datasets"]["ct"]["classes"] = {
            "normal": ["normal", "0"],
            "covid": ["COVID-19", "1"],
        }
        return parse_params(tiny_params).dataset("ct")

    return change


@pytest.fixture
def apply(tmp_path: Path, dataset_of: Callable[..., Dataset]) -> Apply:
    """Writes a table, and gives what it says of files."""

    def run(table: str, files: list[str], given: str | None = None, **columns: object) -> Tabled:
        (tmp_path / "m.csv").write_text(table, encoding="utf-8")
        labels = [file.partition("/")[0] for file in files]
        items = [
            SourceItem(file, label, given, None, "", lambda: RawImage(b""))
            for file, label in zip(files, labels, strict=True)
        ]
        return apply_table(items, dataset_of(**columns), tmp_path)

    return run


def how(said: Tabled) -> dict[str, list[str]]:
    """Row or file to how it matched and the note."""
    lines = said.reconciliation.itertuples(index=False)
    return {line.row or line.file: [line.file, line.how, line.note] for line in lines}


def test_rows_and_files_are_reconciled_line_by_line(apply: Apply) -> None:
    table = "file,who\ncovid/a.png,1\nB.PNG,NA\nc,3\na.png,4\nz.png,5\n,6\n"
    said = apply(table, [*FOLDERS, "normal/note.txt", "normal/x.png"], patient="who")
    assert said.reconciliation.columns.tolist() == ["file", "row", "named", "how", "note"]
    assert how(said) == {
        "2": ["covid/a.png", "path", ""],
        "3": ["covid/b.png", "name, without case", "patient unknown"],
        "4": ["normal/c.png", "name, without ending", ""],
        "5": ["normal/a.png", "name", ""],  # the other a.png has a row of its own
        "6": ["", "row without a file", ""],
        "7": ["", "row names no file", ""],
        "normal/note.txt": ["normal/note.txt", "neither a row nor the name of an image", ""],
        "normal/x.png": ["normal/x.png", "file without a row", ""],
    }
    patients = [item.patient_id for item in said.items]
    assert patients == ["1", None, "4", "3", None, None]
    assert said.left_out == []


def test_a_row_that_fits_several_files_is_listed_and_given_to_none(apply: Apply) -> None:
    said = apply("file,who\na.png,1\nb.png,2\n", FOLDERS, patient="who")
    lines = how(said)
    assert lines["2"] == ["", "row fits several files", "covid/a.png, normal/a.png"]
    assert lines["covid/a.png"][1:] == ["file without a row", "one of several that fit 'a.png'"]
    assert [item.patient_id for item in said.items] == [None, "2", None, None]


def test_ids_of_a_table_are_one_however_they_are_spelt(apply: Apply) -> None:
    table = "file,who\ncovid/a.png,12\nb.png,12.0\nnormal/a.png, 12 \nc.png,7.0\n"
    said = apply(table, FOLDERS, patient="who")
    assert [item.patient_id for item in said.items] == ["12", "12", "12", "7"]
    assert said.notes[0] == "m.csv is read as utf-8, cells separated by commas"
    assert len(said.notes) == 3  # the float, and the blanks


def test_labels_come_from_the_table_as_the_classes_take_them(apply: Apply) -> None:
    table = "file,finding\n1.png,covid-19 \n2.png,1.0\n3.png,normal\n4.png,0.0\n"
    said = apply(table, [f"{number}.png" for number in range(1, 5)], label="finding")
    assert [item.label for item in said.items] == ["covid", "covid", "normal", "normal"]


def test_files_without_a_usable_label_are_left_out_and_listed(apply: Apply) -> None:
    table = "file,finding\n1.png,1\n2.png,0\n3.png,\n4.png,other\n5.png,Mass|Fluid\n"
    said = apply(table, [*(f"{n}.png" for n in range(1, 7)), "readme.txt"], label="finding")
    assert [item.source_path for item in said.items] == ["1.png", "2.png"]
    assert [out.path for out in said.left_out] == [
        *("3.png", "4.png", "5.png", "6.png", "readme.txt")
    ]
    assert {(out.reason, out.files) for out in said.left_out} == {("no class in the table", 1)}
    lines = how(said)
    assert lines["4"] == ["3.png", "row without a label", "path"]
    assert [lines[row][1] for row in "56"] == ["label to ignore", "label to ignore"]
    assert lines["6.png"][1] == "file without a row"
    assert lines["readme.txt"][1] == "neither a row nor the name of an image"


def test_a_label_that_contradicts_the_folder_is_noted(apply: Apply) -> None:
    table = "file,finding\ncovid/a.png,COVID-19\nnormal/c.png,COVID-19\nnormal/a.png,0\n"
    said = apply(table, FOLDERS, label="finding")
    assert how(said)["3"] == ["normal/c.png", "path", "stands in a folder of normal"]
    assert how(said)["2"][2] == ""


def test_splits_and_folds_come_from_the_table(apply: Apply) -> None:
    table = (
        "file,part,k\ncovid/a.png,Train,0\nb.png,valid,1.0\nnormal/a.png,TESTING,-1\nc.png,,10\n"
    )
    said = apply(table, FOLDERS, split="part", fold="k")
    assert [item.split for item in said.items] == ["train", "val", "test", None]
    assert [item.fold for item in said.items] == ["0", "1", None, "10"]
    assert how(said)["4"][2] == "no fold"


def test_two_rows_of_one_file_may_say_the_same(apply: Apply) -> None:
    said = apply("file,who,x\nb.png,1,5\nB,1.0,6\nc.png,2,7\n", FOLDERS, patient="who")
    assert [how(said)[row][0] for row in "23"] == ["covid/b.png"] * 2
    assert [item.patient_id for item in said.items] == [None, "1", None, "2"]


def test_two_rows_of_one_file_that_differ_are_refused(apply: Apply) -> None:
    said = (
        r"^table: rows 2 and 3 are both of 'covid/b.png' and differ in patient: '1' and '2'; leave "
        r"one row per file$"
    )
    with pytest.raises(UserError, match=said):
        apply("file,who\nb.png,1\nB,2\n", FOLDERS, patient="who")


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        ("file,who\nx,1\n", {}, r"^table\.file: column 'file' names none of 4 files, such as"),
        ("who\n1\n", {}, r"^table\.path: 'm\.csv' has no column 'file'; it has: who$"),
        (
            "file,y\nb,Covid\nc,1\n",
            {"label": "y"},
            r"^table\.label: column 'y' has 'Covid', which belong to no class; classes take "
            r"'normal', '0', 'COVID-19', '1'; add the values to a class or to ignore",
        ),
        ("file,y\nb,1\nc,other\n", {"label": "y"}, r"^classes\.normal: no file has a row with one"),
        ("file,s\nb,dev\n", {"split": "s"}, r"^table\.split: column 's' has 'dev'; allowed: train"),
    ],
)
def test_a_table_that_means_nothing_is_refused(
    apply: Apply, table: str, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        apply(table, FOLDERS, **columns)


def test_a_split_of_the_table_may_not_contradict_the_folder(apply: Apply) -> None:
    with pytest.raises(UserError, match=r"the row of 'covid/b\.png' says train, its folder test"):
        apply("file,part\nb.png,train\n", ["covid/b.png"], given="test", split="part")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/m.csv", r"a path inside the source"),
        ("../m.csv", r"a path inside the source"),
        ("n.csv", r"there is no such file inside the source$"),
        ("", r"there is no such file inside the source$"),
        ("a**.csv", r"there is no such file inside the source$"),
        ("deep/x.csv", r"there is no such file inside the source; found other/x\.csv$"),
    ],
)
def test_the_table_lies_inside_the_source(
    tmp_path: Path, dataset_of: Callable[..., Dataset], path: str, said: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.csv").write_text("file\na\n")
    with pytest.raises(UserError, match=rf"^table\.path: '{re.escape(path)}'.*{said}"):
        apply_table([], dataset_of(path=path), tmp_path)


@pytest.mark.parametrize(
    ("rows", "allowed", "said"),
    [
        ("covid/a.png b.png normal/a.png c.png", 0.0, None),
        ("covid/a.png b.png normal/a.png", 0.25, None),
        (
            "covid/a.png b.png normal/a.png",
            0.24,
            r"^table: 1 of 4 files have no row, or none with a label, such as 'normal/c\.png'; "
            r"allowed: a share of 0\.24 of either \(max_unmatched\), see x; mend the table",
        ),
        ("covid/a.png b.png normal/a.png c.png z.png", 0.2, None),
        (
            "covid/a.png b.png normal/a.png c.png z.png",
            0.1,
            r"^table: 1 of 5 rows name no file, or several, such as 'z\.png'; allowed",
        ),
        ("a.png b.png c.png", 0.5, None),
        ("a.png b.png c.png", 0.3, r"2 of 4 files .* 1 of 3 rows .*such as 'a\.png'"),
    ],
)
def test_more_unmatched_files_or_rows_than_allowed_are_refused(
    apply: Apply, rows: str, allowed: float, said: str | None
) -> None:
    reconciliation = apply("\n".join(["file", *rows.split()]), FOLDERS).reconciliation
    if said is None:
        require_matched(reconciliation, allowed, listed_in="")
        return
    with pytest.raises(UserError, match=said):
        require_matched(reconciliation, allowed, listed_in=", see x")


def test_files_that_are_no_images_by_name_are_not_held_against_the_table(apply: Apply) -> None:
    files = ["1.png", "2.png", "licence.txt", "notes.md"]
    said = apply("file,finding\n1.png,1\n2.png,0\n", files, label="finding")
    require_matched(said.reconciliation, 0.0, listed_in="")


def test_any_tree_of_files_is_listed_with_the_splits_of_its_folders(tmp_path: Path) -> None:
    for file in ("Train/x/1.png", "2.png", "b/test/3.png", ".hidden/4.png", "masks/5.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    found = tree_items(tmp_path, ignore=["masks"])
    assert [(item.source_path, item.split) for item in found.items] == [
        ("2.png", None),
        ("Train/x/1.png", "train"),
        ("b/test/3.png", "test"),
    ]
    assert [out.path for out in found.left_out] == [".hidden/", "masks/"]
    (tmp_path / "Train/test").mkdir()
    (tmp_path / "Train/test/6.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"'Train/test' lies in the splits 'Train' and 'test'; move"
    ):
        tree_items(tmp_path, ignore=["masks"])


def test_harmless_changes_of_a_table_change_nothing_and_others_end_in_one_line() -> None:
    outcomes = run(200, seed=0)  # which asserts both
    assert outcomes["harmless", "same"] == 100
    assert outcomes["other cells", "refused"] > 10
