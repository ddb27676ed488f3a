"""Figures of the report as SVG text: no files, no network, no clock."""

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.reporting.results import Results

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "report"  # the same figure gives the same text
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.size"] = 9

# Okabe and Ito 2008, readable with any colour vision; without black and yellow, so that every line
# is seen on a white and on a black page.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
DASHES = ("-", "--", ":", "-.")
SPLIT_STYLES = {"train": (COLOURS[0], "-"), "val": (COLOURS[1], "--")}
WIDTH = 11.0  # inches; the page is as wide
CASES_PER_ROW = 2
QUANTITIES = ("loss", "accuracy")
FAINT = "0.5"  # grey of lines that guide the eye


def draw_learning_curves(results: Results, cases: Sequence[str]) -> str:
    """Loss and accuracy per epoch, training and validation; a line per run of the case."""
    rows = math.ceil(len(cases) / CASES_PER_ROW)
    panels = CASES_PER_ROW * len(QUANTITIES)
    figure, axes = plt.subplots(rows, panels, figsize=(WIDTH, 2.2 * rows), squeeze=False)
    pairs = axes.reshape(-1, len(QUANTITIES))
    for pair, case in zip(pairs, cases, strict=False):
        for axis, quantity in zip(pair, QUANTITIES, strict=True):
            _draw_runs(axis, results.cases[case].epochs, quantity)
            axis.set_title(f"{case}\n{quantity}", fontsize=8)
            axis.set_xlabel("epoch", fontsize=8)
            axis.tick_params(labelsize=7)
    for axis in pairs[len(cases) :].flat:
        axis.set_axis_off()
    axes[0, 0].legend(frameon=False, fontsize=7)
    return _to_svg(figure)


def _draw_runs(axis: Axes, epochs: pd.DataFrame, quantity: str) -> None:
    runs = [run for _, run in epochs.groupby(["fold", "seed"])]
    for split, (colour, line) in SPLIT_STYLES.items():
        for number, run in enumerate(runs):
            part = run[run["split"] == split]
            axis.plot(
                part["epoch"],
                part[quantity],
                line,
                color=colour,
                linewidth=1.5 if len(runs) == 1 else 0.7,
                marker=".",  # a case of one epoch has no line
                markersize=3,
                label=split if number == 0 else None,
            )


def draw_test_curves(results: Results, cases: Sequence[str], positive: str) -> str:
    """ROC and precision-recall of the positive class on the test images, all cases together."""
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(WIDTH, _height(cases)))
    for number, case in enumerate(cases):
        curves = results.cases[case].report["test"]["curves"][positive]
        style = _line_style(number)
        roc.plot(curves["roc"]["fpr"], curves["roc"]["tpr"], label=case, **style)
        points = curves["precision_recall"]
        pr.plot(points["recall"], points["precision"], label=case, **style)
    _draw_diagonal(roc)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {positive}")
    pr.set(
        xlabel="recall", ylabel="precision", title=f"Precision-recall, {positive}", ylim=(0, 1.02)
    )
    _add_legend(pr)
    return _to_svg(figure)


def draw_reliability(results: Results, cases: Sequence[str]) -> str:
    """Accuracy against confidence on the test images, before and after temperature scaling."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, _height(cases)))
    for axis, side in zip(axes, ("before", "after"), strict=True):
        for number, case in enumerate(cases):
            bins = results.cases[case].report["calibration"][side]["reliability"]
            style = _line_style(number)
            axis.plot(bins["confidence"], bins["accuracy"], marker=".", label=case, **style)
        _draw_diagonal(axis)
        axis.set(
            xlabel="confidence: mean probability of the predicted class",
            ylabel="accuracy",
            title=f"Reliability, {side} temperature scaling",
        )
    _add_legend(axes[-1])
    return _to_svg(figure)


def _height(cases: Sequence[str]) -> float:
    """Inches of a row of panels whose legend has a line per case."""
    return max(3.6, 0.18 * len(cases) + 0.6)


def _line_style(number: int) -> dict[str, Any]:
    """Six colours, and other dashes for every six: no two of 24 cases look alike."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
        "linewidth": 1.4,
    }


def _draw_diagonal(axis: Axes) -> None:
    axis.plot((0, 1), (0, 1), color=FAINT, linewidth=0.8)


def _add_legend(axis: Axes) -> None:
    """To the right of the last panel."""
    axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _to_svg(figure: Figure) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    text = buffer.getvalue()
    # The page's own text colour, which differs between its light and its dark form.
    return text[text.index("<svg") :].replace("#000000", "currentColor")
