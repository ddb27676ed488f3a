import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from stages.config.text import visible
from stages.reporting.discussion import DatasetDiscussion, build_discussion
from stages.reporting.page import render_page
from stages.reporting.results import Results
from tests.faults import hostile_names
from tests.hostile_names import HOSTILE_NAMES
from tests.reporting.conftest import Files, Json, make_distributions, make_files

NUMBERS = range(len(HOSTILE_NAMES))
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


def leak(files: Files) -> None:
    """As if `ct` had come with splits that share a group, and that had been allowed."""
    for case in ("full-ce", "lungs-bce", "lungs-folds"):
        files.cases[case].metrics["n_leaking_groups"] = 1
    found = {"splits": ["train", "test"], "files": ["train/a.png", "test/b.png"]}
    files.datasets["ct"].grouping["leaks"] = {"g000001": found}
    files.update_info("ct", leakage=["g000001"])


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the unchanged files, for tests that only read it."""
    return render(make_files(tmp_path_factory.mktemp("page")))


def render(files: Files) -> str:
    results = files.load()
    return render_page(results, build_discussion(results))


def section_of(html: str, dataset: str) -> str:
    """What stands between the heading of a data set and the next heading of its rank."""
    return html.split(f'<h2 id="{dataset}">')[1].split("<h2 ")[0]


def test_a_case_stands_beside_the_best_shortcut(html: str) -> None:
    # lungs-bce: 0.5 + 0.9 / 3, as the fixture has it; the shortcut lies 0.1 below.
    own = '<td class="figure" data-number="0.8">0.800<small>0.700 to 0.900</small></td>'
    shortcut = (
        '<td class="figure" data-number="0.7">0.700<small>thumbnail; 0.600 to 0.800</small></td>'
    )
    above = '<td class="figure" data-number="0.1">+0.100<small>-0.050 to +0.250</small></td>'
    probe = (
        '<td class="figure" data-number="0.65">0.650<small>majority; 0.550 to 0.750</small></td>'
    )
    more = '<td class="figure" data-number="0.05">+0.050<small>-0.020 to +0.120</small></td>'
    assert f'<th scope="row">lungs-bce</th>{own}{shortcut}{above}{probe}{more}' in html


def test_figures_with_hidden_lungs_stand_beside(html: str) -> None:
    html = section_of(html, "ct")
    for name, value in (("hidden", "0.610"), ("only", "0.720")):
        assert f'<th scope="col">AUROC lungs {name}</th>' in html
        assert html.count(f">{value}<small>") == 3  # one per case


def test_every_confusion_matrix_is_shown(html: str, results: Results) -> None:
    for case in results.cases.values():
        for row in case.report.test.confusion_matrix:
            cells = "".join(
                f'<td class="figure" data-number="{count}">{count}</td>' for count in row
            )
            assert cells in html


def test_labels_are_shown_where_classes_imply_others(html: str) -> None:
    assert "(covid is also pneumonia)" in section_of(html, "labels")
    assert "images with the label" not in section_of(html, "ct")


def test_an_undefined_figure_is_shown_as_such(files: Files) -> None:
    for end in ("", "_low", "_high"):
        files.cases["full-ce"].metrics[f"auroc{end}"] = None
    html = render(files)
    assert '<th scope="row">full-ce</th><td class="figure" data-number="">n/a</td>' in html


def test_the_page_holds_the_sentences_of_the_discussion(html: str, results: Results) -> None:
    discussion = build_discussion(results)
    text = Page(html).text
    sentences = [*discussion["ct"].comparisons["crop"], *discussion["ct"].conclusion]
    assert len(sentences) > 10
    for sentence in sentences:
        assert sentence in text


def test_a_comparison_stands_with_its_data_set(html: str) -> None:
    assert "Comparison: crop" in section_of(html, "ct")
    assert "Comparison: crop" not in section_of(html, "labels")
    assert "No comparison is named" in section_of(html, "labels")


def test_an_external_test_stands_with_the_data_set_of_its_case(html: str) -> None:
    assert "lungs-bce, scored as it is on the data set labels" in section_of(html, "ct")
    assert "Other cases are tested on this data set: elsewhere (lungs-bce)" in section_of(
        html, "labels"
    )


def test_phantoms_are_called_phantoms(html: str) -> None:
    said = "No figure of this section says anything about patients"
    assert said in section_of(html, "ct")
    assert said not in section_of(html, "labels")


def test_real_images_are_not_called_phantoms(files: Files) -> None:
    files.update_info("ct", is_phantom=False, source="data/raw/ct")
    text = Page(render(files)).text
    assert "hantom" not in text
    assert "data/raw/ct" in text


def test_every_row_of_a_data_set_with_leakage_is_marked(html: str, files: Files) -> None:
    assert "†" not in html
    leak(files)
    html = render(files)
    ct = section_of(html, "ct")
    marked = '<th scope="row">full-ce †<small>leakage allowed</small></th>'
    # Test figures, calibration, operating points, scores of maps, and four checks of the maps.
    assert ct.count(marked) >= 6
    figures = ct.split("Training (of several runs")[0]  # what follows is no figure of merit
    assert '<th scope="row">full-ce</th>' not in figures
    assert "g000001" in ct
    assert "†" not in section_of(html, "labels")


def test_a_case_from_weights_that_learned_nothing_is_marked_in_every_table(
    html: str, files: Files
) -> None:
    assert "‡" not in html
    files.cases["full-ce"].training["start_knows"] = knowledge(better_than_chance=False)
    files.cases["lungs-bce"].training["start_knows"] = knowledge(better_than_chance=True)
    ct = section_of(render(files), "ct")
    assert '<th scope="row">full-ce</th>' not in ct
    assert "full-ce ‡<small>starts from weights no better than chance</small>" in ct
    assert "crop ‡" in ct  # a comparison with it
    assert "lungs-bce ‡" not in ct
    assert "that they were learned on: full-ce." in ct
    said = "lesions: accuracy 0.350 (95 % interval 0.300 to 0.400) on 360 images; chance 0.333"
    assert said in ct


def knowledge(*, better_than_chance: bool) -> Json:
    figures = {"accuracy": 0.35, "low": 0.3, "high": 0.4, "chance": 1 / 3, "n": 360}
    return {"task": "lesions", **figures, "better_than_chance": better_than_chance}


def test_a_data_set_without_a_case_is_shown_without_figures(files: Files) -> None:
    files.leave_out_cases()
    html = render(files)
    assert "No case uses this data set." in html
    assert "<svg" not in html
    assert "Images per class and split" in html


def addresses(page: Page) -> Iterator[tuple[str, str]]:
    """Every address of the page with the tag that has it."""
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                yield tag, value or ""


def test_nothing_is_fetched_from_anywhere(html: str) -> None:
    page = Page(html)
    fetched = [value for tag, value in addresses(page) if (tag, value) != ("a", "times.html")]
    assert fetched
    assert all(value.startswith(("data:image/webp;base64,", "#")) for value in fetched)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "base", "form"}
    assert not re.findall(r"@import|url\((?!#)", html)


def spoil(files: Files) -> None:
    """One case and one class of another name, hostile text about them, nothing else."""
    case, ct = files.cases["full-ce"], files.datasets["ct"]
    counts = {kind: {"normal": 1, HOSTILE: 1} for kind in ("train", "drawn_per_epoch")}
    case.training |= {"class_counts": counts, "blocks_trained": [HOSTILE], "device": HOSTILE}
    case.report["test"]["class_names"] = ["normal", HOSTILE]
    case.report["positive"] = HOSTILE
    case.report["test"]["curves"][HOSTILE] = case.report["test"]["curves"]["covid"]
    case.report["test"]["probabilities"] = make_distributions(["normal", HOSTILE])
    for side in ("before", "after"):
        of_classes = case.report["calibration"][side]["classes"]
        of_classes[HOSTILE] = of_classes.pop("covid")
    ct.manifest = ct.manifest.replace({"label": {"covid": HOSTILE}})
    ct.rejected = ct.rejected.replace({"reason": {"cut short": HOSTILE}})
    files.update_info("ct", class_names=["normal", HOSTILE], positive=HOSTILE, source=HOSTILE)
    for audit in files.audits.values():
        for probe in audit["probes"].values():
            probe["by_class"][HOSTILE] = probe["by_class"]["covid"]
    texts = {"provenance": HOSTILE, "licence": HOSTILE, "ignore": [HOSTILE]}
    settings, entry = files.params.cases["full-ce"], files.params.datasets["ct"]
    files.leave_out_cases()
    files.cases["full-ce"] = case
    files.datasets = {"ct": ct}
    files.update_params(
        cases={"full-ce": settings}, datasets={"ct": entry.model_copy(update=texts)}
    )


@pytest.fixture(scope="module")
def hostile_html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on which every hostile name is that of a rejected, an odd and a leaking file."""
    files = make_files(tmp_path_factory.mktemp("hostile"))
    ct, reasons = files.datasets["ct"], [f"reason {number}" for number in NUMBERS]
    ct.rejected = pd.DataFrame({"file": HOSTILE_NAMES, "reason": reasons})
    ct.suspicious = pd.DataFrame({"file": HOSTILE_NAMES, "what": reasons})
    leaks = {
        f"g{number}": {"splits": ["train", "test"], "files": [name, f"test/{name}"]}
        for number, name in zip(NUMBERS, HOSTILE_NAMES, strict=True)
    }
    ct.grouping["leaks"] = leaks
    files.update_info("ct", leakage=list(leaks))
    return render(files)


