"""Numbers, intervals, p-values and names in words."""

import pytest

from stages.evaluation.statistics.records import Estimate
from stages.reporting.table import (
    Cell,
    count_cell,
    difference_cell,
    estimate_cell,
    p_value_cell,
)
from stages.reporting.wording import (
    difference_text,
    label,
    method_label,
    p_text,
    p_values_text,
    percent,
    setting,
    standing,
    with_interval,
)

AHEAD = Estimate(0.25, 0.125, 0.375, None, 0.0002, 0.04)


def test_a_figure_is_written_with_its_interval_or_without() -> None:
    assert with_interval(Estimate(0.5, 0.25, 0.75)) == "0.500 (95 % interval 0.250 to 0.750)"
    assert with_interval(Estimate(0.5)) == "0.500 (no interval)"


def test_a_difference_is_written_with_its_sign_and_p_values() -> None:
    ends = "+0.250 (95 % interval +0.125 to +0.375"
    assert difference_text(AHEAD) == f"{ends}, p < 0.001, adjusted p = 0.040)"
    assert difference_text(AHEAD._replace(p_value_holm=None)) == f"{ends}, p < 0.001)"
    assert difference_text(Estimate(0.25, 0.125, 0.375)) == f"{ends})"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "n/a"), (0.0, "< 0.001"), (0.0005, "0.001"), (1.0, "1.000")]
)
def test_a_p_value_is_never_0(value: float | None, text: str) -> None:
    assert p_text(value) == text


def test_the_adjusted_p_value_stands_behind_the_plain_one() -> None:
    assert p_values_text(0.01, 0.04) == "p = 0.010, adjusted p = 0.040"
    assert p_values_text(0.0001, None) == "p < 0.001"


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (AHEAD, "settled in favour of a"),
        (Estimate(-0.2, -0.3, -0.1), "settled in favour of b"),
        (AHEAD._replace(p_value_holm=0.05), "not settled"),
        (Estimate(0.1, 0.0, 0.2), "not settled"),
        (Estimate(0.1), "not compared"),
    ],
)
def test_who_is_ahead_is_said_where_it_is_settled(estimate: Estimate, said: str) -> None:
    assert standing(estimate, "a", "b") == said


def test_names_are_written_in_words() -> None:
    assert label("auroc_lungs_hidden") == "AUROC lungs hidden"
    assert (label("f1_macro"), label("ece")) == ("F1 macro", "ECE")
    assert method_label("gradcam v eigencam") == "Grad-CAM v EigenCAM"
    assert method_label("layercam") == "LayerCAM"


def test_shares_are_whole_percents() -> None:
    assert (percent(0.256), percent(None)) == ("26%", "n/a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "focal", "gamma": 2.0, "alpha": None}, "focal, gamma 2.0, alpha none"),
        ([512, 8], "512, 8"),
        ([], "none"),
        (True, "yes"),
        (None, "none"),
        (0.001, "0.001"),
    ],
)
def test_settings_are_written_in_words(value: object, text: str) -> None:
    assert setting(value) == text


def test_cells_hold_what_they_are_sorted_by() -> None:
    assert estimate_cell(Estimate(0.5, 0.25, 0.75)) == Cell("0.500", "0.250 to 0.750", 0.5, True)
    assert estimate_cell(Estimate(None)) == Cell("n/a", "", None, True)
    assert count_cell(1234) == Cell("1,234", "", 1234, True)
    assert difference_cell(AHEAD).text == "+0.250"
    assert difference_cell(Estimate(None, None, None, "one class")).note == "one class"
    assert p_value_cell(0.01, 0.04) == Cell("0.040", "unadjusted 0.010", 0.04, True)


def test_a_note_is_added_to_a_note() -> None:
    assert Cell("a", "b").with_note("c").note == "b; c"
    assert Cell("a").with_note("c").note == "c"
    assert Cell("a", "b").with_note("").note == "b"
