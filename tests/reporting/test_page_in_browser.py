"""The report as a browser shows it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.reporting.discussion import build_discussion
from stages.reporting.page import render_page
from tests.reporting.chromium import Chromium, find_chromium
from tests.reporting.conftest import make_files

pytestmark = pytest.mark.slow

PHONE_PX = 360
DESKTOP_PX = 1280
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
    browser.evaluate(OPEN_ALL)
    widths = browser.evaluate("""Promise.all([...document.images].map(async image => {
      image.loading = "eager";
      await image.decode();
      return image.naturalWidth;
    }))""")
    # Four cases, six images, two methods; and a sheet per data set.
    assert len(widths) == 50
    assert min(widths) > 0


@pytest.mark.parametrize("width", [PHONE_PX, 768, DESKTOP_PX])
def test_the_page_never_scrolls_sideways(browser: Chromium, width: int) -> None:
    browser.set_width(width)
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate("window.innerWidth") == width
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
    for selector in inks:
        quantity = "fill" if selector == "svg text" else "color"
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
