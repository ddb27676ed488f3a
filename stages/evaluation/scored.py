"""What models said of images, as arrays that the metrics take."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stages.config.errors import UserError
from stages.dataset.predictions import probability_columns, rows_by_run
from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics, metric_requirements
from stages.evaluation.statistics.bootstrap import Draws, draw_figures
from stages.evaluation.statistics.records import Bootstrap
from stages.evaluation.supports import metric_supports


class Scored(NamedTuple):
    """What was said of n images, or n times of fewer: a row per image and model that tests it.

    Attributes:
        y_true: (n,) integers, index of the true class.
        probabilities: (n, K) in [0, 1], rows sum to 1.
        predictions: (n,) integers, the decision.
        group_ids: (n,) patient of each row; all rows of a patient are drawn together.
    """

    y_true: ArrayLike
    probabilities: ArrayLike
    predictions: ArrayLike
    group_ids: ArrayLike


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


def score_rows(rows: pd.DataFrame, task: Task) -> Scored:
    """Rows of a predictions table as what the metrics take: class indices and arrays."""
    index = {name: number for number, name in enumerate(task.class_names)}
    return Scored(
        rows["label"].map(index).to_numpy(np.int64),
        rows[probability_columns(task.class_names)].to_numpy(np.float64),
        rows["prediction"].map(index).to_numpy(np.int64),
        rows["group_id"].to_numpy(),
    )


def score_runs(run_table: pd.DataFrame, task: Task) -> list[ScoredRun]:
    """Each run of a table whose rows are not averaged, in the order of the table."""
    runs = []
    for name, rows in rows_by_run(run_table).items():
        val, test = (score_rows(rows[rows["split"] == split], task) for split in ("val", "test"))
        runs.append(
            ScoredRun(name, int(rows["fold"].iloc[0]), int(rows["seed"].iloc[0]), val, test)
        )
    return runs


def only_classes(probabilities: ArrayLike, classes: Sequence[int]) -> NDArray[np.float64]:
    """(n, len(classes)): the probabilities once all other classes are ruled out.

    Alike where those of all of them are 0.
    """
    of_classes = np.asarray(probabilities, dtype=np.float64)[:, list(classes)].clip(0, 1)
    total = of_classes.sum(axis=1, keepdims=True)
    alike = np.full_like(of_classes, 1 / len(classes))
    return np.divide(of_classes, total, out=alike, where=total > 0)


def pool(parts: Iterable[Scored]) -> Scored:
    """The rows of several as one, in the order given."""
    return Scored(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def draw_metrics(scored: Scored, task: Task, bootstrap: Bootstrap) -> Draws:
    """Every metric of `compute_metrics`, and what it would be with other patients."""
    groups, n = np.asarray(scored.group_ids), len(np.asarray(scored.y_true))
    if len(groups) != n:
        raise UserError(f"group_ids: got {len(groups)} ids for {n} images; give one per image")
    return draw_figures(
        lambda weights: compute_metrics(*scored[:3], task, weights),
        scored.group_ids,
        metric_requirements(task),
        bootstrap,
        metric_supports(scored.y_true, scored.predictions, task, groups),
    )
