from typing import Any

import pandas as pd
import pytest

from stages.config.params import NoGroup, PatternGroup, SourceTable, TableGroup, WindowGrey
from stages.reporting.data import build_data_card, describe_grouping, describe_reference
from stages.reporting.results import Results
from stages.reporting.table import Table
from tests.reporting.conftest import Files


def by_caption(tables: list[Table], start: str) -> Table:
    [table] = [table for table in tables if table.caption.startswith(start)]
    return table


def facts(table: Table) -> dict[str, str]:
    return {name.text: value.text for name, value in table.rows}


def test_a_data_set_says_where_it_comes_from(results: Results) -> None:
    shown = facts(by_caption(build_data_card(results.datasets["labels"]), "Data card"))
    assert shown["source"] == "data/raw"
    assert (shown["provenance"], shown["licence"]) == ("made up for the tests", "CC0")
    assert (shown["images"], shown["modality"]) == ("files", "X-ray")
    assert shown["reference standard"].startswith("the class folder")
    drawn = facts(by_caption(build_data_card(results.datasets["ct"]), "Data card"))
    assert "phantoms" in drawn["images"]
    assert drawn["reference standard"] == "the class that each image was drawn for"


def test_images_and_groups_are_counted_per_split(results: Results) -> None:
    table = by_caption(build_data_card(results.datasets["labels"]), "Images per class")
    assert table.columns == ["class", "train", "val", "test"]
    counts = {row[0].text: [cell.number for cell in row[1:]] for row in table.rows}
    assert counts == {
        "normal": [3, 2, 5],
        "pneumonia": [3, 2, 5],
        "covid": [3, 2, 5],
        "groups": [9, 6, 15],
    }


def test_a_class_that_a_split_lacks_counts_nought(files: Files) -> None:
    found = files.datasets["labels"]
    found.manifest = found.manifest[found.manifest["split"] == "train"]
    table = by_caption(build_data_card(files.load().datasets["labels"]), "Images per class")
    assert [cell.number for cell in table.rows[0][1:]] == [3, 0, 0]


def test_rejected_files_are_counted_by_reason(results: Results) -> None:
    table = by_caption(build_data_card(results.datasets["ct"]), "Files rejected")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["cut short", "1", "c.jpg"],
        ["not an image", "2", "a.png"],
    ]
    captions = [table.caption for table in build_data_card(results.datasets["labels"])]
    assert not any(caption.startswith("Files rejected") for caption in captions)


def test_odd_pictures_are_counted_by_what_is_odd(results: Results) -> None:
    card = build_data_card(results.datasets["ct"])
    shown = facts(by_caption(card, "Data card"))
    assert shown["to be looked at"] == "2 nearly blank, 1 likely inverted"
    table = by_caption(card, "Pictures to be looked at")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["likely inverted: air is white", "1", "f.jpg"],
        ["nearly blank", "2", "d.png"],
    ]
    other = build_data_card(results.datasets["labels"])
    assert facts(by_caption(other, "Data card"))["to be looked at"] == "none"
    assert not any(table.caption.startswith("Pictures to be") for table in other)


def test_black_and_white_of_deep_pictures_are_said(files: Files) -> None:
    def shown() -> str:
        card = build_data_card(files.load().datasets["ct"])
        return facts(by_caption(card, "Data card"))["black and white of deeper pictures"]

    assert shown() == "percentiles 0.5 and 99.5 of each"
    window = WindowGrey(kind="window", low=-1000, high=400)
    entry = files.params.datasets["ct"].model_copy(update={"grey": window})
    files.update_params(datasets=dict(files.params.datasets) | {"ct": entry})
    assert shown() == "values -1000 and 400"


def test_near_duplicates_are_counted(results: Results) -> None:
    shown = facts(by_caption(build_data_card(results.datasets["ct"]), "Groups"))
    assert shown["pairs of identical files"] == "1"
    assert shown["pairs of identical pictures in other files"] == "2"
    assert shown["pairs of near-duplicates"] == "3"
    assert shown["clusters of such pictures"] == "5, 11 images in all"
    assert shown["clusters with two labels"] == "1"


