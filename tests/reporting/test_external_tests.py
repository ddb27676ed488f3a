from stages.reporting.discussion import DatasetDiscussion
from stages.reporting.external_tests import ExternalTest, build_external_tests
from stages.reporting.results import Results


def build(results: Results, dataset: str) -> list[ExternalTest]:
    discussion = {
        name: DatasetDiscussion(f"data set {name}", [], {}, []) for name in results.datasets
    }
    return build_external_tests(results, dataset, discussion)


def test_an_external_test_says_who_was_tested_on_what(results: Results) -> None:
    [test] = build(results, "ct")
    assert test.name == "elsewhere"
    assert test.facts[0] == (
        "lungs-bce, scored as it is on the data set data set labels, view labels-full: 20 images "
        "of 20 groups. Classes: normal as normal, covid as covid."
    )
    assert test.facts[1] == (
        "10 images are left out, of other classes; 0 are shared with the training data."
    )
    assert build(results, "labels") == []


def test_the_drop_has_both_sides_and_an_interval(results: Results) -> None:
    drop = build(results, "ct")[0].tables[0]
    row = next(row for row in drop.rows if row[0].text == "AUROC")
    assert [cell.text for cell in row] == ["AUROC", "0.800", "0.600", "-0.200"]
    assert row[3].note == "-0.300 to -0.100"


def test_calibration_operating_points_and_confusions_are_shown(results: Results) -> None:
    _, calibration, points, confusion = build(results, "ct")[0].tables
    assert [cell.number for cell in calibration.rows[0][1:3]] == [0.15, 0.02]
    assert [row[0].text for row in points.rows] == ["Youden's index", "specificity of 95 % on val"]
    counts = [[cell.number for cell in row[1:]] for row in confusion.rows]
    assert counts == results.external["elsewhere"]["confusion_matrix"]


def test_the_rows_of_a_case_whose_splits_leak_are_marked(results: Results) -> None:
    results.cases["lungs-bce"].metrics["n_leaking_groups"] = 2
    for table in build(results, "ct")[0].tables[:3]:
        assert all(row[0].text.endswith("†") for row in table.rows), table.caption
