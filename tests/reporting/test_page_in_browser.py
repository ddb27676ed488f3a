"""The report as a browser shows it."""

import base64
import json
import shutil
from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import pytest

from stages.reporting.discussion import build_discussion
from stages.reporting.page import render_page
from tests.reporting.chromium import Chromium, find_chromium
from tests.reporting.conftest import make_files

pytestmark = pytest.mark.slow

PHONE_PX = 360
DESKTOP_PX = 1280
PAPER_PX = 1047  # A4 landscape between its margins
HOSTILE = '<img src="https://example.org/x.png" onerror="window.hacked = true">'
OPEN_ALL = "document.querySelectorAll('details').forEach(part => { part.open = true; })"
# Of the first table of the page, the test figures of data set `ct`.
COLUMN = """(heading => {
  const table = document.querySelector("table.sortable");
  const at = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === heading);
  return [...table.tBodies[0].rows].map(row => row.cells[at].firstChild.textContent);
})"""
HEADING = """(heading => [...document.querySelectorAll("table.sortable thead th")]
  .find(cell => cell.textContent === heading))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with an undefined figure, counts of several lengths, and hostile text."""
    folder = tmp_path_factory.mktemp("report")
    files = make_files(folder)
    for case, count in {"full-ce": 1000, "lungs-bce": 9, "lungs-folds": 64}.items():
        files.cases[case].metrics["n_test"] = count
    for end in ("", "_low", "_high"):
        files.cases["full-ce"].metrics[f"auroc{end}"] = None
    labels = files.params.datasets["labels"].model_copy(update={"provenance": HOSTILE})
    files.update_params(datasets={**files.params.datasets, "labels": labels})
    results = files.load()
    file = folder / "report.html"
    html = render_page(results, build_discussion(results))
    file.write_text(html, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Chromium, page: Path) -> Chromium:
    """The page, opened anew on a light desktop."""
    chromium.set_width(DESKTOP_PX)
    chromium.set_scheme("light")
    chromium.open(page)
    return chromium


def test_the_console_stays_silent(browser: Chromium) -> None:
    browser.evaluate(OPEN_ALL)
    for button in ("[role=tab]", ".galleries figure button", "dialog button", "thead button"):
        browser.evaluate(f"document.querySelectorAll('{button}').forEach(one => one.click())")
    browser.evaluate("""document.querySelectorAll(".filters")
      .forEach(filters => filters.dispatchEvent(new Event("change")))""")
    assert browser.said("Runtime.consoleAPICalled") == []
    assert browser.said("Runtime.exceptionThrown") == []
    assert browser.said("Log.entryAdded") == []


def test_no_request_leaves_the_file(browser: Chromium, page: Path) -> None:
    browser.evaluate(OPEN_ALL)
    asked = {event["request"]["url"] for event in browser.said("Network.requestWillBeSent")}
    assert page.as_uri() in asked
    assert [url for url in asked if not url.startswith("data:image/")] == [page.as_uri()]


def test_text_that_looks_like_markup_does_nothing(browser: Chromium) -> None:
    assert HOSTILE in browser.evaluate("document.body.textContent")
    assert browser.evaluate("window.hacked === undefined")
    assert browser.evaluate("document.querySelectorAll('[onerror]').length") == 0


def test_a_click_sorts_by_number_and_a_second_one_the_other_way(browser: Chromium) -> None:
    heading = f'{HEADING}("test images")'
    assert browser.evaluate(f'{COLUMN}("test images")') == ["1,000", "9", "64"]
    browser.evaluate(f"{heading}.firstChild.click()")
    assert browser.evaluate(f'{COLUMN}("test images")') == ["1,000", "64", "9"]
    assert browser.evaluate(f"{heading}.ariaSort") == "descending"
    browser.evaluate(f"{heading}.firstChild.click()")
    assert browser.evaluate(f'{COLUMN}("test images")') == ["9", "64", "1,000"]
    assert browser.evaluate(f"{heading}.ariaSort") == "ascending"


def test_an_undefined_figure_sorts_last_both_ways(browser: Chromium) -> None:
    for _ in range(2):
        browser.evaluate(f'{HEADING}("AUROC").firstChild.click()')
        assert browser.evaluate(f'{COLUMN}("case")')[-1] == "full-ce"
    assert browser.evaluate(f'{COLUMN}("AUROC")') == ["0.700", "0.800", "n/a"]