def test_pictures_under_two_labels_are_shown_by_name(files: Files) -> None:
    grouping = files.datasets["ct"].grouping
    several = [{"file": f"covid/{number}.png", "label": "covid"} for number in range(5)]
    one = {"file": "normal/z.png", "label": "normal"}
    grouping["two_labels"] = [[*several, one]] * 21
    table = by_caption(
        build_data_card(files.load().datasets["ct"]), "21 pictures that are the same"
    )
    assert "the first 20" in table.caption
    assert len(table.rows) == 20
    assert [cell.text for cell in table.rows[0]] == [
        "1",
        "covid, normal",
        "6",
        "covid: covid/0.png, covid/1.png, covid/2.png, covid/3.png; normal: normal/z.png",
    ]
    grouping["two_labels"] = []
    captions = [table.caption for table in build_data_card(files.load().datasets["ct"])]
    assert not [caption for caption in captions if "two labels" in caption]


def test_patients_of_two_classes_and_unknown_ones_are_counted(files: Files) -> None:
    grouping = files.datasets["ct"].grouping
    grouping |= {"n_patients_of_two_classes": 3, "n_images_of_known_patient": 60}
    shown = facts(by_caption(build_data_card(files.load().datasets["ct"]), "Groups"))
    assert shown["patients of two classes"] == "3 (patients_of_two_classes.csv)"
    assert shown["images of unknown patients"] == "4"


def test_what_is_to_note_of_the_patients_is_shown(files: Files) -> None:
    captions = [table.caption for table in build_data_card(files.load().datasets["ct"])]
    assert not any(caption.startswith("To note") for caption in captions)
    files.datasets["ct"].grouping["notes"] = ["ids begin anew", "read as cp1252"]
    table = by_caption(build_data_card(files.load().datasets["ct"]), "To note")
    assert facts(table) == {"1": "ids begin anew", "2": "read as cp1252"}


def test_how_a_table_and_files_matched_is_counted_by_rule(files: Files) -> None:
    lines = [("a.png", "2", "a.png", "path", ""), ("b.png", "3", "b", "path", "")]
    lines += [("", "4", "z.png", "row without a file", ""), ("c.png", "", "", "file alone", "")]
    columns = ["file", "row", "named", "how", "note"]
    files.datasets["labels"].reconciliation = pd.DataFrame(lines, columns=columns)
    table = by_caption(build_data_card(files.load().datasets["labels"]), "The table's rows")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["path", "2", "a.png"],
        ["file alone", "1", "c.png"],
        ["row without a file", "1", "z.png"],
    ]


def test_labels_of_a_table_are_said_to_come_from_there(files: Files) -> None:
    found = files.load().datasets["labels"]
    columns = {"file": "name", "patient": None, "split": None, "fold": None}
    table = SourceTable(path="m.csv", label="finding", **columns)  # type: ignore[arg-type]
    settings = found.settings.model_copy(update={"table": table})
    assert describe_reference(settings, found.info).startswith("the column finding of m.csv; how")


@pytest.mark.parametrize(
    ("changes", "known", "said"),
    [
        ({}, 64, "patient (from the file name or the source), and near-duplicates"),
        (
            {},
            24,
            "patient (from the file name or the source, known of 24 of 64 images), and "
            "near-duplicates",
        ),
        (
            {"group": TableGroup(kind="table", patients_per_class=False)},
            64,
            "patient (from a table), and near-duplicates",
        ),
        ({"group": NoGroup(kind="none")}, 0, "near-duplicates only: no patient is known"),
        (
            {
                "group": PatternGroup(kind="pattern", pattern="x", patients_per_class=False),
                "near_duplicates": False,
            },
            0,
            "identical pictures only: no patient is known",
        ),
    ],
)
def test_what_makes_a_group_is_said(
    files: Files, changes: dict[str, Any], known: int, said: str
) -> None:
    files.datasets["ct"].grouping["n_images_of_known_patient"] = known
    found = files.load().datasets["ct"]
    assert describe_grouping(found.settings.model_copy(update=changes), found.grouping) == said


def test_groups_that_leak_are_listed_with_their_files(files: Files) -> None:
    files.datasets["ct"].grouping["leaks"] = {
        f"g{number:02d}": {"splits": ["train", "test"], "files": [f"{n}.png" for n in range(6)]}
        for number in range(25)
    }
    table = by_caption(build_data_card(files.load().datasets["ct"]), "†")
    assert "25 groups" in table.caption
    assert "the first 20" in table.caption
    assert len(table.rows) == 20
    assert [cell.text for cell in table.rows[0]] == [
        "g00",
        "train, test",
        "6",
        "0.png, 1.png, 2.png, 3.png",
    ]
