"""Labels that may be wrong: images of which models that never saw them say another class.

Confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70:1373-1411): an image counts towards
class j once its probability of j reaches the mean that images labelled j get (eq. 2). So counted,
label by class (the confident joint, eq. 1, scaled to the labels' own numbers, eq. 3), says how many
images labelled i are of class j; that many are listed, those of the largest margin p_j - p_i
(section 3.2, prune by noise rate). What is listed is to be looked at: a hard case is not an error,
and the fewer labels are wrong, the more of a list are hard cases.

The list is that of cleanlab, whose import takes longer than all of `evaluate`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.predictions import probability_columns, rows_by_run
from stages.dataset.runs import COPY
from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics
from stages.evaluation.statistics.rounding import rounded

# Added up in another order, shares of one image alone would miss their own mean.
ROUNDING = 1e-6
FEWEST = 2  # images of a class without which none of its labels can be doubted


class Suspected(NamedTuple):
    """An image whose label may be wrong: how probable it is, and the class that is likelier."""

    image_id: str
    label: str
    likelier: str
    label_probability: float
    likelier_probability: float


class LabelLook(NamedTuple):
    """What out-of-fold probabilities say of the labels of a data set.

    Attributes:
        n_images: of the data set.
        n_judged: those of which a model spoke that saw neither them nor their group.
        balanced_accuracy: of these, against the given labels; None where undefined.
        too_few: classes with so few images judged that none of them can be listed.
        suspected: the likeliest errors first.
    """

    n_images: int
    n_judged: int
    balanced_accuracy: float | None
    too_few: list[str]
    suspected: list[Suspected]

    def to_json(self) -> dict[str, Any]:
        """As metrics/reports and metrics/audit have it."""
        return {
            **self._asdict(),
            "suspected": [one._asdict() for one in self.suspected],
        }


def judge_out_of_fold(run_table: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """What the runs of a case say of images whose group they were not trained on.

    With folds these are all images of a data set; of a single split those of val and test. Groups
    that a run has on both sides are not judged by it: their copies in training, of the same wrong
    label, would bear it out.

    Args:
        run_table: a row per image and run, never averaged (`load_tables`).
        class_names: order of the columns.

    Returns:
        Columns image_id, label, prob_<class>: a row per image, the mean over its runs.
    """
    parts = []
    for rows in rows_by_run(run_table).values():
        is_trained_on = rows["split"] == "train"
        is_new = ~rows["group_id"].isin(rows.loc[is_trained_on, "group_id"])
        parts.append(rows[is_new & ~rows["image_id"].str.contains(COPY)])
    per_image = pd.concat(parts).groupby("image_id", sort=False)
    means = per_image[probability_columns(class_names)].mean()
    return means.assign(label=per_image["label"].first()).reset_index()


def look_at_labels_of_case(run_table: pd.DataFrame, task: Task) -> LabelLook:
    """The labels of a case's data set, by its own models."""
    judged = judge_out_of_fold(run_table, task.class_names)
    image_ids = run_table["image_id"]
    n_images = int(image_ids[~image_ids.str.contains(COPY)].nunique())
    return look_at_labels(judged, task, n_images=n_images)


def look_at_labels(judged: pd.DataFrame, task: Task, *, n_images: int) -> LabelLook:
    """Which labels may be wrong, the likeliest errors first.

    Args:
        judged: columns image_id, label, prob_<class>, out of fold; a row per image.
        task: the classes.
        n_images: of the data set, of which not all need be judged.
    """
    names = list(task.class_names)
    index = {name: number for number, name in enumerate(names)}
    targets: NDArray[np.int64] = judged["label"].map(index).to_numpy().astype(np.int64)
    shares = judged[probability_columns(names)].to_numpy(np.float64)
    shares = shares / shares.sum(axis=1, keepdims=True)  # written with six decimals
    counts = np.bincount(targets, minlength=len(names))
    return LabelLook(
        n_images,
        len(judged),
        _balanced_accuracy(targets, shares, task),
        [name for name, count in zip(names, counts, strict=True) if count < FEWEST],
        [
            Suspected(
                judged["image_id"].iloc[row],
                names[targets[row]],
                names[shares[row].argmax()],
                round(float(shares[row, targets[row]]), 4),
                round(float(shares[row].max()), 4),
            )
            for row in _rank(targets, shares)
        ],
    )


def _rank(targets: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the labels that may be wrong, by their margin."""
    own = shares[np.arange(len(targets)), targets]
    joint = _count_jointly(targets, shares)
    doubted = np.zeros(len(targets), dtype=bool)
    for label, other in zip(*np.nonzero(joint), strict=True):
        rows = np.flatnonzero(targets == label)
        if label == other or len(rows) < FEWEST:
            continue
        margins = shares[rows, other] - own[rows]
        doubted[rows[np.argsort(-margins, kind="stable")[: joint[label, other]]]] = True
    likeliest = shares.max(axis=1)
    doubted &= likeliest > own  # the more classes, the more may have been counted twice
    found = np.flatnonzero(doubted)
    return found[np.argsort((own - likeliest)[found], kind="stable")]


def _count_jointly(targets: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(K, K): how many images of each label (row) are of each class, by eq. 1 to 3.

    One image of each label is left with it.
    """
    n_classes = shares.shape[1]
    counts = np.bincount(targets, minlength=n_classes)
    of_label = np.array([shares[targets == label].sum(axis=0) for label in range(n_classes)])
    # A class without images has no images that reach it.
    reached = np.divide(
        of_label.diagonal(), counts, out=np.full(n_classes, np.inf), where=counts > 0
    )
    is_reached = shares >= reached - ROUNDING
    surest = np.where(is_reached, shares, -1.0).argmax(axis=1)
    joint = np.zeros((n_classes, n_classes))
    counted = is_reached.any(axis=1)
    np.add.at(joint, (targets[counted], surest[counted]), 1)
    totals = joint.sum(axis=1)
    scale = np.divide(counts, totals, out=np.zeros(n_classes), where=totals > 0)
    scaled = np.rint(joint * scale[:, None]).astype(np.int64)
    return np.minimum(scaled, np.maximum(counts - 1, 0)[:, None])


def _balanced_accuracy(
    targets: NDArray[np.int64], shares: NDArray[np.float64], task: Task
) -> float | None:
    if not len(targets):
        return None
    metrics = compute_metrics(targets, shares, shares.argmax(axis=1), task)
    return rounded(float(metrics["balanced_accuracy"][0]))