def test_names_sort_as_text(browser: Chromium) -> None:
    browser.evaluate(f'{HEADING}("case").firstChild.click()')
    browser.evaluate(f'{HEADING}("case").firstChild.click()')
    assert browser.evaluate(f'{COLUMN}("case")') == ["lungs-folds", "lungs-bce", "full-ce"]


def test_only_the_column_sorted_by_says_so(browser: Chromium) -> None:
    for name in ("AUROC", "case"):
        browser.evaluate(f'{HEADING}("{name}").firstChild.click()')
    assert browser.evaluate("document.querySelectorAll('[aria-sort]').length") == 1
    assert browser.evaluate(f'{HEADING}("case").ariaSort') == "ascending"


@pytest.mark.parametrize(("key", "text"), [("Enter", "\r"), ("Space", " ")])
def test_tables_sort_by_keyboard(browser: Chromium, key: str, text: str) -> None:
    browser.evaluate(f'{HEADING}("test images").firstChild.focus()')
    browser.press(" " if key == "Space" else key, text)
    assert browser.evaluate(f'{COLUMN}("test images")') == ["1,000", "64", "9"]


def test_every_picture_loads(browser: Chromium) -> None:
    widths = browser.evaluate("""Promise.all([...document.querySelectorAll("image")]
      .map(async one => {
      const image = new Image();
      image.src = one.getAttribute("href");
      await image.decode();
      return image.naturalWidth === Number(one.getAttribute("width"));
    }))""")
    # Four cases, six images, two methods; and the originals of two data sets.
    assert widths == [True] * (4 * 6 * 2 + 2 * 6)


def test_every_picture_that_is_shown_is_in_the_page(browser: Chromium) -> None:
    shown = browser.evaluate("""[...document.querySelectorAll(".picture use")]
      .map(one => document.querySelector(one.getAttribute("href"))?.tagName)""")
    # Galleries: 24 images thrice; sheets: 6 rows of four, 5 of two; strips.
    assert len(shown) >= 24 * 3 + 6 * 4 + 5 * 2
    assert set(shown) == {"image"}


def test_an_original_stands_beside_each_map(browser: Chromium) -> None:
    said = browser.evaluate("""[...document.querySelectorAll(".galleries figure .pictures")]
      .map(pictures => pictures.querySelector("small").textContent)""")
    assert said == ["original"] * 24


def tabs(browser: Chromium) -> list[str]:
    """The tabs by their text, the chosen one in brackets; what is shown has to be that one."""
    found: list[list[Any]] = browser.evaluate("""[...document.querySelectorAll("[role=tab]")]
      .map(tab => [tab.textContent, tab.getAttribute("aria-selected") === "true",
        !document.getElementById(tab.getAttribute("aria-controls")).hidden, tab.tabIndex])""")
    for _, is_chosen, is_shown, tab_index in found:
        assert is_shown == is_chosen
        assert tab_index == (0 if is_chosen else -1)
    return [f"[{name}]" if is_chosen else name for name, is_chosen, _, _ in found]


def test_a_tab_shows_one_data_set(browser: Chromium) -> None:
    assert tabs(browser) == ["[ct]", "labels", "Checklists", "Technical notes"]
    browser.evaluate("document.querySelectorAll('[role=tab]')[1].click()")
    assert tabs(browser) == ["ct", "[labels]", "Checklists", "Technical notes"]


def test_tabs_follow_the_arrow_keys(browser: Chromium) -> None:
    browser.evaluate("document.querySelector('[role=tab]').focus()")
    steps = {"ArrowRight": 1, "End": 3, "ArrowLeft": 2, "Home": 0}
    for key, expected in steps.items():
        browser.press(key, "")
        assert [name.startswith("[") for name in tabs(browser)].index(True) == expected
        focused = "[...document.querySelectorAll('[role=tab]')].indexOf(document.activeElement)"
        assert browser.evaluate(focused) == expected


def test_an_address_inside_a_data_set_opens_its_tab(browser: Chromium) -> None:
    browser.evaluate("location.hash = '#labels.shortcuts'")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    assert tabs(browser)[1] == "[labels]"
    top = "document.getElementById('labels.shortcuts').getBoundingClientRect().top"
    assert 0 <= browser.evaluate(top) < 800


