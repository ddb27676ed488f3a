"""What a case says of images: tables with one row per image and run.

Columns: image_id, group_id, split, subgroup, fold, seed, label, prediction, prob_<class>. A row's
split is that of the image in that run; an image that is both validated on and tested on has a row
for each.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.csv_file import read_csv
from stages.config.writing import write_csv
from stages.dataset.occlusion import OCCLUSIONS
from stages.dataset.runs import BOTH, Run, column_name

DECIMALS = 6
WHOLE, RUNS = "whole", "runs"  # names of tables, as those of occlusions are


class CaseTables(NamedTuple):
    """What a case says, a row per image and, where several are not averaged, run.

    Attributes:
        whole: the runs' rows, or with their test rows averaged.
        runs: the runs' rows.
        occluded: occlusion to what is said of the test images in which lungs were found, with
            that part of them hidden; averaged or not as `whole` is.
    """

    whole: pd.DataFrame
    runs: pd.DataFrame
    occluded: Mapping[str, pd.DataFrame]


def tabulate_run(
    manifest: pd.DataFrame,
    run: Run,
    probabilities: NDArray[np.float64],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """One row per image of a run, in manifest order; the prediction is the likeliest class.

    Images that are both val and test are val in these, and again, as test, in rows behind them.

    Args:
        manifest: (N,) rows of the view.
        run: who is in which split.
        probabilities: (N, K) of the run's model, rows sum to 1.
        class_names: order of the columns.
    """
    table = manifest[["image_id", "group_id"]].assign(
        split=run.splits,
        subgroup=manifest["subgroup"],
        fold=run.fold,
        seed=run.seed,
        label=manifest["label"],
    )
    table = with_probabilities(table, probabilities, class_names)
    is_both = table["split"] == BOTH
    if not is_both.any():
        return table
    as_val = table.assign(split=table["split"].where(~is_both, "val"))
    return pd.concat([as_val, table[is_both].assign(split="test")], ignore_index=True)


def average_test_rows(table: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Make the test rows of each image one row: the mean probabilities of the runs that test it.

    Fold and seed are kept where all these runs agree, else missing. The other splits stay as they
    are: their runs have seen other training images.
    """
    is_test = table["split"] == "test"
    per_image = table[is_test].groupby("image_id", sort=False)
    averaged = per_image.first().reset_index()
    for column in ("fold", "seed"):
        agreed = (per_image[column].nunique() == 1).to_numpy()
        averaged[column] = averaged[column].astype("Int64").where(agreed)
    means = per_image[probability_columns(class_names)].mean().to_numpy()
    averaged = with_probabilities(averaged, means, class_names)[table.columns]
    return pd.concat([table[~is_test], averaged], ignore_index=True)


def with_probabilities(
    table: pd.DataFrame, probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> pd.DataFrame:
    """The table with prediction and prob_<class>; decided on what is written, the rounded."""
    rounded = probabilities.round(DECIMALS)
    predictions = np.array(class_names)[rounded.argmax(axis=1)]
    columns = dict(zip(probability_columns(class_names), rounded.T, strict=True))
    return table.assign(prediction=predictions, **columns)


def probability_columns(class_names: Sequence[str]) -> list[str]:
    """Names of the columns that hold the probability of each class."""
    return [f"prob_{name}" for name in class_names]


def save_tables(folder: Path, tables: CaseTables) -> None:
    """Write whole.csv, runs.csv and a table of each occlusion."""
    for name, table in {**tables.occluded, WHOLE: tables.whole, RUNS: tables.runs}.items():
        write_csv(folder / f"{name}.csv", table)


def load_tables(folder: Path) -> CaseTables:
    """Read what `save_tables` wrote."""
    whole, runs, *occluded = (
        load_predictions(folder / f"{name}.csv") for name in (WHOLE, RUNS, *OCCLUSIONS)
    )
    return CaseTables(whole, runs, dict(zip(OCCLUSIONS, occluded, strict=True)))


def load_predictions(path: Path) -> pd.DataFrame:
    """Read a table; fold and seed stay text, empty where several runs were averaged."""
    columns = ("image_id", "group_id", "label", "prediction", "subgroup", "fold", "seed")
    return read_csv(path, dict.fromkeys(columns, str))


def rows_by_run(run_table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each run by its name, in the order of the table; "" names an only run."""
    keys = list(run_table[["fold", "seed"]].drop_duplicates().itertuples(index=False, name=None))
    return {
        column_name(fold, seed) if len(keys) > 1 else "": run_table[
            (run_table["fold"] == fold) & (run_table["seed"] == seed)
        ]
        for fold, seed in keys
    }
