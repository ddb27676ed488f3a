from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.sources.table_file import TableFile, read_column_names, read_table_file

TEXT = "name,who,age\na.png,0012,41\nb.png,7,\n"


def read(
    folder: Path, content: bytes | str, columns: tuple[str, ...] = ("name", "who")
) -> TableFile:
    path = folder / "m.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table_file(path, columns, "table.path: 'm.csv'")


def cells(table: TableFile) -> list[list[str]]:
    found: list[list[str]] = table.rows.to_numpy().tolist()
    return found


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_text_is_read_in_its_encoding_which_is_said(
    tmp_path: Path, encoding: str, said: str
) -> None:
    table = read(tmp_path, TEXT.replace("0012", "Jos\u00e9").encode(encoding))
    assert cells(table) == [["a.png", "Jos\u00e9"], ["b.png", "7"]]
    assert table.read_as == f"{said}, cells separated by commas"


@pytest.mark.parametrize(
    ("separator", "said"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_the_separator_is_the_one_that_gives_the_columns(
    tmp_path: Path, separator: str, said: str
) -> None:
    table = read(tmp_path, TEXT.replace(",", separator))
    assert cells(table) == [["a.png", "0012"], ["b.png", "7"]]  # numbers stay text
    assert table.read_as == f"utf-8, cells separated by {said}"


def test_commas_in_other_columns_do_not_hide_the_separator(tmp_path: Path) -> None:
    table = read(tmp_path, "name;who;findings, first, second, third\na.png;1;x,y\n")
    assert cells(table) == [["a.png", "1"]]


def test_the_separator_that_excel_states_is_taken(tmp_path: Path) -> None:
    assert cells(read(tmp_path, "sep=;\nname;who\na.png;1\n")) == [["a.png", "1"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_quoted_line_breaks_are_told_apart(tmp_path: Path, end: str) -> None:
    text = f'name,who{end}a.png,"1, ""the{end}first"""{end}{end}b.png,2{end}'
    table = read(tmp_path, text)
    assert cells(table) == [["a.png", f'1, "the{end}first"'], ["b.png", "2"]]
    assert table.rows.index.tolist() == [2, 4]  # the empty row counts, as in a spreadsheet


def test_blanks_around_column_names_do_not_matter(tmp_path: Path) -> None:
    assert cells(read(tmp_path, " name , who\na.png,1\n")) == [["a.png", "1"]]


def test_rows_that_end_early_are_noted(tmp_path: Path) -> None:
    table = read(tmp_path, "name,who\na.png\nb.png,2,\n")
    assert cells(table) == [["a.png", ""], ["b.png", "2"]]
    assert table.notes == ["1 rows end before the last column; what they lack is empty"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"is empty; give it column names"),
        (" \n \n", r"is empty"),
        ("name,who\n", r"has column names but no rows"),
        ("name,wo\na.png,1\n", r"has no column 'who' \(did you mean 'wo'\?\); it has: name, wo$"),
        ("Name,who\na.png,1\n", r"has no column 'name' \(did you mean 'Name'\?\)"),
        ("name,who,who\na.png,1,2\n", r"has 2 columns 'who'; rename all but one$"),
        ("name,who\na.png,1,2\n", r"row 2 has 3 cells, but there are 2 column names"),
        ('name,who\na.png,"1\nb.png,2\n', r"line 3: unexpected end of data; close the quote"),
        ('name,who\na.png,"1"2\n', r"line 2: ',' expected after '\"'"),
        (b"PK\x03\x04rest of an xlsx", r"is a spreadsheet \(\.xlsx.*save it as CSV \(UTF-8\)"),
        (b"\xd0\xcf\x11\xe0rest of an xls", r"is a spreadsheet \(\.xls\), no text; save it as CSV"),
        (b"\x1f\x8bx", r"is compressed"),
        (b"name,who\na.png,\x00\x81\n", r"is no text in UTF-8, UTF-16 or cp1252"),
        (b"\xff\xfen\x00a", r"is no text"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(
    tmp_path: Path, content: bytes | str, said: str
) -> None:
    with pytest.raises(UserError, match=rf"^table\.path: 'm\.csv'.*{said}"):
        read(tmp_path, content)


def test_a_table_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.sources.table_file.MAX_BYTES", 10)
    with pytest.raises(UserError, match=r"has 36 bytes; allowed: at most 10$"):
        read(tmp_path, TEXT)


def test_names_of_columns_alone_and_those_that_mean_one_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(" file ;age;age;;x y\na;1;2;;3\n")
    assert read_column_names(path, "t") == ["file", "x y"]
    path.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_column_names(path, "t")