@pytest.fixture
def without_script(chromium: Chromium, page: Path) -> Iterator[Chromium]:
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    chromium.set_width(DESKTOP_PX)
    chromium.open(page)
    yield chromium
    chromium.call("Emulation.setScriptExecutionDisabled", value=False)


def test_without_a_script_all_is_shown(without_script: Chromium) -> None:
    counts = without_script.evaluate("""["section.panel", "[hidden]", "[role=tab]"]
      .map(selector => document.querySelectorAll(selector).length)""")
    assert counts == [4, 2, 0]  # what is hidden: the filters of two galleries
    heights = "[...document.querySelectorAll('section.panel')].map(part => part.offsetHeight)"
    assert min(without_script.evaluate(heights)) > 100


def test_in_print_all_is_shown(browser: Chromium) -> None:
    browser.call("Emulation.setEmulatedMedia", media="print")
    heights = browser.evaluate("""[...document.querySelectorAll("section.panel")]
      .map(part => part.checkVisibility({contentVisibilityAuto: true}) && part.offsetHeight)""")
    browser.evaluate(OPEN_ALL)
    browser.set_width(PAPER_PX)
    width = browser.evaluate("document.documentElement.scrollWidth")
    browser.call("Emulation.setEmulatedMedia", media="screen")
    assert min(heights) > 100
    assert width <= PAPER_PX


def test_in_print_what_was_folded_is_open_and_folded_again(browser: Chromium) -> None:
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") > 10


def test_the_page_prints(browser: Chromium) -> None:
    printed = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") > 10


FILTER = """((name, value) => {
  const filters = document.querySelector(".filters");
  filters.querySelector(`[name=${name}]`).value = value;
  filters.dispatchEvent(new Event("change"));
  return filters.querySelector("[role=status]").textContent;
})"""
SHOWN = """[...document.querySelectorAll("#ct\\\\.panel .galleries figure")]
  .filter(figure => figure.checkVisibility()).map(figure => ({...figure.dataset}))"""


def count_shown(browser: Chromium) -> list[dict[str, str]]:
    found: list[dict[str, str]] = browser.evaluate(SHOWN)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "false positive"), ("kind", "right"), ("label", "covid"), ("certainty", "sure")],
)
def test_a_filter_shows_the_images_asked_for_of_all_cases(
    browser: Chromium, name: str, value: str
) -> None:
    all_images = browser.evaluate("""[...document.querySelectorAll(".galleries")][0]
      .querySelectorAll("figure").length""")
    said = browser.evaluate(f'{FILTER}("{name}", "{value}")')
    shown = count_shown(browser)
    assert 0 < len(shown) < all_images
    assert {image[name] for image in shown} == {value}
    assert said == f"{len(shown)} images shown"


def test_filters_go_together_and_come_off_again(browser: Chromium) -> None:
    for name, value in {"kind": "error", "label": "normal", "case": "full-ce"}.items():
        browser.evaluate(f'{FILTER}("{name}", "{value}")')
    shown = count_shown(browser)
    assert shown
    assert {image["label"] for image in shown} == {"normal"}
    assert {image["kind"] for image in shown} == {"false positive"}
    for name in ("kind", "label", "case"):
        browser.evaluate(f'{FILTER}("{name}", "")')
    browser.evaluate(OPEN_ALL)
    assert len(count_shown(browser)) == 18


def test_a_filter_that_nothing_passes_says_so(browser: Chromium) -> None:
    assert browser.evaluate(f'{FILTER}("kind", "confusion")') == "0 images shown"
    assert count_shown(browser) == []


DIALOG = "document.querySelector('dialog')"
BUTTON = "document.querySelector('.galleries details[open] figure button')"


@pytest.mark.parametrize(("key", "text"), [("Enter", "\r"), ("Space", " ")])
def test_a_picture_is_enlarged_by_keyboard_and_put_back(
    browser: Chromium, key: str, text: str
) -> None:
    browser.evaluate(f"{BUTTON}.focus()")
    browser.press(" " if key == "Space" else key, text)
    assert browser.evaluate(f"{DIALOG}.open")
    assert browser.evaluate(f"{DIALOG}.querySelectorAll('use').length") == 3
    widths = (
        f"{DIALOG}.querySelector('svg').clientWidth > 2 * {BUTTON}.querySelector('svg').clientWidth"
    )
    assert browser.evaluate(widths)
    browser.press("Escape", "")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    assert not browser.evaluate(f"{DIALOG}.open")
    assert browser.evaluate(f"document.activeElement === {BUTTON}")


