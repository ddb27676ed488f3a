"""What is known of a data set's images beside their pixels, class by class."""

from collections.abc import Sequence

import pandas as pd

from stages.dataset.metadata import Metadata
from stages.reporting.table import Cell, Table, count_cell

COMMONEST = 3  # values of a category


def build_metadata_table(
    metadata: Metadata, labels: "pd.Series[str]", class_names: Sequence[str]
) -> Table:
    """A row per column: of how many images it is known, and how it lies in each class.

    Args:
        metadata: of N images, with at least one column.
        labels: (N,) class of each.
        class_names: in the order of the columns.
    """
    return Table(
        "Metadata: what is known of the images beside their pixels, and how it lies in each class "
        "(a column that lies unlike gives the class away)",
        ["column", "kind", "images with a value", "cells that are no number", *class_names],
        [
            [
                Cell(name),
                Cell(column.kind),
                count_cell(int(metadata.is_known(name).sum())),
                Cell(f"{column.n_unusable:,}", ", ".join(column.unusable)),
                *(_class_cell(metadata, name, labels == class_name) for class_name in class_names),
            ]
            for name, column in metadata.columns.items()
        ],
    )


def _class_cell(metadata: Metadata, name: str, of_class: "pd.Series[bool]") -> Cell:
    """Median and quartiles, or the commonest values with their shares, over how many are known."""
    chosen = of_class.to_numpy() & metadata.is_known(name).to_numpy()
    values = metadata.table[name][chosen]
    known = f"known of {len(values):,} of {of_class.sum():,}"
    if not len(values):
        return Cell("nothing known", known)
    if metadata.columns[name].kind == "number":
        low, middle, high = values.quantile([0.25, 0.5, 0.75])
        return Cell(f"{middle:g} ({low:g} to {high:g})", known)
    shares = values.value_counts(normalize=True)
    said = ", ".join(f"{value} {share:.0%}" for value, share in shares[:COMMONEST].items())
    more = f", {len(shares) - COMMONEST} more" if len(shares) > COMMONEST else ""
    return Cell(said + more, known)
