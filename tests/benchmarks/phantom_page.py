"""The section of metrics/README.md on the default run, from plots/table.csv as it is committed."""

import pandas as pd

from stages.evaluation.statistics.records import Estimate
from stages.reporting.wording import label
from tests.benchmarks.real_page import markdown_table
from tests.benchmarks.real_picture import figure_text

METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "auroc")
OCCLUDED = ("auroc_lungs_hidden", "auroc_lungs_only")


def build_phantom_section(text: str, table: pd.DataFrame) -> str:
    """Heading, text and the cases of the default run.

    Args:
        text: what stands above the table.
        table: plots/table.csv.
    """
    columns = (
        *("case", "network, weights, trained blocks, loss", *map(label, METRICS)),
        *("AUROC, lungs hidden", "AUROC, lungs only", "test images"),
    )
    rows = [_row(row) for row in table.to_dict("records")]
    return f"{text}\n{markdown_table(columns, rows)}"


def _row(row: dict[str, object]) -> list[str]:
    settings = ", ".join(str(row[key]) for key in ("model", "weights", "train", "loss"))
    figures = (_figure(row, name) for name in (*METRICS, *OCCLUDED))
    return [f"`{row['case']}`", settings, *figures, f"{row['n_test']:,}"]


def _figure(row: dict[str, object], name: str) -> str:
    value, low, high = (float(str(row[f"{name}{end}"])) for end in ("", "_low", "_high"))
    return "" if pd.isna(value) else figure_text(Estimate(value, low, high))
