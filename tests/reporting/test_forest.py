"""Places are in percent of a plot's width."""

import pytest

from stages.reporting.forest import Forest, Point, Row, Scale, draw_case_forest
from stages.reporting.forest import draw_comparison_forest as draw_comparisons
from stages.reporting.results import Results
from tests.reporting.conftest import Files

AUROC, BALANCED_ACCURACY = 0, 1


def cases_of(results: Results, *datasets: str) -> Forest:
    return draw_case_forest({name: results.datasets[name] for name in datasets})


def row_of(forest: Forest, name: str) -> Row:
    return next(row for group in forest.groups for row in group.rows if row.name == name)


def comparison_row(files: Files, name: str = "crop") -> Row:
    forest = draw_comparisons({"ct": files.load().datasets["ct"]})
    assert forest is not None
    return row_of(forest, name)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.5, 1.0, ["0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        (0.2, 1.0, ["0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.1, 0.1, ["-0.1", "-0.05", "0", "0.05", "0.1"]),
        (-0.3, 0.6, ["-0.2", "0", "0.2", "0.4", "0.6"]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, texts: list[str]) -> None:
    scale = Scale(low, high)
    assert [tick.text for tick in scale.ticks] == texts
    assert [tick.at for tick in scale.ticks] == [scale.place(float(text)) for text in texts]


def test_a_value_is_placed_between_the_ends() -> None:
    scale = Scale(0.4, 1.0)
    assert [scale.place(value) for value in (0.4, 0.5, 0.7, 1.0)] == [0.0, 16.7, 50.0, 100.0]


def test_a_case_is_drawn_with_its_interval_beside_its_shortcut(results: Results) -> None:
    forest = cases_of(results, "ct")
    # lungs-bce: 0.5 + 0.9 / 3; the least of all is the shortcut's of full-ce, 0.4 - 0.1.
    scale = Scale(0.3, 1.0)
    plot = row_of(forest, "lungs-bce").plots[AUROC]
    assert plot.point == Point(scale.place(0.8), scale.place(0.7), scale.place(0.9))
    assert plot.beside == Point(scale.place(0.7), scale.place(0.6), scale.place(0.8))
    assert plot.reference == scale.place(0.5)
    assert plot.text == "0.800"
    assert plot.said == (
        "0.800 (95 % interval 0.700 to 0.900); chance 0.500; best shortcut (thumbnail) 0.700 "
        "(95 % interval 0.600 to 0.800)"
    )


def test_balanced_accuracy_stands_beside_the_same_shortcuts_over_the_view(files: Files) -> None:
    files.audits["lungs"]["probes"]["thumbnail"]["balanced_accuracy"] = 0.65
    plot = row_of(cases_of(files.load(), "ct"), "lungs-bce").plots[BALANCED_ACCURACY]
    assert "best shortcut (thumbnail) 0.650" in plot.said


def test_chance_is_that_of_the_number_of_classes(results: Results) -> None:
    forest = cases_of(results, "ct", "labels")
    assert "chance 0.500" in row_of(forest, "full-ce").plots[BALANCED_ACCURACY].said
    assert "chance 0.333" in row_of(forest, "labels-bce").plots[BALANCED_ACCURACY].said
    assert "chance 0.500" in row_of(forest, "labels-bce").plots[AUROC].said


def test_an_undefined_figure_has_no_mark(files: Files) -> None:
    for end in ("", "_low", "_high"):
        files.cases["full-ce"].metrics[f"auroc{end}"] = None
    plot = row_of(cases_of(files.load(), "ct"), "full-ce").plots[AUROC]
    assert plot.point is None
    assert plot.text == "n/a"


def test_the_best_case_is_marked_and_an_optimistic_one_is_not(files: Files) -> None:
    def best(files: Files) -> list[str]:
        rows = cases_of(files.load(), "ct").groups[0].rows
        return [row.name for row in rows if row.is_best]

    assert best(files) == ["lungs-bce"]
    files.make_optimistic("lungs-bce")
    assert best(files) == ["lungs-folds"]
    row = row_of(cases_of(files.load(), "ct"), "lungs-bce §")
    assert row.note == "optimistic protocol"
    assert row.plots[AUROC].beside is None  # held against no shortcut


def test_every_mark_lies_on_its_scale(results: Results) -> None:
    forests = [cases_of(results, "ct", "labels"), draw_comparisons(results.datasets)]
    plots = [
        plot
        for forest in forests
        if forest
        for group in forest.groups
        for row in group.rows
        for plot in row.plots
    ]
    assert len(plots) == 2 * 5
    for plot in plots:
        for point in (plot.point, plot.beside):
            if point:
                assert all(0 <= place <= 100 for place in point if place is not None)
        assert 0 <= plot.reference <= 100


def test_what_is_settled_is_filled_and_says_for_whom(files: Files) -> None:
    plot = comparison_row(files).plots[AUROC]
    assert plot.is_filled
    assert plot.text == "+0.100 ✓"
    assert plot.said == (
        "lungs-bce minus full-ce: +0.100 (95 % interval +0.050 to +0.150, p = 0.013, adjusted "
        "p = 0.037), settled in favour of lungs-bce"
    )


def test_what_holms_method_leaves_open_is_hollow(files: Files) -> None:
    files.comparisons["crop"]["test"]["auroc"]["p_value_holm"] = 0.06
    auroc, balanced_accuracy = comparison_row(files).plots
    assert not auroc.is_filled
    assert auroc.text == "+0.100"
    assert auroc.said.endswith("not settled")
    assert balanced_accuracy.is_filled


def test_an_undefined_difference_has_no_mark(files: Files) -> None:
    nothing = {"difference": None, "low": None, "high": None}
    files.comparisons["crop"]["test"]["auroc"] |= nothing | {"undefined": "one class"}
    plot = comparison_row(files).plots[AUROC]
    assert (plot.point, plot.is_filled, plot.text) == (None, False, "n/a")
    assert plot.said == "lungs-bce minus full-ce: not compared"


def test_without_comparisons_there_is_no_forest_of_them(results: Results) -> None:
    assert draw_comparisons({"labels": results.datasets["labels"]}) is None
