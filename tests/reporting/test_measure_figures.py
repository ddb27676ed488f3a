import re
from dataclasses import replace

from stages.reporting.measure_figures import COLUMNS, draw_measures
from stages.reporting.results import Results
from tests.reporting.conftest import Files


def test_every_case_has_its_panels_and_every_class_its_colour(results: Results) -> None:
    for name, dataset in results.datasets.items():
        if not dataset.cases:
            continue
        svg = draw_measures(dataset)
        for case in dataset.cases:
            assert svg.count(f">{case.title}<") == 1, name
        for class_name in dataset.info.class_names:
            assert svg.count(f">{class_name}<") == 1, name
        assert svg.count(">observed share<") == 1


def test_more_cases_than_columns_go_on_below(results: Results) -> None:
    dataset = results.datasets["ct"]
    many = [replace(dataset.cases[0], name=f"case-{n}") for n in range(COLUMNS + 1)]
    svg = draw_measures(replace(dataset, cases=many))
    assert svg.count(">observed share<") == 2
    assert all(f">case-{n}<" in svg for n in range(COLUMNS + 1))


def test_what_has_no_value_is_a_gap_and_not_a_fault(files: Files) -> None:
    report = files.cases["full-ce"].report
    report["decision_curve"] |= {"prevalence": 0.0, "treat_all": [-0.1, -0.3, -1.0]}
    nothing = {"value": [None] * 3, "low": [None] * 3, "high": [None] * 3}
    report["decision_curve"]["net_benefit"] = nothing
    found = report["calibration"]["before"]["classes"]["covid"]
    found["curve"] = {"predicted": [], "observed": {"value": [], "low": [], "high": []}}
    report["test"]["probabilities"]["counts"]["covid"]["normal"] = [0, 0]
    dataset = files.load().datasets["ct"]
    svg = draw_measures(replace(dataset, cases=dataset.cases[:1]))
    assert ">full-ce<" in svg
    assert "nan" not in re.sub(r'id="[^"]*"', "", svg).lower()


def test_a_long_name_is_cut(results: Results) -> None:
    dataset = results.datasets["ct"]
    long = replace(dataset.cases[0], name="a-name-that-goes-on-and-on-and-on")
    assert ">a-name-that-goes-on-and-o…<" in draw_measures(replace(dataset, cases=[long]))
