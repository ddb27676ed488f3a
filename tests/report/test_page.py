import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from stages.report.comparisons import compare_cases
from stages.report.discussion import build_discussion
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


def render(results: Results, comparisons: dict[str, Json] | None = None) -> str:
    return render_page(results, build_discussion(results, comparisons or {}))


def test_the_page_shows_figures_intervals_and_confusion_matrices(results: Results) -> None:
    html = render(results)
    assert '<td class="number">0.800<small>0.700 to 0.900</small></td>' in html
    for case in results.cases.values():
        for row in case.report["test"]["confusion_matrix"]:
            assert "".join(f'<td class="number">{count}</td>' for count in row) in html
    assert "3 of\n64 files rejected, 2 left out" in html


def test_the_settings_of_a_case_say_what_is_trained_and_how_images_are_drawn(
    results: Results,
) -> None:
    text = Page(render(results)).text
    assert "lungs, cnn3, cnn3-random, train all, bce, sampler none" in text
    assert "folds 5, seeds 1" in text


def test_the_runs_of_a_case_are_a_table_with_mean_and_deviation(results: Results) -> None:
    html = render(results)
    # The third fold of skill 0.6: 0.5 + 0.63 / 3, as the fixture has it; 13 of 64 images.
    row = '<tr><th>fold3-seed1</th><td class="number">13</td>\n<td class="number">0.710<small>'
    assert row in html
    for what, value in (("mean", "0.873"), ("standard deviation", "0.021")):
        cells = f'<td class="number">{value}</td>' * 6
        assert f"<tr><th>{what}</th><td></td>{cells}</tr>" in html


def test_a_case_of_one_run_has_no_table_of_runs(ct_results: Results) -> None:
    assert "the test figures of each run" not in render(ct_results)


def test_labels_are_shown_where_classes_imply_others(results: Results) -> None:
    html = render(results)
    assert "(covid is also pneumonia)" in html
    assert (
        '<tr><th>labels-bce</th><td>pneumonia</td><td class="number">10</td>'
        '<td class="number">0.625</td><td class="number">0.875</td><td class="number">n/a</td></tr>'
    ) in html


def test_no_labels_are_shown_where_each_class_is_its_own(ct_results: Results) -> None:
    assert "n with the label" not in render(ct_results)


def test_what_was_trained_and_what_the_sampler_did_is_shown(ct_results: Results) -> None:
    html = render(ct_results)
    assert "<td>cnn3-random</td>" in html
    for value in ("1,234", "98,765", "7", "19"):
        assert f'<td class="number">{value}</td>' in html
    assert '<td class="number">39<small>31.2 drawn</small></td>' in html


@pytest.mark.parametrize(
    ("blocks", "shown"), [("all", "all"), ([], "none"), (["layer3", "layer4"], "layer3, layer4")]
)
def test_trained_blocks_are_named(ct_results: Results, blocks: object, shown: str) -> None:
    ct_results.cases["full-ce"].training["blocks_trained"] = blocks
    assert f'<td class="settings">{shown}</td>' in render(ct_results)


def test_an_undefined_figure_is_shown_as_such(results: Results) -> None:
    for end in ("", "_low", "_high"):
        results.cases["full-ce"].metrics[f"auroc{end}"] = None
    assert '<td class="number">n/a<small></small></td>' in render(results)


def test_the_page_holds_the_sentences_of_the_discussion(
    results: Results, comparisons: dict[str, Json]
) -> None:
    discussion = build_discussion(results, comparisons)
    text = Page(render_page(results, discussion)).text
    sentences = discussion["ct"].comparisons["crop"]
    assert len(sentences) == 10  # what differs, two metrics in three strata, two maps, verdict
    for sentence in sentences:
        assert sentence in text
    assert " ".join(discussion["ct"].conclusion) in text


def test_phantoms_are_called_phantoms(results: Results) -> None:
    text = Page(render(results)).text
    assert "No figure of this section says anything about patients" in text


def test_real_images_are_not_called_phantoms(results: Results) -> None:
    real = with_info(results, is_phantom=False, source="data/raw/ct")
    text = Page(render(real)).text
    assert "hantom" not in text
    assert "Source: data/raw/ct" in text


def test_allowed_leakage_is_noted(results: Results) -> None:
    assert "Leakage allowed" not in render(results)
    html = render(with_info(results, leakage=["g000001", "g000007"]))
    assert "Leakage allowed: some groups stand in more than one" in html
    assert "Groups in more than one split: 2." in html


def test_nothing_is_fetched_from_anywhere(results: Results, comparisons: dict[str, Json]) -> None:
    page = Page(render(results, comparisons))
    fetched = [
        value or ""
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "data", "action", "srcset")
    ]
    assert fetched
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in fetched)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    html = render(results, comparisons)
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
    counts = {kind: {"normal": 1, label: 1} for kind in ("train", "drawn_per_epoch")}
    training = old.training | {"class_counts": counts, "blocks_trained": [label]}
    dataset = results.datasets["ct"]
    manifest = dataset.manifest.replace({"label": {"covid": label}})
    info = replace(dataset.info, class_names=["normal", label], positive=label, source=HOSTILE)
    return replace(
        results,
        params=params,
        cases={case: replace(old, report={"test": report}, training=training)},
        datasets={"ct": DatasetResults(info, manifest)},
    )


@pytest.mark.parametrize("is_phantom", [True, False])
def test_names_are_text_and_never_markup(results: Results, is_phantom: bool) -> None:
    renamed = with_info(rename(results, f"case{HOSTILE}", HOSTILE), is_phantom=is_phantom)
    section = build_discussion(renamed, {})["ct"]._replace(
        comparisons={f"comparison{HOSTILE}": [f"sentence{HOSTILE}"]}
    )
    page = Page(render_page(renamed, {"ct": section}))
    assert "script" not in {tag for tag, _ in page.tags}
    assert f"case{HOSTILE}" in page.text
    assert f"Comparison: comparison{HOSTILE}" in page.text
    assert f"sentence{HOSTILE}" in page.text
    assert page.text.count(HOSTILE) > 8


def test_a_data_set_without_a_case_is_shown_without_figures(results: Results) -> None:
    html = render(replace(results, cases={}))
    assert "No case uses this data set." in html
    assert "<svg" not in html
    assert "Images per class and split" in html


def test_a_comparison_stands_with_its_data_set(
    results: Results, comparisons: dict[str, Json]
) -> None:
    html = render(results, comparisons)
    assert html.count("Comparison: crop") == 1
    assert html.index('id="ct"') < html.index("Comparison: crop") < html.index('id="labels"')


def test_the_same_results_give_the_same_page(
    results: Results, comparisons: dict[str, Json]
) -> None:
    assert render(results, comparisons) == render(results, comparisons)
