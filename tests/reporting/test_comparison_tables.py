from typing import Any

import pytest

from stages.reporting.comparison_tables import build_comparison_table
from stages.reporting.html_table import Cell
from stages.reporting.results import Results

Json = dict[str, Any]


@pytest.fixture
def found() -> Json:
    """An entry of metrics/comparisons.json, as far as the table needs it."""
    p_values = {"p_value": 0.01, "p_value_holm": 0.04, "undefined": None}
    difference = {"difference": 0.25, "low": 0.125, "high": 0.375} | p_values
    return {
        "first": "lungs-bce",
        "second": "full-ce",
        "test": {"n": 60, "balanced_accuracy": difference, "auroc": difference},
        "delong": difference | {"p_value": 0.0001, "p_value_holm": 0.0002},
        "mcnemar": {"n_only_first": 20, "n_only_second": 3} | p_values,
    }


def shown(results: Results, found: Json) -> dict[str, Cell]:
    table = build_comparison_table(results, {"crop": found})
    return dict(zip(reversed(table.columns), reversed(table.rows[0]), strict=True))


def test_the_adjusted_p_value_stands_over_the_plain_one(results: Results, found: Json) -> None:
    cells = shown(results, found)
    assert cells["p, McNemar"] == Cell("0.040", "unadjusted 0.010", 0.04, True)
    assert cells["p, DeLong"].text == "< 0.001"


def test_a_difference_has_its_sign_and_interval(results: Results, found: Json) -> None:
    cells = shown(results, found)
    assert cells["AUROC"] == Cell("+0.250", "+0.125 to +0.375", 0.25, True)
    assert (cells["right in the first only"].number, cells["in the second only"].number) == (20, 3)


def test_a_test_that_is_undefined_says_why(results: Results, found: Json) -> None:
    nothing = dict.fromkeys(("difference", "low", "high", "p_value", "p_value_holm"))
    found["delong"] = nothing | {"undefined": "several rows per image"}
    found["mcnemar"] |= {"n_only_first": None, "p_value": None, "p_value_holm": None}
    cells = shown(results, found)
    assert cells["AUROC, DeLong"] == Cell("n/a", "several rows per image", None, True)
    assert cells["p, DeLong"] == cells["p, McNemar"] == Cell("n/a", "", None, True)
    assert cells["right in the first only"].text == "n/a"
