from typing import Any

import pandas as pd
import pytest

from stages.evaluation.statistics.records import Estimate
from stages.reporting.discussion import build_discussion
from stages.reporting.page import render_page
from stages.reporting.truth import (
    build_lung_table,
    build_pointing_table,
    build_truth_files_table,
    build_worst_lungs_table,
    verdict,
)
from tests.reporting.conftest import Files

Json = dict[str, Any]


def make_pair(first: float, second: float, low: float, high: float) -> Json:
    ends = {"first_low": first, "first_high": first, "second_low": second, "second_high": second}
    difference = {"difference": first - second, "low": low, "high": high, "p_value": 0.5}
    return {"first": first, "second": second} | ends | difference | {"undefined": None}


def make_pointing(**changes: int) -> Json:
    pairs = {
        "peak_in_lesions": make_pair(0.375, 0.25, -0.125, 0.375),
        "in_lesions": make_pair(0.1, 0.2, -0.15, -0.05),
    }
    counts = {"n": 8, "n_groups": 6, "n_known": 8, "n_out_of_view": 0}
    return counts | {"methods": {"gradcam": pairs}} | changes


def make_lungs() -> Json:
    worst = [{"file": "covid/x\n.png", "dice": 0.5, "quality": "one lung"}]
    counts = {"n": 48, "n_groups": 40, "n_untrusted": 2, "median": 0.9, "sd": 0.05}
    return counts | {"dice": 0.88, "dice_low": 0.86, "dice_high": 0.9, "worst": worst}


def test_hits_are_counted_beside_those_of_the_gaussian_with_a_verdict(files: Files) -> None:
    files.cases["full-ce"].cam["pointing"] = make_pointing()
    cases = files.load().cases
    (table,) = build_pointing_table(list(cases.values()))
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert len(table.rows) == 1
    assert shown["points into them"].text == "3 of 8 (0.375)"
    assert shown["the Gaussian does"].text == "2 of 8 (0.250)"
    assert shown["difference"].text == "+0.125"
    assert shown["verdict"].text == "not shown to beat the Gaussian"


def test_images_that_were_not_scored_are_counted(files: Files) -> None:
    files.cases["full-ce"].cam["pointing"] = make_pointing(n_known=20, n_out_of_view=5)
    _, left = build_pointing_table(list(files.load().cases.values()))
    assert [cell.text for cell in left.rows[0]] == ["full-ce", "20", "5", "7"]


def test_no_known_lesion_is_no_table(files: Files) -> None:
    assert build_pointing_table(list(files.load().cases.values())) == []


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.2, "above the Gaussian"),
        (-0.2, -0.01, "fails: below the Gaussian"),
        (0.0, 0.2, "not shown to beat the Gaussian"),
        (None, None, "cannot be told"),
    ],
)
def test_the_verdict_is_that_of_the_interval(
    low: float | None, high: float | None, said: str
) -> None:
    assert verdict(Estimate(0.0, low, high)) == said


def test_lungs_are_summed_up_once_for_all_views_and_the_worst_are_named(files: Files) -> None:
    for view in ("full", "lungs"):
        files.audits[view]["lungs"] = make_lungs()
    audits = files.load().datasets["ct"].audits
    table = build_lung_table(audits)
    assert len(table.rows) == 1
    assert [cell.text for cell in table.rows[0]] == ["48", "40", "0.880", "0.900", "0.050", "2"]
    (worst,) = build_worst_lungs_table(audits)
    assert [cell.text for cell in worst.rows[0]] == ["covid/x\\n.png", "0.500", "one lung"]


def test_masks_and_boxes_are_counted_by_what_became_of_them() -> None:
    lines = pd.DataFrame(
        {"kind": ["mask", "mask", "box"], "file": ["a.png", "b.png", "b.csv"]}
        | {"how": ["name", "name", "fits no image"]}
    )
    table = build_truth_files_table(lines)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["mask", "name", "2", "a.png"],
        ["box", "fits no image", "1", "b.csv"],
    ]


def test_the_page_shows_what_is_known_and_is_silent_where_nothing_is(files: Files) -> None:
    assert "Lungs found against" not in render(files)
    files.cases["full-ce"].cam["pointing"] = make_pointing()
    files.audits["full"]["lungs"] = make_lungs()
    page = render(files)
    assert "Lungs found against" in page
    assert "3 of 8 (0.375)" in page


def render(files: Files) -> str:
    results = files.load()
    return render_page(results, build_discussion(results))
