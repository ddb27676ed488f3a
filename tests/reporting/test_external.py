import pytest

from stages.reporting.external import ExternalTest, build_external_test, describe_external
from stages.reporting.results import Results
from tests.reporting.conftest import PREVALENCES, Files, Json


def build(results: Results) -> ExternalTest:
    found = results.external["elsewhere"]
    case = results.cases["lungs-bce"]
    return build_external_test("elsewhere", found, case, "the labels", PREVALENCES)


def test_an_external_test_says_who_was_tested_on_what(results: Results) -> None:
    test = build(results)
    assert test.name == "elsewhere"
    assert test.facts[0] == (
        "lungs-bce, scored as it is on the data set the labels, view labels-full: 20 images "
        "of 20 groups. Classes: normal as normal, covid as covid."
    )
    assert test.facts[1] == (
        "10 images are left out, of other classes; 0 that the case's own data set has too (its "
        "train, val and test images) are left out as well. Looked for were equal files, and "
        "pictures that look the same."
    )


def test_pictures_that_both_data_sets_have_are_shown_by_name(files: Files) -> None:
    found = files.external["elsewhere"]
    copy = {"file": "there/b.png", "own_file": "own/b.jpg", "kind": "near", "change": "flipped"}
    found["shared"] = [
        {"file": "there/a.png", "own_file": "own/a.png", "kind": "bytes", "change": "same"},
        *[copy] * 20,
    ]
    found["n_shared_with_training"] = 21
    test = build(files.load())
    table = test.tables[-1]
    assert "21 pictures" in table.caption
    assert "the first 20" in table.caption
    assert len(table.rows) == 20
    assert [[cell.text for cell in row] for row in table.rows[:2]] == [
        ["there/a.png", "own/a.png", "the same file"],
        ["there/b.png", "own/b.jpg", "looks the same, flipped"],
    ]
    assert "21 that the case's own data set has too" in test.facts[1]


def test_a_search_by_bytes_alone_is_said(files: Files) -> None:
    files.external["elsewhere"]["bytes_alone_of"] = ["ct"]
    said = build(files.load()).facts[1]
    assert said.endswith(
        "near_duplicates is false of ct: changed copies may be among those scored."
    )


def test_the_drop_has_both_sides_and_an_interval(results: Results) -> None:
    drop = build(results).tables[0]
    row = next(row for row in drop.rows if row[0].text == "AUROC")
    assert [cell.text for cell in row] == ["AUROC", "0.800", "0.600", "-0.200"]
    assert row[3].note == "-0.300 to -0.100"


def test_calibration_operating_points_and_confusions_are_shown(results: Results) -> None:
    _, calibration, of_classes, points, confusion = build(results).tables
    assert [cell.number for cell in calibration.rows[0][1:3]] == [0.15, 0.02]
    assert [row[0].text for row in points.rows] == [
        *("Youden's index", "specificity of 90 % on val", "specificity of 95 % on val"),
        *("sensitivity of 90 % on val", "sensitivity of 95 % on val"),
    ]
    assert [cell.number for cell in of_classes.rows[0][2:]] == [0.3, 0.3, 0.6, 0.9]
    counts = [[cell.number for cell in row[1:]] for row in confusion.rows]
    assert counts == results.external["elsewhere"].confusion_matrix


def test_the_rows_of_a_case_whose_splits_leak_are_marked(files: Files) -> None:
    files.cases["lungs-bce"].metrics["n_leaking_groups"] = 2
    for table in build(files.load()).tables[:4]:
        assert all(row[0].text.endswith("†") for row in table.rows), table.caption


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (
            {},
            "AUROC 0.600 there and 0.800 on its own test images, a difference of -0.200 (95 % "
            "interval -0.300 to -0.100), settled as lower.",
        ),
        ({"difference": -0.2, "low": -0.4, "high": 0.1}, "-0.400 to +0.100), not settled."),
        ({"external": 0.9, "low": 0.05, "high": 0.2}, "+0.050 to +0.200), settled as higher."),
        ({"difference": None, "low": None, "high": None}, "AUROC is not compared."),
    ],
)
def test_a_drop_is_settled_where_its_interval_excludes_zero(
    files: Files, drop: Json, said: str
) -> None:
    files.external["elsewhere"]["drop"]["auroc"] |= drop
    results = files.load()
    found, case = results.external["elsewhere"], results.cases["lungs-bce"]
    sentence = describe_external("elsewhere", found, case, "the labels")
    assert sentence.startswith(
        "External test elsewhere: lungs-bce as it is on 20 images (20 groups) of the labels; left "
        "out are 10 of other classes and 0 that its own data set has too: balanced accuracy 0.600 "
        "there and 0.800 on its own test images, a difference of -0.200 (95 % interval -0.300 to "
        "-0.100), settled as lower; AUROC "
    )
    assert sentence.endswith(said)
