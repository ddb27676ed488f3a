import re
from dataclasses import replace

from stages.reporting.figures import (
    COLOURS,
    draw_learning_curves,
    draw_reliability,
    draw_test_curves,
)
from stages.reporting.results import Results


def test_learning_curves_have_a_panel_per_case_and_quantity(results: Results) -> None:
    svg = draw_learning_curves(results, list(results.cases))
    for case in results.cases:
        assert len(re.findall(rf">{case}<", svg)) == 2
    assert len(re.findall(">loss<", svg)) == len(results.cases)


def test_every_run_has_its_own_line(results: Results) -> None:
    one, five = (draw_learning_curves(results, [case]) for case in ("full-ce", "lungs-folds"))
    for colour in COLOURS[:2]:  # train, val
        lines = re.compile(rf'style="fill: none;[^"]*stroke: {colour}')
        # Four runs more, in two panels.
        assert len(lines.findall(five)) - len(lines.findall(one)) == 8


def test_all_cases_are_in_the_legend_of_the_test_curves(results: Results) -> None:
    cases = ["full-ce", "lungs-bce", "lungs-folds"]
    svg = draw_test_curves(results, cases, "covid")
    assert [len(re.findall(f">{case}<", svg)) for case in cases] == [1, 1, 1]


def test_reliability_is_drawn_before_and_after_temperature_scaling(results: Results) -> None:
    svg = draw_reliability(results, ["full-ce", "lungs-folds"])
    for side in ("before", "after"):
        assert f">Reliability, {side} temperature scaling<" in svg
    assert len(re.findall(">lungs-folds<", svg)) == 1


def test_no_two_of_many_cases_have_the_same_line(results: Results) -> None:
    many = {f"case-{number}": results.cases["full-ce"] for number in range(24)}
    svg = draw_test_curves(replace(results, cases=many), list(many), "covid")
    lines = re.findall(r'style="(fill: none;[^"]*stroke-width: 1.4[^"]*)"', svg)
    assert len(set(lines)) == 24


def test_ink_takes_the_colour_of_the_page(results: Results) -> None:
    svg = draw_test_curves(results, ["full-ce"], "covid")
    assert "currentColor" in svg
    assert "#000000" not in svg


def test_the_same_results_give_the_same_figure(results: Results) -> None:
    assert draw_reliability(results, ["full-ce"]) == draw_reliability(results, ["full-ce"])
