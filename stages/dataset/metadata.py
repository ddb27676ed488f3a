"""What a source's table says of each image beside its pixels, as stages hand it on in a folder.

metadata.csv    image_id and a column per entry of `metadata.columns`: numbers, or text; empty where
                nothing is known
metadata.json   column to its kind, and what could not be used of it
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from stages.config.csv_file import read_csv
from stages.config.params import ColumnKind
from stages.config.writing import write_csv, write_json

METADATA, COLUMNS = "metadata.csv", "metadata.json"
METADATA_FILES = (METADATA, COLUMNS)


class Column(NamedTuple):
    """What is known of one column.

    Attributes:
        kind: number or category.
        n_unusable: cells that are no number where one is wanted; taken as missing.
        unusable: the first of them.
    """

    kind: ColumnKind
    n_unusable: int
    unusable: list[str]


@dataclass(frozen=True)
class Metadata:
    """Of N images; without columns where the data set names no metadata.

    Attributes:
        columns: by name.
        table: (N,) rows: image_id, then float64 columns, NaN where nothing is known, and columns
            of text, empty where nothing is.
    """

    columns: Mapping[str, Column]
    table: pd.DataFrame

    def of_images(self, image_ids: Iterable[str]) -> Self:
        """The rows of some images, in their order, each as often as it is named."""
        rows = self.table.set_index("image_id", drop=False).loc[list(image_ids)]
        return type(self)(self.columns, rows.reset_index(drop=True))

    def is_known(self, name: str) -> "pd.Series[bool]":
        """(N,) whether an image has a value in a column."""
        values = self.table[name]
        return values.notna() if self.columns[name].kind == "number" else values != ""

    def save(self, folder: Path) -> None:
        """Write METADATA_FILES."""
        write_csv(folder / METADATA, self.table)
        columns = {name: column._asdict() for name, column in self.columns.items()}
        write_json(folder / COLUMNS, columns)


def tabulate_metadata(
    image_ids: Iterable[str],
    cells: Iterable[Mapping[str, float | str | None]],
    columns: Mapping[str, Column],
) -> Metadata:
    """Metadata of images from what is said of each, by column; None where nothing is."""
    said = list(cells)
    table = pd.DataFrame({"image_id": list(image_ids)})
    for name, column in columns.items():
        values = [one.get(name) for one in said]
        table[name] = (
            np.array([np.nan if v is None else v for v in values], np.float64)
            if column.kind == "number"
            else np.array(["" if v is None else v for v in values], object)
        )
    return Metadata(columns, table)


def load_metadata(folder: Path) -> Metadata:
    """Read METADATA_FILES."""
    content = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
    columns = {name: Column(**column) for name, column in content.items()}
    table = read_csv(folder / METADATA, str)
    for name, column in columns.items():
        if column.kind == "number":
            table[name] = pd.to_numeric(table[name].replace("", None)).astype(np.float64)
    return Metadata(columns, table)
