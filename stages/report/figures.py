"""Figures of the report as SVG text: no files, no network, no clock."""

import io

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from stages.report.results import Results

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "report"  # the same figure gives the same text
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.size"] = 9

SPLIT_STYLES = {"train": ("C0", "-"), "val": ("C1", "--")}
COLUMNS = 2


def draw_learning_curves(results: Results, cases: list[str]) -> str:
    """Loss and accuracy per epoch, training and validation, a row per case."""
    figure, axes = plt.subplots(len(cases), 2, figsize=(7.5, 2.3 * len(cases)), squeeze=False)
    for row, case in zip(axes, cases, strict=True):
        epochs = results.cases[case].epochs
        for axis, quantity in zip(row, ("loss", "accuracy"), strict=True):
            for split, (colour, line) in SPLIT_STYLES.items():
                part = epochs[epochs["split"] == split]
                axis.plot(part["epoch"], part[quantity], line, color=colour, label=split)
            axis.set_title(f"{case}: {quantity}", fontsize=9)
            axis.set_xlabel("epoch")
            axis.legend(frameon=False)
    return _to_svg(figure)


def draw_test_curves(results: Results, cases: list[str], positive: str) -> str:
    """ROC and precision-recall of the positive class on the test images, all cases together."""
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(7.5, 3.6))
    for number, case in enumerate(cases):
        curves = results.cases[case].report["test"]["curves"][positive]
        line = ("-", "--", ":", "-.")[number % 4]
        roc.plot(curves["roc"]["fpr"], curves["roc"]["tpr"], line, label=case)
        points = curves["precision_recall"]
        pr.plot(points["recall"], points["precision"], line, label=case)
    roc.plot((0, 1), (0, 1), color="0.7", linewidth=0.8)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {positive}")
    pr.set(
        xlabel="recall", ylabel="precision", title=f"Precision-recall, {positive}", ylim=(0, 1.02)
    )
    pr.legend(frameon=False, fontsize=7)
    return _to_svg(figure)


def _to_svg(figure: Figure) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
