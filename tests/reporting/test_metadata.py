import pandas as pd

from stages.dataset.metadata import Column, tabulate_metadata
from stages.reporting.metadata import build_metadata_table
from stages.reporting.table import Cell, Table


def table_of(cells: list[dict[str, float | str | None]], labels: str) -> Table:
    columns = {"age": Column("number", 2, ["058Y"]), "sex": Column("category", 0, [])}
    metadata = tabulate_metadata([f"i{n}" for n in range(len(cells))], cells, columns)
    return build_metadata_table(metadata, pd.Series([*labels]), ["n", "c"])


def test_each_class_has_its_median_and_its_commonest_values() -> None:
    ages = [40.0, 50.0, 60.0, 70.0, 80.0, None]
    sexes = ["F", "F", "M", "x", "y", ""]
    said = [{"age": a, "sex": s or None} for a, s in zip(ages, sexes, strict=True)]
    age, sex = table_of([*said], "nnnnnc").rows
    assert age[:4] == [Cell("age"), Cell("number"), age[2], Cell("2", "058Y")]
    assert (age[2].number, sex[2].number) == (5, 5)
    assert age[4] == Cell("60 (50 to 70)", "known of 5 of 5")
    assert age[5] == Cell("nothing known", "known of 0 of 1")
    assert sex[4] == Cell("F 40%, M 20%, x 20%, 1 more", "known of 5 of 5")
