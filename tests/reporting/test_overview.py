import re

import pytest

from stages.config.params import Study
from stages.reporting.overview import (
    Overview,
    OverviewPanel,
    build_overview,
    describe_lead,
)
from stages.reporting.picture_store import PictureStore
from tests.reporting.conftest import Files, adjusted, make_compared, make_comparison


def build(files: Files) -> Overview:
    return build_overview(files.load(), PictureStore())


def phantoms(files: Files) -> OverviewPanel:
    return next(panel for panel in build(files).panels if panel.is_phantom)


def verdict(files: Files, title: str) -> str:
    return next(found.text for found in phantoms(files).verdicts if found.title == title)


def lead(files: Files) -> tuple[str, str]:
    answer = describe_lead(files.load().datasets["ct"])
    return answer.lead, answer.shortcut


def test_the_question_is_that_of_the_study(files: Files) -> None:
    study = dict.fromkeys(Study.model_fields) | {"question": "Does it work?"}
    files.update_params(study=Study.model_validate(study))
    assert build(files).question == "Does it work?"


def test_without_a_question_there_is_one_all_the_same(files: Files) -> None:
    overview = build(files)
    assert overview.question.endswith("?")
    assert overview.scope == "4 cases, 2 data sets, 1 named comparison, 1 external test"


def test_phantoms_and_real_images_have_a_panel_each(files: Files) -> None:
    panels = {panel.is_phantom: panel for panel in build(files).panels}
    assert [group.dataset for group in panels[True].cases.groups] == ["ct"]
    assert [group.dataset for group in panels[False].cases.groups] == ["labels"]
    assert panels[False].comparisons is None
    assert {image.case for image in panels[False].strip} == {"labels-bce"}
    assert "patients" in panels[True].title
    assert "patients" in panels[True].verdicts[2].text
    assert "patients" not in str(panels[False].verdicts)


def test_a_kind_without_cases_has_no_panel(files: Files) -> None:
    files.leave_out_cases()
    assert build(files).panels == []


def test_the_best_case_is_ahead_of_the_next_and_of_the_shortcut(files: Files) -> None:
    over_the_next, over_the_shortcut = lead(files)
    # By skill: 0.5 + 0.9 / 3 and 0.5 + 0.6 / 3.
    assert over_the_next == (
        "balanced accuracy 0.800, +0.100 over the next, lungs-folds, intervals overlap, no paired "
        "test"
    )
    assert over_the_shortcut == (
        "Does a shortcut do as well? Not ruled out: AUROC +0.100 (-0.050 to +0.250) against "
        "thumbnail"
    )


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(0.02, 0.18, "No:"), (-0.3, -0.1, "Yes, better:"), (-0.1, 0.1, "Not ruled out:")],
)
def test_whether_a_shortcut_does_as_well(
    files: Files, low: float, high: float, answer: str
) -> None:
    headline = files.cases["lungs-bce"].headline
    assert headline
    headline |= {"difference_low": low, "difference_high": high}
    assert f"Does a shortcut do as well? {answer}" in lead(files)[1]


def test_the_lead_over_the_next_is_tested_where_the_two_are_compared(files: Files) -> None:
    pair = ("lungs-bce", "lungs-folds")
    files.comparisons = {"folds": make_comparison(*pair)}
    assert lead(files)[0].endswith("+0.100 over the next, lungs-folds, settled")
    files.comparisons["folds"]["test"]["balanced_accuracy"]["p_value_holm"] = 0.2
    assert lead(files)[0].endswith("+0.100 over the next, lungs-folds, not settled")


def test_an_optimistic_case_is_not_the_best(files: Files) -> None:
    files.make_optimistic("lungs-bce")
    assert describe_lead(files.load().datasets["ct"]).best == "lungs-folds"
    assert "optimistic by protocol or leakage: lungs-bce §" in verdict(files, "Not to believe")


def test_what_is_settled_says_for_whom_and_by_what(files: Files) -> None:
    assert verdict(files, "Settled") == (
        "1 of 1 named comparisons, after Holm's correction: crop (lungs-bce ahead by AUROC and "
        "balanced accuracy)."
    )
    assert verdict(files, "Not settled") == "Each comparison is settled by one figure at least."


def test_what_is_settled_against_each_other_is_said_apart(files: Files) -> None:
    tested = files.comparisons["crop"]["test"]["auroc"]
    tested |= {"difference": -0.1, "low": -0.15, "high": -0.05}
    assert "crop (full-ce ahead by AUROC, lungs-bce ahead by balanced accuracy)" in verdict(
        files, "Settled"
    )


def test_what_is_not_settled_says_what_could_have_been(files: Files) -> None:
    undecided = adjusted(make_compared(0.01, -0.05, 0.07), p_value=0.9)
    for figures in undecided.values():
        if isinstance(figures, dict):
            figures |= {"detectable": 0.08, "detectable_holm": 0.12}
    files.comparisons["crop"]["test"] = undecided
    assert verdict(files, "Settled") == "0 of 1 named comparisons, after Holm's correction."
    assert verdict(files, "Not settled") == (
        "1 of 1: crop; a true difference in balanced accuracy has to be 0.12 to be settled."
    )


def test_without_a_comparison_nothing_is_settled(files: Files) -> None:
    files.comparisons = {}
    files.update_params(comparisons={})
    assert verdict(files, "Settled") == "No comparison is named."
    assert "no pair was tested" in verdict(files, "Not settled")


def test_what_not_to_believe(files: Files) -> None:
    # Of full-ce the interval reaches from 0.4 to 0.6; no case is above its shortcut.
    assert verdict(files, "Not to believe") == (
        "Anything about patients, as these are drawings; that a case beats a shortcut: not shown "
        "for full-ce, lungs-bce, lungs-folds; that a case beats chance: not shown for full-ce; "
        "that a best case is as good as it looks, as test figures picked it."
    )


def test_many_comparisons_are_named_in_part(files: Files) -> None:
    names = [f"pair{number}" for number in range(9)]
    files.comparisons = {name: make_comparison("lungs-bce", "full-ce") for name in names}
    text = verdict(files, "Settled")
    assert re.findall(r"pair\d", text) == names[:3]
    assert "and 6 more" in text


def test_the_strip_shows_an_error_first_and_both_classes(files: Files) -> None:
    images = files.cases["lungs-bce"].cam["images"]
    images[3] |= {"label": "covid", "prediction": "normal"}
    strip = phantoms(files).strip
    assert [image.case for image in strip] == ["lungs-bce"] * 6
    assert [image.is_error for image in strip] == [True] + [False] * 5
    assert strip[0].text.startswith("true covid, predicted normal")
    assert {image.text.split(",")[0] for image in strip[1:3]} == {"true covid", "true normal"}
