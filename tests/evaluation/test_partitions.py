import numpy as np
import pandas as pd

from stages.dataset.metadata import Column, Metadata
from stages.evaluation.partitions import Partition, partition_rows

IDS = [f"i{number}" for number in range(8)]


def parts_of(
    column: list[float] | list[str], ids: list[str] = IDS, subgroups: list[str] | None = None
) -> list[Partition]:
    kind = "category" if isinstance(column[0], str) else "number"
    metadata = Metadata({"x": Column(kind, 0, [])}, pd.DataFrame({"image_id": IDS, "x": column}))
    rows = pd.DataFrame({"image_id": ids, "subgroup": subgroups or [""] * len(ids)})
    return partition_rows(rows, metadata)


def groups_of(part: Partition) -> list[str]:
    return [part.names[number] for number in part.groups]


def test_numbers_are_cut_at_the_quartiles_of_all_images() -> None:
    [part] = parts_of([10.0, 20, 30, 40, 50, 60, 70, 80.5])
    assert groups_of(part) == [
        *("up to 20", "up to 20", "over 20 to 40", "over 20 to 40"),
        *("over 40 to 60", "over 40 to 60", "over 60", "over 60"),
    ]
    assert (part.title, part.how) == ("x", "at the quartiles of all images")


def test_the_groups_of_a_few_rows_are_those_of_all_images() -> None:
    [part] = parts_of([10.0, 20, 30, 40, 50, 60, 70, 80.5], ids=["i7", "i0", "i0"])
    assert groups_of(part) == ["over 60", "up to 20", "up to 20"]


def test_equal_quartiles_make_fewer_groups() -> None:
    [part] = parts_of([0.0, 0, 0, 0, 0, 1, 2, 3])
    assert groups_of(part) == [*["0"] * 5, "1", "2", "3"]  # four values: each its own
    [part] = parts_of([0.0, 0, 0, 0, 1, 2, 3, 4])
    assert groups_of(part) == [*["up to 0"] * 4, *["over 0 to 2"] * 2, *["over 2"] * 2]


def test_where_most_have_the_largest_number_the_others_are_a_group() -> None:
    [part] = parts_of([1.0, 2, 3, 4, 9, 9, 9, 9])
    assert groups_of(part)[:2] == ["up to 2", "up to 2"]
    column = [1.0, 2, 3, 4, *[9.0] * 40]
    ids = [f"i{number}" for number in range(44)]
    table = pd.DataFrame({"image_id": ids, "x": column})
    rows = pd.DataFrame({"image_id": ids, "subgroup": ""})
    [part] = partition_rows(rows, Metadata({"x": Column("number", 0, [])}, table))
    assert groups_of(part) == [*["up to 4"] * 4, *["over 4"] * 40]


def test_images_of_which_nothing_is_known_are_a_group() -> None:
    [part] = parts_of([np.nan, 20, 30, 40, 50, 60, 70, 80.5])
    assert groups_of(part)[0] == "not known"
    [part] = parts_of(["F", "", "M", "M", "F", "F", "F", "F"])
    assert groups_of(part) == ["F", "not known", "M", "M", "F", "F", "F", "F"]
    assert part.how == "by value"


def test_a_column_of_one_value_or_of_none_makes_no_groups() -> None:
    assert parts_of(["F"] * 8) == []
    assert parts_of([np.nan] * 8) == []


def test_two_numbers_that_look_alike_are_two_groups() -> None:
    [part] = parts_of([1_000_000.25, 1_000_000.5] * 4)
    assert part.names[:2] == ["1000000.25", "1000000.5"]


def test_the_known_stratum_comes_first() -> None:
    strata = ["marker", "no-marker"] * 4
    first, second = parts_of(["F", "M"] * 4, subgroups=strata)
    assert groups_of(first) == strata
    assert first.title == "known stratum"
    assert second.title == "x"


def test_a_copy_is_of_the_group_of_its_image() -> None:
    [part] = parts_of(["F", "M"] * 4, ids=["i0", "i1+copy2", "i0+copy11"])
    assert groups_of(part) == ["F", "M", "F"]
