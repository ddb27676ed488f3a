import pytest

from stages.reporting.measures import (
    build_decision_table,
    build_guide,
    build_recalibration_table,
)
from stages.reporting.results import Results
from stages.reporting.table import Cell
from tests.reporting.conftest import Files, with_ends


def decision(results: Results, case: str = "full-ce") -> dict[str, Cell]:
    table = build_decision_table([results.cases[case]])
    return dict(zip(table.columns, table.rows[0], strict=True))


def test_the_guide_says_what_every_measure_answers_and_what_f1_is() -> None:
    table = build_guide()
    assert all(len(row) == 3 and all(cell.text for cell in row) for row in table.rows)
    notes = {row[1].text: row[2].text for row in table.rows}
    assert "ignores true negatives" in notes["F1"]
    assert "neither proper nor about a decision" in notes["F1"]
    essential = [measure for measure, note in notes.items() if note.startswith("essential")]
    assert len(essential) == 4  # of Van Calster et al. 2025


def test_of_two_classes_the_positive_one_is_calibrated_and_of_three_each(results: Results) -> None:
    table = build_recalibration_table([results.cases[case] for case in ("full-ce", "labels-bce")])
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("full-ce", "covid"),
        *(("labels-bce", name) for name in ("normal", "pneumonia", "covid")),
    ]
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert (shown["slope before"].number, shown["slope after"].number) == (0.6, 0.9)
    assert shown["intercept before"].note == "0.200 to 0.400"


def test_a_slope_without_a_value_says_why(files: Files) -> None:
    found = files.cases["full-ce"].report["calibration"]["before"]["classes"]["covid"]
    found |= dict.fromkeys(("slope", "slope_low", "slope_high"))
    found["undefined"] = {"slope": "needs overlap"}
    table = build_recalibration_table([files.load().cases["full-ce"]])
    cell = dict(zip(table.columns, table.rows[0], strict=True))["slope before"]
    assert (cell.text, cell.note, cell.number) == ("n/a", "needs overlap", None)


def test_net_benefit_stands_beside_that_of_acting_on_all(results: Results) -> None:
    cell = decision(results)["net benefit at 0.25"]
    assert (cell.number, cell.note) == (0.2, "0.100 to 0.300; all: 0.200")


def test_where_acting_is_worth_it_is_by_the_interval_of_the_gain(results: Results) -> None:
    shown = decision(results)
    assert shown["acting pays from (by interval)"].text == "0.25 to 0.5"
    assert shown["acting pays from, 1 % ill"].text == "0.5"  # equal is not more
    assert shown["positives of test"].text == "40.0%"


@pytest.mark.parametrize(
    ("lows", "said"),
    [
        ([None, None, None], "nowhere"),
        ([0.1, 0.0, 0.1], "0.1 and 0.5"),
        ([0.1, 0.1, 0.1], "0.1 to 0.5"),
    ],
)
def test_ranges_of_thresholds_are_named(files: Files, lows: list[float], said: str) -> None:
    files.cases["full-ce"].report["decision_curve"]["gain"]["low"] = lows
    assert decision(files.load())["acting pays from (by interval)"].text == said


def test_many_ranges_are_counted(files: Files) -> None:
    curve = files.cases["full-ce"].report["decision_curve"]
    curve["threshold"] = [0.1, 0.2, 0.25, 0.3, 0.5]
    for columns in (curve["net_benefit"], curve["gain"]):
        columns |= {key: [0.1, -0.1, 0.1, -0.1, 0.1] for key in columns}
    curve["treat_all"] = [0.0] * 5
    curve["at_prevalences"] = []
    assert (
        decision(files.load())["acting pays from (by interval)"].text == "0.1 to 0.5, with 2 gaps"
    )


def test_costs_stand_in_the_table_where_a_case_has_them(files: Files) -> None:
    assert "expected cost" not in decision(files.load())
    files.cases["full-ce"].metrics |= with_ends(expected_cost=2.5, weighted_kappa=0.4)
    shown = decision(files.load())
    assert (shown["expected cost"].number, shown["weighted kappa"].number) == (2.5, 0.4)
    assert "deciding for the cheapest" not in shown