def test_a_click_enlarges_a_picture_and_arrows_go_on(browser: Chromium) -> None:
    browser.evaluate(f"{BUTTON}.click()")
    title = f"{DIALOG}.querySelector('figcaption').textContent"
    first = browser.evaluate(title)
    browser.press("ArrowRight", "")
    assert browser.evaluate(title) != first
    browser.press("ArrowLeft", "")
    assert browser.evaluate(title) == first
    browser.evaluate(f"[...{DIALOG}.querySelectorAll('button')].at(-1).click()")
    assert not browser.evaluate(f"{DIALOG}.open")


def test_the_overview_fits_on_one_screen(browser: Chromium) -> None:
    browser.set_width(1400)
    bottom = "document.querySelector('.kind').getBoundingClientRect().bottom"
    assert browser.evaluate(bottom) <= 900


@pytest.mark.parametrize("width", [PHONE_PX, DESKTOP_PX])
def test_marks_of_the_overview_lie_inside_their_cells(browser: Chromium, width: int) -> None:
    browser.set_width(width)
    outside = browser.evaluate("""[...document.querySelectorAll(".forest td")].filter(cell => {
      const box = cell.getBoundingClientRect();
      return [...cell.querySelectorAll("line, circle, path")].some(mark => {
        const {left, right} = mark.getBoundingClientRect();
        return left < box.left - 1 || right > box.right + 1;
      });
    }).length""")
    assert outside == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE_PX), ("dark", DESKTOP_PX)])
def test_nothing_shuts_people_out(browser: Chromium, scheme: str, width: int) -> None:
    axe = (package_files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    browser.set_scheme(scheme)
    browser.set_width(width)
    browser.evaluate(f"{axe};0")
    for number in range(len(tabs(browser))):
        browser.evaluate(f"document.querySelectorAll('[role=tab]')[{number}].click()")
        browser.evaluate(OPEN_ALL)
        found = browser.evaluate("""axe.run(document, {resultTypes: ["violations"]})
          .then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html]))""")
        assert found == [], json.dumps(found, indent=1)


@pytest.mark.parametrize("width", [PHONE_PX, 768, DESKTOP_PX])
def test_the_page_never_scrolls_sideways(browser: Chromium, width: int) -> None:
    browser.set_width(width)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate("window.innerWidth") == width
    for number in range(len(tabs(browser))):
        browser.evaluate(f"document.querySelectorAll('[role=tab]')[{number}].click()")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_wide_table_scrolls_in_its_own_box(browser: Chromium) -> None:
    browser.set_width(PHONE_PX)
    box = "document.querySelector('.scroll')"
    assert browser.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    browser.evaluate(f"{box}.scrollLeft = 300")
    # The names of the cases stay in sight.
    left = f"{box}.querySelector('tbody th').getBoundingClientRect().left"
    assert 0 <= browser.evaluate(left) < PHONE_PX / 2


LUMINANCE = """(colour => {
  const linear = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
})"""


# The colour behind an element: that of the nearest ancestor, or of itself, which has one.
BEHIND = """(element => {
  while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") {
    element = element.parentElement;
  }
  return getComputedStyle(element).backgroundColor;
})"""


def contrast(browser: Chromium, selector: str, quantity: str = "color") -> float:
    """Contrast ratio of an element's ink and what is behind it (WCAG 2.2, 1 to 21)."""
    element = f"document.querySelector('{selector}')"
    luminances = [
        browser.evaluate(f"{LUMINANCE}({colour})")
        for colour in (f"getComputedStyle({element}).{quantity}", f"{BEHIND}({element})")
    ]
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Chromium, scheme: str) -> None:
    browser.set_scheme(scheme)
    inks = ("body", "td small", "thead button", "nav a", "svg text", ".note", ".error strong")
    inks += (".legend", ".kind h2", ".axis text", "figcaption .warning")
    for selector in inks:
        quantity = "fill" if selector.endswith(" text") else "color"
        assert contrast(browser, selector, quantity) >= 4.5, selector  # WCAG 2.2, AA


def test_the_page_follows_the_colour_scheme(browser: Chromium) -> None:
    colours = []
    for scheme in ("light", "dark"):
        browser.set_scheme(scheme)
        colours.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def test_a_missing_browser_is_a_failure_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        find_chromium()
