from pathlib import Path

import numpy as np
import pytest

from stages.dataset.metadata import Column, Metadata, load_metadata, tabulate_metadata

COLUMNS = {"age": Column("number", 1, ["058Y"]), 'sex, "said"': Column("category", 0, [])}
CELLS = [{"age": 63.5, 'sex, "said"': "F"}, {}, {"age": None, 'sex, "said"': "NA\n1"}]


@pytest.fixture
def metadata() -> Metadata:
    return tabulate_metadata(["a", "007", "c"], CELLS, COLUMNS)


def test_metadata_come_back_as_they_were_written(metadata: Metadata, tmp_path: Path) -> None:
    metadata.save(tmp_path)
    found = load_metadata(tmp_path)
    assert found.columns == COLUMNS
    assert found.table["image_id"].tolist() == ["a", "007", "c"]
    np.testing.assert_array_equal(found.table["age"], [63.5, np.nan, np.nan])
    assert found.table['sex, "said"'].tolist() == ["F", "", "NA\n1"]


def test_without_columns_there_is_a_row_per_image(tmp_path: Path) -> None:
    tabulate_metadata(["a", "b"], [{}, {}], {}).save(tmp_path)
    found = load_metadata(tmp_path)
    assert found.columns == {}
    assert found.table.to_dict("list") == {"image_id": ["a", "b"]}


def test_a_column_in_which_nothing_is_known_is_one_of_numbers_still(tmp_path: Path) -> None:
    tabulate_metadata(["a", "b"], [{}, {}], {"age": COLUMNS["age"]}).save(tmp_path)
    found = load_metadata(tmp_path)
    assert found.table["age"].dtype == np.float64
    assert not found.is_known("age").any()


def test_rows_are_given_in_the_order_asked_for(metadata: Metadata) -> None:
    found = metadata.of_images(["c", "a", "c"])
    assert found.table["image_id"].tolist() == ["c", "a", "c"]
    assert found.is_known("age").tolist() == [False, True, False]
    assert found.is_known('sex, "said"').tolist() == [True, True, True]
