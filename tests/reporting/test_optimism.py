import re

import pytest

from stages.reporting.cases import build_headline_table
from stages.reporting.checklist import build_checklists
from stages.reporting.discussion import DatasetDiscussion, build_discussion
from stages.reporting.page import render_page
from stages.reporting.results import Results
from stages.reporting.table import Cell
from tests.reporting.conftest import Files, make_comparison

PUBLISHED = {"held_out": "both", "grouping": "none"}


@pytest.fixture
def published(files: Files) -> Files:
    """`lungs-bce`, the best, under a published protocol; compared with `lungs-folds`."""
    params, case = files.params, files.params.case("lungs-bce")
    protocol = params.protocol("once").model_copy(update=PUBLISHED)
    files.update_params(
        cases={**params.cases, "lungs-bce": case.model_copy(update={"protocol": "published"})},
        protocols={**params.protocols, "published": protocol},
        comparisons={"worth": ["lungs-bce", "lungs-folds"]},
    )
    files.cases["lungs-bce"].metrics |= {"optimistic": True, "n_leaking_groups": 17}
    files.cases["lungs-bce"].headline = None
    compared = make_comparison("lungs-bce", "lungs-folds") | {"optimistic": ["lungs-bce"]}
    files.comparisons = {"worth": compared}
    set_differences(files, grouping=["none", "group"], held_out=["both", "test"])
    return files


def set_differences(files: Files, **differs: list[object]) -> None:
    files.comparisons["worth"]["differs"] = differs


def discuss(files: Files) -> DatasetDiscussion:
    return build_discussion(files.load())["ct"]


def page_of(results: Results) -> str:
    return render_page(results, build_discussion(results))


def test_why_a_case_is_optimistic_is_said_before_any_figure(published: Files) -> None:
    assert discuss(published).notices[-1] == (
        "lungs-bce § is optimistic on purpose, as published figures often are, and no headline: "
        "its images are dealt at random, whoever they are of, and 17 groups stand in two splits; "
        "its epoch, temperature and thresholds are chosen on the images that it is scored on."
    )


def test_its_row_is_marked_and_stands_beside_no_shortcut(published: Files) -> None:
    rows = build_headline_table(published.load().datasets["ct"]).rows
    row = next(row for row in rows if row[0].text.startswith("lungs-bce"))
    assert row[0] == Cell("lungs-bce §", "optimistic protocol")
    assert [cell.text for cell in row[2:6]] == ["n/a"] * 4
    assert row[2].note == "optimistic: no headline"
    assert row[-1].note == "held out both, grouping none"


def test_the_best_case_is_one_of_the_others_and_the_optimistic_is_named(published: Files) -> None:
    conclusion = discuss(published).conclusion
    best = next(s for s in conclusion if s.startswith("The best balanced accuracy"))
    assert best.startswith("The best balanced accuracy is that of lungs-folds")
    assert (
        "Left out of the best cases and not held against a shortcut, since the protocol is "
        "optimistic (§): lungs-bce."
    ) in conclusion
    assert not any("AUROC of lungs-bce" in sentence for sentence in conclusion)


def test_what_the_protocol_alone_is_worth_stands_with_its_interval(published: Files) -> None:
    sentences = discuss(published).comparisons["worth"]
    assert sentences[0].startswith("Protocol, lungs-bce against lungs-folds: grouping images one ")
    assert sentences[0].endswith("No other setting differs.")
    assert sentences[1] == (
        "lungs-bce is scored under an optimistic protocol (§): alone it is worth +0.100 (95 % "
        "interval +0.050 to +0.150, p = 0.013, adjusted p = 0.037) in accuracy, 0.875 (95 % "
        "interval 0.801 to 0.931) for lungs-bce against 0.775 (95 % interval 0.702 to 0.843) for "
        "lungs-folds, patient by patient on the 90 images of both."
    )
    assert sentences[-1].startswith("Verdict §: ")


def test_the_worth_of_a_protocol_is_not_told_where_more_differs(published: Files) -> None:
    set_differences(published, grouping=["none", "group"], model=["darkcovidnet", "cnn3"])
    sentences = discuss(published).comparisons["worth"]
    assert sentences[1] == (
        "lungs-bce is scored under an optimistic protocol (§); what of the difference is due to "
        "that, the figures cannot tell."
    )


def test_a_comparison_with_it_is_summed_up_with_a_mark(published: Files) -> None:
    settled = [s for s in discuss(published).conclusion if "on all test images" in s]
    assert len(settled) == 2
    assert all("worth § settled" in sentence for sentence in settled)


def test_the_page_marks_it_wherever_its_figures_stand(published: Files) -> None:
    html = page_of(published.load())
    figures = html.split("Training (of several runs")[0]
    assert '<th scope="row">lungs-bce</th>' not in figures
    assert "worth §" in html
    assert "None of that holds of cases marked §" in html
    # In the legends of the curves, over its learning curves, and over its pictures.
    assert len(re.findall(r">\s*lungs-bce §\s*<", html)) >= 5
    assert "lungs-bce §: 6 test images" in html


def test_a_page_without_such_cases_says_nothing_of_them(results: Results) -> None:
    assert "§" not in page_of(results)


def test_the_checklists_leave_its_figures_out_and_say_so(published: Files) -> None:
    lines = [
        line
        for checklist in build_checklists(published.load())
        for item in checklist.items
        for line in item.lines
    ]
    title = "ct (phantoms: drawings, not patients)"
    performance = [line for line in lines if line.startswith(f"{title}: AUROC full-ce")]
    assert performance
    assert not any("lungs-bce" in line for line in performance)
    assert f"{title}: left out, as their protocol is optimistic: lungs-bce" in lines
    assert any("No test image takes part, but of the optimistic lungs-bce." in s for s in lines)


def test_a_case_of_a_whole_protocol_without_a_headline_is_left_out(files: Files) -> None:
    files.cases["lungs-bce"].headline = None
    files.comparisons = {}
    assert "cases.lungs-bce" in files.load().datasets["ct"].left_out
