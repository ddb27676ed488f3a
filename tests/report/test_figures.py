import re

from stages.report.figures import draw_learning_curves, draw_test_curves
from stages.report.results import Results


def test_learning_curves_have_a_panel_per_case_and_quantity(results: Results) -> None:
    svg = draw_learning_curves(results, list(results.cases))
    for case in results.cases:
        assert len(re.findall(rf">{case}<", svg)) == 2
    assert len(re.findall(">loss<", svg)) == len(results.cases)


def test_every_run_has_its_own_line(results: Results) -> None:
    one, five = (draw_learning_curves(results, [case]) for case in ("full-ce", "lungs-folds"))
    for colour in ("#1f77b4", "#ff7f0e"):  # train, val
        lines = re.compile(rf'style="fill: none;[^"]*stroke: {colour}')
        # Four runs more, in two panels.
        assert len(lines.findall(five)) - len(lines.findall(one)) == 8


def test_all_cases_are_in_the_legend_of_the_test_curves(results: Results) -> None:
    cases = ["full-ce", "lungs-bce", "lungs-folds"]
    svg = draw_test_curves(results, cases, "covid")
    assert [len(re.findall(f">{case}<", svg)) for case in cases] == [1, 1, 1]
