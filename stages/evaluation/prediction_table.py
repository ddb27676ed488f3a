"""The predictions table of a case, one row per image and run.

Columns: image_id, group_id, split, subgroup, fold, seed, label, prediction, prob_<class>. A row's
split is that of the image in that run.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.evaluation.intervals import Scored
from stages.imaging.image_set import DatasetInfo
from stages.imaging.runs import Run, column_name

DECIMALS = 6


class ScoredRun(NamedTuple):
    """What one run's model said of images that it was not trained on.

    Attributes:
        name: `fold<fold>-seed<seed>`; "" for the only run of a case.
        fold: counts from 1.
        seed: of the training.
        val: what thresholds and temperature are chosen on.
        test: what they are applied to.
    """

    name: str
    fold: int
    seed: int
    val: Scored
    test: Scored


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
    return with_probabilities(table, probabilities, class_names)


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
    averaged = with_probabilities(averaged, means, class_names)[table.columns]
    return pd.concat([table[~is_test], averaged], ignore_index=True)


def with_probabilities(
    table: pd.DataFrame, probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> pd.DataFrame:
    """The table with prediction and prob_<class>; decided on what is written, the rounded."""
    rounded = probabilities.round(DECIMALS)
    predictions = np.array(class_names)[rounded.argmax(axis=1)]
    columns = dict(zip(_probability_columns(class_names), rounded.T, strict=True))
    return table.assign(prediction=predictions, **columns)


def _probability_columns(class_names: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in class_names]


def load_predictions(path: Path) -> pd.DataFrame:
    """Read a table; fold and seed stay text, empty where several runs were averaged."""
    columns = ("image_id", "group_id", "label", "prediction", "subgroup", "fold", "seed")
    return pd.read_csv(path, dtype=dict.fromkeys(columns, str), keep_default_na=False)


def score_rows(rows: pd.DataFrame, info: DatasetInfo) -> Scored:
    """Rows of a predictions table as what the metrics take: class indices and arrays."""
    index = {name: number for number, name in enumerate(info.class_names)}
    return Scored(
        rows["label"].map(index).to_numpy(np.int64),
        rows[_probability_columns(info.class_names)].to_numpy(np.float64),
        rows["prediction"].map(index).to_numpy(np.int64),
        rows["group_id"].to_numpy(),
    )


def score_runs(run_table: pd.DataFrame, info: DatasetInfo) -> list[ScoredRun]:
    """Each run of a table whose rows are not averaged, in the order of the table."""
    runs = []
    for name, rows in rows_by_run(run_table).items():
        val, test = (score_rows(rows[rows["split"] == split], info) for split in ("val", "test"))
        runs.append(
            ScoredRun(name, int(rows["fold"].iloc[0]), int(rows["seed"].iloc[0]), val, test)
        )
    return runs


def rows_by_run(run_table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each run by its name, in the order of the table; "" names an only run."""
    keys = list(run_table[["fold", "seed"]].drop_duplicates().itertuples(index=False, name=None))
    return {
        column_name(fold, seed) if len(keys) > 1 else "": run_table[
            (run_table["fold"] == fold) & (run_table["seed"] == seed)
        ]
        for fold, seed in keys
    }


def pool(parts: Iterable[Scored]) -> Scored:
    """The rows of several as one, in the order given."""
    return Scored(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
