"""The essential plots of each case in small: calibration, net benefit, distributions.

The panels of a row are drawn on one axis, one beside the other: that is several times as fast, and
as small, as an axis of its own for each.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.reporting.drawing import COLOURS, DASHES, FAINT, WIDTH, to_svg
from stages.reporting.measure_documents import DecisionCurve, SmoothCurve, Values
from stages.reporting.results import CaseResults, DatasetResults

FloatArray = NDArray[np.float64]
Styles = dict[str, dict[str, Any]]  # of lines, by class

COLUMNS = 5  # cases side by side
PITCH = 1.12  # from one panel to the next; a panel is 1 wide
# Inches.
LEFT, LEGEND, TITLE, NUMBERS = 0.55, 0.25, 0.2, 0.2
ROW_HEIGHT, ROW_GAP = 1.0, 0.12
BLOCK_HEIGHT = TITLE + 3 * ROW_HEIGHT + 2 * ROW_GAP + NUMBERS
WORST = -0.3  # net benefit as a share of the most that is shown; what is worse is not told apart
STEP = 3  # every so many thresholds are drawn
TITLE_LENGTH = 26


def draw_measures(dataset: DatasetResults) -> str:
    """A column per case, in blocks of COLUMNS: three panels each, the same scale in every row."""
    cases = dataset.cases
    names, positive = dataset.info.class_names, dataset.info.positive
    styles = _class_styles(names, positive)
    blocks = [cases[first : first + COLUMNS] for first in range(0, len(cases), COLUMNS)]
    # Without a positive image net benefit is 0 or less; some height is needed all the same.
    most = 1.1 * max(0.02, *(case.report.decision_curve.prevalence for case in cases))
    shares = [found for case in cases for found in _shares(case, positive).values()]
    densest = 1.05 * max(found.max() for found in shares)
    height = LEGEND + len(blocks) * BLOCK_HEIGHT
    figure = plt.figure(figsize=(WIDTH, height))
    for number, block in enumerate(blocks):
        top = height - LEGEND - TITLE - number * BLOCK_HEIGHT
        rows = [_add_row(figure, top - row * (ROW_HEIGHT + ROW_GAP)) for row in range(3)]
        _draw_calibrations(rows[0], block, styles, positive)
        _draw_benefits(rows[1], block, styles[positive]["color"], most)
        _draw_distributions(rows[2], block, styles, positive, densest)
    _draw_legend(figure, styles)
    return to_svg(figure, is_arranged=True)


def _add_row(figure: Figure, top: float) -> Axes:
    """An axis whose upper edge is so many inches above the lower edge of the figure."""
    height = figure.get_figheight()
    place = (LEFT / WIDTH, (top - ROW_HEIGHT) / height, 1 - LEFT / WIDTH, ROW_HEIGHT / height)
    return figure.add_axes(place)


def _class_styles(names: Sequence[str], positive: str) -> Styles:
    """Of each class a colour and a dash; the positive one's is solid."""
    dashes = itertools.cycle(DASHES[1:])
    return {
        name: {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": DASHES[0] if name == positive else next(dashes),
        }
        for number, name in enumerate(names)
    }


def _draw_legend(figure: Figure, styles: Styles) -> None:
    lines = [Line2D([], [], label=name, **style) for name, style in styles.items()]
    lines.append(Line2D([], [], color=FAINT, label="as foretold; acting on no image"))
    lines.append(Line2D([], [], color=FAINT, linestyle="--", label="acting on all images"))
    figure.legend(handles=lines, ncols=len(lines), frameon=False, fontsize=7, loc="upper left")


def _draw_calibrations(
    axis: Axes, cases: Sequence[CaseResults], styles: Styles, positive: str
) -> None:
    """Smooth curves; bands of the positive class alone, since three would hide each other."""
    _frame(axis, len(cases), (0, 1), "observed share")
    for left, case in zip(_lefts(), cases, strict=False):
        axis.text(left, 1.05, _shortened(case.title), fontsize=7)
        axis.plot((left, left + 1), (0, 1), color=FAINT, linewidth=0.6)
        for name, found in case.report.calibration.before.classes.items():
            curve: SmoothCurve = found.curve
            x = left + np.array(curve.predicted)
            if name == positive:
                low, high = (_numbers(end) for end in (curve.observed.low, curve.observed.high))
                _fill(axis, x, low, high, styles[name]["color"])
            axis.plot(x, _numbers(curve.observed.value), linewidth=1.2, **styles[name])


def _draw_benefits(axis: Axes, cases: Sequence[CaseResults], colour: str, most: float) -> None:
    worst = WORST * most
    _frame(axis, len(cases), (worst, most), "net benefit")
    for left, case in zip(_lefts(), cases, strict=False):
        curve: DecisionCurve = case.report.decision_curve
        x, band = left + np.array(curve.threshold)[::STEP], curve.net_benefit
        axis.plot((left, left + 1), (0, 0), color=FAINT, linewidth=0.6)
        low, high = (np.maximum(_numbers(end[::STEP]), worst) for end in (band.low, band.high))
        _fill(axis, x, low, high, colour)
        treat_all = np.array(curve.treat_all)[::STEP]
        is_seen = treat_all > worst
        axis.plot(x[is_seen], treat_all[is_seen], color=FAINT, linewidth=0.9, linestyle="--")
        axis.plot(x, _numbers(band.value[::STEP]), color=colour, linewidth=1.2)


def _draw_distributions(
    axis: Axes,
    cases: Sequence[CaseResults],
    styles: Styles,
    positive: str,
    densest: float,
) -> None:
    _frame(axis, len(cases), (0, densest), "share of images", is_last=True)
    for left, case in zip(_lefts(), cases, strict=False):
        for name, shares in _shares(case, positive).items():
            edges = left + np.linspace(0, 1, len(shares) + 1)
            axis.stairs(shares, edges, linewidth=1.1, **styles[name])


def _shares(case: CaseResults, positive: str) -> dict[str, FloatArray]:
    """Of the images of each class by the probability of the positive one, in bins."""
    counts = case.report.test.probabilities.counts[positive]
    return {name: np.array(found) / max(1, sum(found)) for name, found in counts.items()}


def _frame(
    axis: Axes,
    n_panels: int,
    ends: tuple[float, float],
    label: str,
    *,
    is_last: bool = False,
) -> None:
    """Panels side by side; the last of a block has numbers below each of its panels."""
    lefts = _lefts()[:n_panels]
    ticks = [left + end for left in lefts for end in (0, 1)] if is_last else []
    axis.set_xticks(ticks, ["0", "1"] * (len(ticks) // 2))
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.tick_params(labelsize=7, length=2)
    axis.set(xlim=(0, COLUMNS * PITCH), ylim=ends)
    axis.set_ylabel(label, fontsize=7)
    axis.spines[:].set_visible(False)
    for left in lefts:
        axis.plot(
            [left, left, left + 1, left + 1, left],
            [*ends, *ends[::-1], ends[0]],
            color=FAINT,
            linewidth=0.8,
            clip_on=False,
        )


def _lefts() -> list[float]:
    """Where each panel of a row begins."""
    return [PITCH * column for column in range(COLUMNS)]


def _fill(axis: Axes, x: FloatArray, low: FloatArray, high: FloatArray, colour: str) -> None:
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _numbers(values: Values) -> FloatArray:
    """With NaN, for which matplotlib leaves a gap, where there is none."""
    return np.array([np.nan if value is None else value for value in values])


def _shortened(title: str) -> str:
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + "…"
