from collections.abc import Callable
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.params import SourceMetadata
from stages.sources.item import RawImage, SourceItem
from stages.sources.metadata import MetadataListing, list_metadata

FILES = ["covid/a.png", "covid/b.png", "normal/a.png", "normal/c.png"]
KINDS = {"age": "number", "sex": "category"}
Read = Callable[..., MetadataListing]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a table, and gives what it says of the four files."""

    def run(table: str, file: str = "file", **columns: str) -> MetadataListing:
        (tmp_path / "m.csv").write_text(table, encoding="utf-8")
        items = [SourceItem(path, "", None, None, "", lambda: RawImage(b"")) for path in FILES]
        settings = SourceMetadata.model_validate(
            {"table": "m.csv", "file": file, "columns": columns or KINDS}
        )
        return list_metadata(items, settings, tmp_path)

    return run


def test_rows_find_files_as_those_of_the_table_do(read: Read) -> None:
    found = read("file,age,sex\ncovid\\A.PNG,63,F\nb,41.5,M\nnormal/c.jpg,+7e1,F\n")
    assert found.cells == {
        "covid/a.png": {"age": 63.0, "sex": "F"},
        "covid/b.png": {"age": 41.5, "sex": "M"},
        "normal/c.png": {"age": 70.0, "sex": "F"},
    }


def test_a_category_has_one_spelling_and_words_for_not_known_are_none(read: Read) -> None:
    found = read("file,k\nb,F \nc, f\ncovid/a.png,n/a\nnormal/a.png,2.0\n", k="category")
    assert [found.cells[file]["k"] for file in FILES] == [None, "F", "2", "F"]


def test_cells_that_are_no_number_are_missing_counted_and_named(read: Read) -> None:
    table = "file,age,sex\nb,058Y,F\nc,,M\ncovid/a.png,nan,F\nnormal/a.png,40,\n"
    found = read(table)
    assert [found.cells[file]["age"] for file in FILES] == [None, None, 40.0, None]
    assert found.columns["age"] == ("number", 1, ["058Y"])
    assert found.columns["sex"] == ("category", 0, [])
    assert found.notes[-1] == (
        "metadata: 1 cells of age are no number, such as '058Y'; they are taken as missing"
    )


@pytest.mark.parametrize("cell", ["1_000", "inf", "1e13", "1,5", "0x1f", "1.2.3", "\u0661x"])
def test_what_python_or_nobody_takes_for_a_number_is_none_here(read: Read, cell: str) -> None:
    found = read(f'file,age,sex\nb,"{cell}",F\nc,5,F\n')
    assert found.cells["covid/b.png"]["age"] is None
    assert found.columns["age"].n_unusable == 1


def test_images_without_a_row_and_rows_without_a_file_are_counted(read: Read) -> None:
    found = read("file,age,sex\nb,1,F\na.png,2,F\nz,3,F\n")
    assert list(found.cells) == ["covid/b.png"]
    assert found.notes == [
        "metadata: m.csv is read as utf-8, cells separated by commas",
        "metadata: 3 of 4 files have no row, such as 'covid/a.png'; nothing is known of them",
        "metadata: 2 of 3 rows name no file, or several, such as 'a.png'",
    ]


def test_a_column_in_which_nothing_is_known_stays(read: Read) -> None:
    found = read("file,age,sex\nb,,\nc,-,NA\n")
    assert found.cells["covid/b.png"] == {"age": None, "sex": None}
    assert found.columns["age"].n_unusable == 0


def test_two_rows_of_one_file_may_say_the_same(read: Read) -> None:
    assert read("file,age,sex\nb,1,F\nB,1.0,f\n").cells == {"covid/b.png": {"age": 1.0, "sex": "F"}}


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        (
            "file,age,gender\nb,1,F\n",
            {"ages": "number"},
            r"^metadata\.table: 'm\.csv' has no column 'ages' \(did you mean 'age'\?\); it has: "
            r"file, age, gender$",
        ),
        (
            "file,view\nb,PA\nc,\n",
            {"view": "number"},
            r"^metadata\.columns\.view: got number, but none of 1 cells is one, such as 'PA'; "
            r"allowed here: category$",
        ),
        (
            "file,k\nz,PA\n",
            {"k": "category"},
            r"^metadata\.file: column 'file' names none of 4 files, such as 'covid/a\.png'; row 2 "
            r"says 'z'; name another column, or correct the table$",
        ),
        (
            "file,k\nb,PA\nB,AP\n",
            {"k": "category"},
            r"^metadata: rows 2 and 3 are both of 'covid/b\.png' and differ in k: 'PA' and 'AP'; "
            r"leave one row per file$",
        ),
    ],
)
def test_metadata_that_means_nothing_is_refused(
    read: Read, table: str, columns: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read(table, **columns)


def test_a_table_that_is_not_there_is_looked_for(read: Read, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "n.csv").write_text("file,age\n")
    settings = SourceMetadata(table="n.csv", file="file", columns={"age": "number"})
    with pytest.raises(UserError, match=r"^metadata\.table: 'n\.csv': .*; found deep/n\.csv$"):
        list_metadata([], settings, tmp_path)
