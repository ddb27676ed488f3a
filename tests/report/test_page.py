import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from stages.report.comparisons import compare_cases
from stages.report.discussion import discuss
from stages.report.page import render_page
from stages.report.results import DatasetResults, Results

Json = dict[str, Any]
HOSTILE = "<script>alert(1)</script>&\"'"


class Page(HTMLParser):
    """Start tags with their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def with_info(results: Results, **changes: Any) -> Results:
    dataset = results.datasets["ct"]
    info = replace(dataset.info, **changes)
    return replace(results, datasets={"ct": DatasetResults(info, dataset.manifest)})


@pytest.fixture
def comparisons(results: Results) -> dict[str, Json]:
    return {"crop": compare_cases(results, "lungs-bce", "full-ce")}


def test_the_page_shows_figures_intervals_and_confusion_matrices(results: Results) -> None:
    html = render_page(results, {})
    assert '<td class="number">0.800<small>0.700 to 0.900</small></td>' in html
    for case in results.cases.values():
        for row in case.report["test"]["confusion_matrix"]:
            assert "".join(f'<td class="number">{count}</td>' for count in row) in html
    assert "3 of\n64 files rejected, 2 left out" in html


def test_an_undefined_figure_is_shown_as_such(results: Results) -> None:
    for end in ("", "_low", "_high"):
        results.cases["full-ce"].metrics[f"auroc{end}"] = None
    assert '<td class="number">n/a<small></small></td>' in render_page(results, {})


def test_the_page_holds_the_sentences_of_the_discussion(
    results: Results, comparisons: dict[str, Json]
) -> None:
    text = Page(render_page(results, comparisons)).text
    metrics = {name: case.metrics for name, case in results.cases.items()}
    sentences = discuss(comparisons["crop"], metrics)
    assert len(sentences) == 8  # two metrics on all images and on two subgroups, two kinds of map
    for sentence in sentences:
        assert sentence in text


def test_phantoms_are_called_phantoms(results: Results) -> None:
    text = Page(render_page(results, {})).text
    assert "No figure of this section says anything about patients" in text


def test_real_images_are_not_called_phantoms(results: Results) -> None:
    real = with_info(results, is_phantom=False, source="data/raw/ct")
    text = Page(render_page(real, {})).text
    assert "hantom" not in text
    assert "Source: data/raw/ct" in text


def test_allowed_leakage_is_noted(results: Results) -> None:
    assert "Leakage allowed" not in render_page(results, {})
    html = render_page(with_info(results, leakage=["g000001", "g000007"]), {})
    assert "Leakage allowed.</strong> 2 groups" in html


def test_nothing_is_fetched_from_anywhere(results: Results, comparisons: dict[str, Json]) -> None:
    page = Page(render_page(results, comparisons))
    fetched = [
        value or ""
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "data", "action", "srcset")
    ]
    assert fetched
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in fetched)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    html = render_page(results, comparisons)
    assert not re.findall(r"@import|url\((?!#)", html)


def rename(results: Results, case: str, label: str) -> Results:
    """The results with one case, and one class, of another name."""
    settings = results.params.cases["full-ce"]
    params = results.params.model_copy(update={"cases": {case: settings}})
    old = results.cases["full-ce"]
    test = old.report["test"]
    report = test | {
        "class_names": ["normal", label],
        "curves": {"normal": test["curves"]["normal"], label: test["curves"]["covid"]},
    }
    dataset = results.datasets["ct"]
    manifest = dataset.manifest.replace({"label": {"covid": label}})
    info = replace(dataset.info, class_names=["normal", label], positive=label, source=HOSTILE)
    return replace(
        results,
        params=params,
        cases={case: replace(old, report={"test": report})},
        datasets={"ct": DatasetResults(info, manifest)},
    )


@pytest.mark.parametrize("is_phantom", [True, False])
def test_names_are_text_and_never_markup(results: Results, is_phantom: bool) -> None:
    renamed = with_info(rename(results, f"case{HOSTILE}", HOSTILE), is_phantom=is_phantom)
    nothing = {"n": 1, "n_groups": 1, "auroc": {"low": None}, "balanced_accuracy": {"low": None}}
    comparison = {
        "first": f"case{HOSTILE}",
        "second": f"case{HOSTILE}",
        "test": nothing,
        "subgroups": {},
        "maps": {},
    }
    page = Page(render_page(renamed, {f"comparison{HOSTILE}": comparison}))
    assert "script" not in {tag for tag, _ in page.tags}
    assert f"case{HOSTILE}" in page.text
    assert f"Comparison: comparison{HOSTILE}" in page.text
    assert page.text.count(HOSTILE) > 8


def test_a_data_set_without_a_case_is_shown_without_figures(results: Results) -> None:
    html = render_page(replace(results, cases={}), {})
    assert "No case uses this data set." in html
    assert "<svg" not in html
    assert "Images per class and split" in html


def test_a_comparison_stands_with_its_data_set(
    results: Results, comparisons: dict[str, Json]
) -> None:
    elsewhere = {"other": comparisons["crop"] | {"first": "a-case-of-another-data-set"}}
    html = render_page(results, comparisons | elsewhere)
    assert "Comparison: crop" in html
    assert "Comparison: other" not in html


def test_the_same_results_give_the_same_page(
    results: Results, comparisons: dict[str, Json]
) -> None:
    assert render_page(results, comparisons) == render_page(results, comparisons)
