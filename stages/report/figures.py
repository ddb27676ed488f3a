"""Figures of the report as SVG text: no files, no network, no clock."""

import io
import math

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.report.results import Results

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "report"  # the same figure gives the same text
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.size"] = 9

SPLIT_STYLES = {"train": ("C0", "-"), "val": ("C1", "--")}
WIDTH = 11.0  # inches; the page is as wide
CASES_PER_ROW = 2
QUANTITIES = ("loss", "accuracy")


def draw_learning_curves(results: Results, cases: list[str]) -> str:
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


def draw_test_curves(results: Results, cases: list[str], positive: str) -> str:
    """ROC and precision-recall of the positive class on the test images, all cases together."""
    height = max(3.6, 0.18 * len(cases) + 0.6)  # the legend has a line per case
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(WIDTH, height))
    for number, case in enumerate(cases):
        curves = results.cases[case].report["test"]["curves"][positive]
        # Ten colours and four dashes: no two of twenty cases look alike.
        line = ("-", "--", ":", "-.")[number % 4]
        roc.plot(curves["roc"]["fpr"], curves["roc"]["tpr"], line, label=case)
        points = curves["precision_recall"]
        pr.plot(points["recall"], points["precision"], line, label=case)
    roc.plot((0, 1), (0, 1), color="0.7", linewidth=0.8)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {positive}")
    pr.set(
        xlabel="recall", ylabel="precision", title=f"Precision-recall, {positive}", ylim=(0, 1.02)
    )
    pr.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _to_svg(figure)


def _to_svg(figure: Figure) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
