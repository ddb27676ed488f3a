"""Figures of the report as SVG text: no files, no network, no clock."""

import hashlib
import io
import re
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "report"  # the same figure gives the same text
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.size"] = 9

# Okabe and Ito 2008, readable with any colour vision; without black and yellow, so that every line
# is seen on a white and on a black page.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
DASHES = ("-", "--", ":", "-.")
WIDTH = 11.0  # inches; the page is as wide
LONG_NUMBER = re.compile(r"(\d\.\d\d)\d+")
# Of what is drawn several times, a mark or a frame; matplotlib makes it from what is drawn.
SHARED_ID = re.compile(r'(id="|"#|url\(#)([a-z][0-9a-f]{10})\b')
FAINT = "0.5"  # grey of lines that guide the eye


def panel_row(n_cases: int) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two panels, as high as a legend with a line per case needs."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, max(3.6, 0.18 * n_cases + 0.6)))
    return figure, tuple(axes)


def line_style(number: int) -> dict[str, Any]:
    """Six colours and four dashes: no two of 24 cases look alike, nor neighbours without colour."""
    dash = number + number // (2 * len(COLOURS))  # colours and dashes come together again after 12
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[dash % len(DASHES)],
        "linewidth": 1.4,
    }


def draw_diagonal(axis: Axes) -> None:
    """From corner to corner of the unit square."""
    axis.plot((0, 1), (0, 1), color=FAINT, linewidth=0.8)


def draw_legend(axis: Axes) -> None:
    """To the right of the last panel."""
    axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def to_svg(figure: Figure, *, is_arranged: bool = False) -> str:
    """The figure as text, which takes the ink of the page around it; the figure is closed."""
    if not is_arranged:
        figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    text = buffer.getvalue()
    # Less than a hundredth of a point cannot be seen, nor can indentation: a fifth of the text.
    text = re.sub(r' d="[^"]*"', lambda path: LONG_NUMBER.sub(r"\1", path[0]), text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    text = _with_own_ids(text)
    # The page's own text colour, which differs between its light and its dark form.
    return text[text.index("<svg") :].replace("#000000", "currentColor")


def _with_own_ids(svg: str) -> str:
    """The same with ids that no other figure of the page has, and no more of them than are used."""
    own = hashlib.sha256(svg.encode()).hexdigest()[:6]
    numbers: dict[str, int] = {}

    def rename(found: re.Match[str]) -> str:
        number = numbers.setdefault(found[2], len(numbers))
        return f"{found[1]}i{own}-{number}"

    return SHARED_ID.sub(rename, re.sub(r'<g id="[^"]*"', "<g", svg))
