"""Any text comes back from a table as it went in."""

from pathlib import Path

import pandas as pd
import pytest

from stages.config.csv_file import read_csv
from stages.config.writing import write_csv
from tests.hostile_names import HOSTILE_TEXTS


def test_there_are_many_kinds_of_hostile_text() -> None:
    assert len(set(HOSTILE_TEXTS)) >= 40


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_text_alone_comes_back(tmp_path: Path, text: str) -> None:
    table = pd.DataFrame({"file": [text, "next.png"], "n": [1, 2]})
    write_csv(tmp_path / "table.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "table.csv", {"file": str}), table)


def test_all_texts_of_one_table_come_back_in_cells_and_heads(tmp_path: Path) -> None:
    texts = list(HOSTILE_TEXTS)
    heads = [text for text in texts if text]
    table = pd.DataFrame([heads, heads[::-1]], columns=heads)
    write_csv(tmp_path / "wide.csv", table)
    back = read_csv(tmp_path / "wide.csv", str)
    assert back.columns.tolist() == heads
    assert back.to_numpy().tolist() == [heads, heads[::-1]]
    write_csv(tmp_path / "long.csv", pd.DataFrame({"file": texts}))
    assert read_csv(tmp_path / "long.csv", str)["file"].tolist() == texts


def test_numbers_stay_numbers_beside_text_with_carriage_returns(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a\rb", "1"], "whole": [1, 2], "half": [0.5, 0.25]})
    write_csv(tmp_path / "table.csv", table)
    back = read_csv(tmp_path / "table.csv", {"text": str})
    assert back["whole"].tolist() == [1, 2]
    assert back["half"].tolist() == [0.5, 0.25]
    assert back["text"].tolist() == ["a\rb", "1"]


def test_a_table_without_carriage_returns_is_quoted_where_it_has_to_be(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", pd.DataFrame({"a": ["x", "y,z"], "b": [1, None]}))
    assert (tmp_path / "table.csv").read_bytes() == b'a,b\nx,1.0\n"y,z",\n'
