"""The predictions table of a case, one row per image and run.

Columns: image_id, group_id, split, subgroup, fold, seed, label, prediction, prob_<class>. A row's
split is that of the image in that run.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.evaluation.intervals import Scored
from stages.imaging.image_set import DatasetInfo
from stages.imaging.runs import Run

DECIMALS = 6


def tabulate_run(
    manifest: pd.DataFrame,
    run: Run,
    probabilities: NDArray[np.float64],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """One row per image of a run, in manifest order; the prediction is the likeliest class.

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
    return _with_probabilities(table, probabilities, class_names)


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
    means = per_image[_probability_columns(class_names)].mean().to_numpy()
    averaged = _with_probabilities(averaged, means, class_names)[table.columns]
    return pd.concat([table[~is_test], averaged], ignore_index=True)


def _with_probabilities(
    table: pd.DataFrame, probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> pd.DataFrame:
    """The table with prediction and prob_<class>; decided on what is written, the rounded."""
    rounded = probabilities.round(DECIMALS)
    predictions = np.array(class_names)[rounded.argmax(axis=1)]
    columns = dict(zip(_probability_columns(class_names), rounded.T, strict=True))
    return table.assign(prediction=predictions, **columns)


def _probability_columns(class_names: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in class_names]


def score_rows(rows: pd.DataFrame, info: DatasetInfo) -> Scored:
    """Rows of a predictions table as what the metrics take: class indices and arrays."""
    index = {name: number for number, name in enumerate(info.class_names)}
    return Scored(
        rows["label"].map(index).to_numpy(np.int64),
        rows[_probability_columns(info.class_names)].to_numpy(np.float64),
        rows["prediction"].map(index).to_numpy(np.int64),
        rows["group_id"].to_numpy(),
    )
