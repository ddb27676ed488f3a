import re

from stages.reporting.markdown import MarkdownSection, plain, render_sections, render_table
from stages.reporting.table import Cell, Table, fact_table


def test_text_is_no_markup_and_acts_on_nothing_around_it() -> None:
    text = "a|b <script>[x](y) *b* `c` ~d~ \\ \n# no title \u202e"
    shown = plain(text)
    assert re.search(r"(?<!\\)[|<>\[\]*`~]", shown) is None
    assert "\n" not in shown
    assert "\u202e" not in shown
    assert plain("roc_auc = 0.5 (n/a)") == "roc_auc = 0.5 (n/a)"


def test_a_table_has_a_row_per_row_and_notes_in_brackets() -> None:
    table = Table("caption", ["case", "a|b"], [[Cell("one"), Cell("0.5", "0.4 to 0.6")]])
    assert render_table(table) == ("| case | a\\|b |\n| --- | --- |\n| one | 0.5 (0.4 to 0.6) |")


def test_names_and_values_are_a_list() -> None:
    assert render_table(fact_table("facts", {"a": "1", "b": "x|y"})) == "- a: 1\n- b: x\\|y"


def test_a_page_has_its_notices_before_its_sections() -> None:
    sections = [
        MarkdownSection("First", ["one", "two"]),
        MarkdownSection("Second", code="\nprint(1)\n"),
    ]
    assert render_sections("Title", ["Beware."], sections) == (
        "# Title\n\n> Beware.\n\n## First\n\n- one\n- two\n\n## Second\n\n"
        "```python\nprint(1)\n```\n"
    )
