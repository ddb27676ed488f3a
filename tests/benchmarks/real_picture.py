"""The picture of a section: its cases by one figure, beside shortcuts and what others reached."""

import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from pydantic import BaseModel, ConfigDict

from stages.evaluation.statistics.records import Estimate
from stages.reporting.drawing import COLOURS, FAINT, WIDTH
from stages.reporting.wording import as_text, ends_text, label

Json = dict[str, Any]

OPTIMISTIC = COLOURS[3]  # of cases, and of what was published
OF_HONEST = {"color": COLOURS[0], "marker": "o"}
OF_OPTIMISTIC = {"color": OPTIMISTIC, "marker": "o"}
OF_SHORTCUT = {"color": FAINT, "marker": "D", "markerfacecolor": "white"}
WHY_OPTIMISTIC = "random folds, each scored at the epoch that suits it best"
ROW, MARGIN = 0.3, 1.1  # inches
LEFT, RIGHT = 0.36, 0.8  # of the plot in the picture; names to its left, figures to its right


class Level(BaseModel):
    """A figure that was published elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    value: float


class Band(Level):
    """An estimate of the most that can be reached, and the ends of its interval."""

    low: float
    high: float


class Picture(BaseModel):
    """What is drawn of a section.

    Attributes:
        file: its name beside studies.yaml.
        metric: the figure.
        cases: what is said of each, in the order from above; one without results is left out.
        view: that of the shortcuts.
        shortcuts: what is said of each, below the cases; likewise.
        published: drawn as a line that all rows cross.
        ceiling: drawn as a band behind all rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    metric: str
    cases: dict[str, str]
    view: str
    shortcuts: dict[str, str]
    published: Level
    ceiling: Band


class Row(NamedTuple):
    """A line of the picture."""

    text: str
    figure: Estimate
    style: Mapping[str, str]


def draw(picture: Picture, cases: Mapping[str, Json], audits: Mapping[str, Json]) -> str:
    """The picture as SVG on white, the same text for the same figures.

    Args:
        picture: what is wanted.
        cases: as `real_results` collected them, by name.
        audits: likewise, by view.
    """
    rows = list(_rows(picture, cases, audits))
    figure, axis = plt.subplots(figsize=(WIDTH, ROW * len(rows) + MARGIN))
    below, above = (inches / (ROW * len(rows) + MARGIN) for inches in (0.5, 0.35))
    figure.subplots_adjust(left=LEFT, right=RIGHT, bottom=below, top=1 - above)
    _draw_levels(axis, picture)
    for place, row in enumerate(rows):
        _draw_row(axis, place, row)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(range(len(rows)), [row.text for row in rows])
    axis.set_xlabel(f"{label(picture.metric)} with 95 % interval; orange: {WHY_OPTIMISTIC}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _rows(picture: Picture, cases: Mapping[str, Json], audits: Mapping[str, Json]) -> Iterator[Row]:
    for name, text in picture.cases.items():
        if name in cases:
            style = OF_OPTIMISTIC if cases[name]["optimistic"] else OF_HONEST
            yield Row(text, estimate(cases[name]["figures"], picture.metric), style)
    shortcuts = audits.get(picture.view, {}).get("shortcuts", {})
    for name, text in picture.shortcuts.items():
        if name in shortcuts:
            yield Row(text, estimate(shortcuts[name], picture.metric), OF_SHORTCUT)


def estimate(figures: Mapping[str, float | None], name: str) -> Estimate:
    """A figure by the names that files have it by."""
    return Estimate(*(figures[f"{name}{end}"] for end in ("", "_low", "_high")))


def figure_text(figure: Estimate, sign: str = "") -> str:
    """A figure and the ends of its interval."""
    ends = ends_text(figure, sign)
    return as_text(figure.value, sign) + (f" ({ends})" if ends else "")


def _draw_levels(axis: Axes, picture: Picture) -> None:
    published, ceiling = picture.published, picture.ceiling
    axis.axvspan(ceiling.low, ceiling.high, color="0.93", zorder=0)
    axis.axvline(ceiling.value, color="0.8", zorder=0)
    axis.axvline(published.value, color=OPTIMISTIC, linestyle="--", linewidth=1)
    place = {"transform": axis.get_xaxis_transform(), "va": "bottom", "fontsize": 8}
    axis.text(published.value, 1.01, f" {_said(published)}", ha="left", color=OPTIMISTIC, **place)
    axis.text(ceiling.value, 1.01, f"{_said(ceiling)} ", ha="right", color="0.4", **place)


def _said(level: Level) -> str:
    return f"{level.text} {level.value:g}"


def _draw_row(axis: Axes, place: int, row: Row) -> None:
    if row.figure.has_interval:
        ends = (row.figure.low, row.figure.high)
        axis.plot(ends, (place, place), color=row.style["color"], linewidth=2)
    if row.figure.value is not None:
        axis.plot([row.figure.value], [place], **row.style)
    beside = axis.get_yaxis_transform()
    axis.text(1.02, place, figure_text(row.figure), transform=beside, va="center")


def describe(picture: Picture, cases: Mapping[str, Json], audits: Mapping[str, Json]) -> str:
    """The same in words, for who cannot see it."""
    rows = [f"{row.text} {as_text(row.figure.value)}" for row in _rows(picture, cases, audits)]
    levels = [_said(level) for level in (picture.published, picture.ceiling)]
    return f"{label(picture.metric)}: {'; '.join((*rows, *levels))}"
