"""Ways to cut images into groups: by each column of the metadata, and by the known stratum."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.metadata import Metadata
from stages.dataset.runs import COPY

FEW_VALUES = 4  # so many numbers or fewer are groups of their own
QUARTERS = (0.25, 0.5, 0.75)
NOT_KNOWN = "not known"  # no cell says that: it would be taken as missing
STRATUM = "known stratum"


class Partition(NamedTuple):
    """Of n rows.

    Attributes:
        title: what is cut by: a column, or the known stratum.
        how: in words.
        names: of the groups, in their order.
        groups: (n,) number of each row's group.
    """

    title: str
    how: str
    names: list[str]
    groups: NDArray[np.int64]


def partition_rows(rows: pd.DataFrame, metadata: Metadata) -> list[Partition]:
    """Every way to cut rows of predictions into two groups or more.

    Numbers are cut at the quartiles of all images of the view, so that cases share their groups;
    images of which nothing is known are a group.

    Args:
        rows: with columns image_id and subgroup; copies of an image go with it.
        metadata: of all images of the view.
    """
    images = rows["image_id"].str.replace(COPY, "", regex=True)
    numbers = pd.Index(metadata.table["image_id"]).get_indexer(images)
    found = [_cut_by_column(metadata, column) for column in metadata.columns]
    parts = [part._replace(groups=part.groups[numbers]) for part in found]
    if (rows["subgroup"] != "").any():
        parts.insert(0, _cut_by_text(rows["subgroup"], STRATUM, "as drawn"))
    return [part for part in parts if len(np.unique(part.groups)) > 1]


def _cut_by_column(metadata: Metadata, column: str) -> Partition:
    values = metadata.table[column]
    if metadata.columns[column].kind == "category":
        return _cut_by_text(values, column, "by value")
    known = values[metadata.is_known(column)].to_numpy(np.float64)
    if len(distinct := np.unique(known)) <= FEW_VALUES:
        texts = values.map(_number_text).where(values.notna(), "")
        return _cut_by_text(texts, column, "by value", [_number_text(v) for v in distinct])
    edges = np.unique(np.quantile(known, QUARTERS, method="inverted_cdf"))
    edges = edges[edges < distinct[-1]]
    if not len(edges):  # most images have the largest value
        edges = distinct[-2:-1]
    bounds = [_number_text(edge) for edge in edges]
    names = [f"up to {bounds[0]}", *(f"over {a} to {b}" for a, b in pairwise(bounds))]
    names += [f"over {bounds[-1]}", NOT_KNOWN]
    groups = np.searchsorted(edges, values.to_numpy(np.float64), side="left")
    groups[values.isna().to_numpy()] = len(edges) + 1
    return Partition(column, "at the quartiles of all images", names, groups.astype(np.int64))


def _cut_by_text(
    texts: "pd.Series[str]", title: str, how: str, order: Sequence[str] | None = None
) -> Partition:
    """A group for each text, in the order of the alphabet unless told, and one for none."""
    values = texts.to_numpy(str)
    names = [*(np.unique(values[values != ""]).tolist() if order is None else order), ""]
    number = {name: position for position, name in enumerate(names)}
    groups = np.array([number[value] for value in values], np.int64)
    return Partition(title, how, [*names[:-1], NOT_KNOWN], groups)


def _number_text(value: float) -> str:
    """As short as it can be without becoming another number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