def test_file_names_of_any_kind_are_text_of_one_line_in_the_page(
    hostile_html: str, html: str
) -> None:
    page = Page(hostile_html)
    for name in HOSTILE_NAMES:
        assert visible(name) in page.text
    hidden = {character for character in hostile_html if visible(character) != character}
    assert hidden <= {"\n"}  # of the page's own source
    tags, usual = ({tag for tag, _ in page.tags} for page in (page, Page(html)))
    assert tags <= usual  # no tag that the page does not have without them
    assert not any("onerror" in attributes for _, attributes in page.tags)


@pytest.mark.parametrize("is_phantom", [True, False])
def test_names_are_text_and_never_markup(files: Files, is_phantom: bool) -> None:
    spoil(files)
    files.update_info("ct", is_phantom=is_phantom)
    results = files.load()
    name = f"case{HOSTILE}"
    case = replace(results.cases["full-ce"], name=name)
    ct = replace(results.datasets["ct"], cases=[case])
    renamed = replace(results, cases={name: case}, datasets={"ct": ct})
    section = DatasetDiscussion(f"title{HOSTILE}", [f"notice{HOSTILE}"], {}, {}, [f"end{HOSTILE}"])
    html = render_page(renamed, {"ct": section})
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 1  # the page's own
    assert "<script>alert" not in html
    for text in (name, f"title{HOSTILE}", f"notice{HOSTILE}", f"end{HOSTILE}"):
        assert text in page.text
    assert page.text.count(HOSTILE) > 20


def test_hostile_names_add_no_element_and_are_shown(tmp_path: Path) -> None:
    names = HOSTILE_NAMES[:60]
    hostile = hostile_names.draw_report(tmp_path / "hostile", names)
    harmless = [f"n{number}" for number in range(len(names))]
    expected = hostile_names.draw_report(tmp_path / "harmless", harmless)
    assert hostile_names.find_page_faults(hostile, expected, names) == []


def test_the_policy_lets_the_pages_own_script_run_and_no_other(html: str) -> None:
    page = Page(html)
    policy = next(
        attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy
    assert "http" not in policy


def test_the_same_files_give_the_same_page(files: Files, html: str) -> None:
    assert render(files) == html


def test_the_page_has_room_for_many_cases(html: str, results: Results) -> None:
    # The 21 cases of the default run have 6 MB: 285 kB each, of which their pictures need 130
    # (tests/reporting/test_picture_store.py).
    text = re.sub(r"data:image/webp;base64,[^\"]*", "", html)
    assert len(text.encode()) < 150_000 * len(results.cases)


def test_times_are_a_page_beside_and_no_part_of_this_one(html: str) -> None:
    assert ("a", {"href": "times.html"}) in Page(html).tags
    assert "Seconds per stage" not in html
