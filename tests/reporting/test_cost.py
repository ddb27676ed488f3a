from stages.reporting.cost import build_cost_table
from stages.reporting.results import Results
from stages.reporting.table import Cell
from tests.reporting.conftest import Files
from tests.reporting.test_cases import column


def cost(results: Results, heading: str) -> dict[str, Cell]:
    return column(build_cost_table(results.datasets["ct"].cases), heading)


def test_parameters_operations_and_trainings_of_a_case_stand_in_its_row(results: Results) -> None:
    assert cost(results, "parameters")["full-ce"].text == "99,999"
    assert cost(results, "of them trained")["full-ce"].text == "1,234"
    assert cost(results, "GFLOP per image")["full-ce"].text == "0.0365"
    assert cost(results, "TFLOP of all trainings")["full-ce"].text == "40"
    assert cost(results, "trainings")["lungs-folds"].number == 5


def test_a_case_is_held_against_the_cheapest_one(files: Files) -> None:
    files.cases["full-ce"].training["flop_of_all_runs"] = 16_000_000_000_000
    times = cost(files.load(), "times the cheapest")
    assert [times[name].text for name in ("full-ce", "lungs-bce")] == ["1", "2.5"]


def test_operations_that_could_not_be_counted_are_no_number(files: Files) -> None:
    files.cases["full-ce"].training["flop"]["per_image"] = None
    files.cases["full-ce"].training["flop_of_all_runs"] = None
    results = files.load()
    for heading in ("GFLOP per image", "TFLOP of all trainings", "times the cheapest"):
        assert cost(results, heading)["full-ce"].text == "not counted"
    assert cost(results, "times the cheapest")["lungs-bce"].text == "1"


def test_where_nothing_was_counted_nothing_is_the_cheapest(files: Files) -> None:
    for case in files.cases.values():
        case.training["flop_of_all_runs"] = None
    times = cost(files.load(), "times the cheapest")
    assert {cell.text for cell in times.values()} == {"not counted"}
