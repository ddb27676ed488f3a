"""The labels in doubt, as the page shows them."""

import pytest

from stages.reporting.label_errors import LabelSection, build_label_look
from tests.reporting.conftest import Files, Json


def build(files: Files, dataset: str = "ct") -> LabelSection:
    return build_label_look(files.load().datasets[dataset])


def look_of(files: Files, case: str) -> Json:
    found: Json = files.cases[case].report["label_errors"]
    return found


@pytest.fixture
def doubted(files: Files) -> Files:
    """`lungs-bce` tells the labels well."""
    look_of(files, "lungs-bce")["balanced_accuracy"] = 0.9
    return files


def test_who_judged_how_many_and_how_well_stands_in_a_table(files: Files) -> None:
    look_of(files, "full-ce").update(n_judged=30, balanced_accuracy=None, too_few=["covid"])
    table = build(files).table
    cells = [[cell.text for cell in row] for row in table.rows]
    assert cells == [
        ["full-ce", "30", "64", "n/a", "2"],
        ["lungs-bce", "60", "64", "0.600", "2"],
        ["lungs-folds", "60", "64", "0.600", "2"],
        ["plain model on view full", "60", "64", "0.700", "2"],
        ["plain model on view lungs", "60", "64", "0.700", "2"],
    ]
    assert table.rows[0][0].note == "too few images of covid"


def test_where_nobody_tells_the_labels_no_list_is_shown(files: Files) -> None:
    shown = build(files)
    assert shown.images == []
    assert shown.summary.startswith("No list is shown")


def test_the_list_of_the_one_who_tells_the_labels_best_is_shown(doubted: Files) -> None:
    look_of(doubted, "full-ce")["suspected"] = look_of(doubted, "full-ce")["suspected"][:1]
    look_of(doubted, "lungs-folds")["suspected"] = []
    shown = build(doubted)
    assert shown.summary.startswith("lungs-bce tells the given labels best, and doubts 2 of 60;")
    assert [(image.title, image.lines) for image in shown.images] == [
        (
            "labelled normal (0.05), likelier covid (0.95)",
            [file, f"in doubt by {agreeing} of the 4 others"],
        )
        for file, agreeing in (("4.png", 3), ("0.png", 2))
    ]
    assert all(image.uri.startswith("data:image/webp;base64,") for image in shown.images)


def test_no_more_than_ten_are_shown(doubted: Files) -> None:
    look = look_of(doubted, "lungs-bce")
    look["suspected"] = [look["suspected"][0] | {"image_id": f"i{n:03d}"} for n in range(12)]
    shown = build(doubted)
    assert len(shown.images) == 10
    assert "doubts 12 of 60" in shown.summary


def test_a_model_that_doubts_nothing_is_said_to(doubted: Files) -> None:
    look_of(doubted, "lungs-bce")["suspected"] = []
    shown = build(doubted)
    assert shown.images == []
    assert shown.summary == "lungs-bce, which tells the given labels best, doubts none of them."


def test_a_data_set_without_cases_is_judged_by_the_plain_models(files: Files) -> None:
    files.leave_out_cases()
    assert [row[0].text for row in build(files, "labels").table.rows] == [
        "plain model on view labels-full"
    ]


def test_a_data_set_without_views_is_judged_by_nobody(files: Files) -> None:
    files.leave_out_cases()
    views = {name: view for name, view in files.params.views.items() if view.dataset != "labels"}
    files.update_params(views=views)
    shown = build(files, "labels")
    assert (shown.table.rows, shown.images) == ([], [])
    assert shown.summary == "No view of this data set is named: nobody judged its labels."
