"""Which metric has which interval: how many images each rests on, in one table.

Figures that are not here have the percentiles of their bootstrap draws.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from stages.dataset.task import Task
from stages.evaluation.statistics.counts import Counted, Mask, count_rows, share_support
from stages.evaluation.statistics.effective_size import Support
from stages.evaluation.statistics.records import of_class


class _Rows:
    """Counts rows of a set by class."""

    def __init__(
        self, y_true: ArrayLike, predictions: ArrayLike, task: Task, group_ids: ArrayLike
    ) -> None:
        self.truth, self.decided = np.asarray(y_true), np.asarray(predictions)
        self.task = task
        self._groups = np.unique(np.asarray(group_ids), return_inverse=True)[1]
        self.all = self.count(np.ones(len(self.truth), dtype=bool))

    def count(self, rows: Mask) -> Counted:
        return count_rows(rows, self._groups)

    def of_truth(self, index: int) -> Counted:
        return self.count(self.truth == index)

    def classes(self) -> list[Counted]:
        """Of each class that there is."""
        counts = (self.of_truth(index) for index in range(len(self.task.class_names)))
        return [count for count in counts if count.images]


# By metric, how it is counted. Shares of images, whose effective size is between one image per
# patient and all images:
SHARES: Mapping[str, Callable[[_Rows], Mask]] = {
    "accuracy": lambda rows: np.ones(len(rows.truth), dtype=bool),
    "sensitivity": lambda rows: rows.truth == rows.task.positive,
    "specificity": lambda rows: rows.truth != rows.task.positive,
    "precision": lambda rows: rows.decided == rows.task.positive,
}  # and recall of a class
# Figures with a variance of their own, and what they are worth where they are perfect: K times the
# harmonic mean of the K classes; what an AUROC's variance makes of positives and negatives; the
# positives (Boyd et al. 2013); whatever is of the class or called so. Where positives are few the
# variance that was seen can be far too small: it may be worth MOST times as much and no more, which
# tests/benchmarks/coverage.py chose.
MOST = {
    "balanced_accuracy": 1.0,
    "f1_macro": 2.0,
    "mcc": 2.0,
    "auroc": 1.0,
    "average_precision": 2.0,
    "f1": 2.0,  # of a class
}
# Means over images: of a squared error, which has a bound; of a log loss, which has none (a t
# interval of its logarithm).
MEANS = ("brier", "log_loss")


def metric_supports(
    y_true: ArrayLike, predictions: ArrayLike, task: Task, group_ids: ArrayLike
) -> dict[str, Support]:
    """What each metric of `compute_metrics` rests on.

    Args:
        y_true: (n,) index of the true class.
        predictions: (n,) the decision.
        task: K classes.
        group_ids: (n,) patient of each row.
    """
    rows = _Rows(y_true, predictions, task, group_ids)
    all_classes = _all_classes(rows.classes())
    found = {name: share_support(rows.count(mask(rows))) for name, mask in SHARES.items()}
    found |= {
        "balanced_accuracy": _own_variance("balanced_accuracy", all_classes, rows.all),
        "f1_macro": _own_variance("f1_macro", all_classes, rows.all),
        "mcc": _own_variance("mcc", all_classes, rows.all)._replace(low=-1.0),
        "auroc": _own_variance("auroc", _ranks(rows), rows.all),
        "average_precision": _own_variance(
            "average_precision", rows.of_truth(task.positive), rows.all
        ),
    }
    for index, name in enumerate(task.class_names):
        own = rows.truth == index
        found[of_class("recall", name)] = share_support(rows.count(own))
        either = rows.count(own | (rows.decided == index))
        found[of_class("f1", name)] = _own_variance("f1", either, rows.all)
    return found | mean_supports(rows.all, len(task.class_names))


def mean_supports(rows: Counted, n_classes: int) -> dict[str, Support]:
    """Of MEANS over all rows; a Brier score of more than two classes goes up to 2."""
    high = 1.0 if n_classes == 2 else 2.0
    return {
        name: Support(*rows, math.inf, rows.patients, 0.0, high if name == "brier" else math.inf)
        for name in MEANS
    }


def _own_variance(metric: str, count: Counted, rows: Counted) -> Support:
    """Of a figure that is no share: its variance decides, from half of the patients up.

    Patients with images of several classes are not counted once for each.
    """
    patients = min(count.patients, rows.patients)
    most = min(MOST[metric] * count.images, rows.images)
    return Support(count.images, patients, most=most, least=patients / 2)


def _all_classes(classes: list[Counted]) -> Counted:
    """K times the harmonic mean of the classes: n where they are equal, else fewer."""
    return Counted(
        *(len(classes) ** 2 / sum(1 / n for n in sizes) for sizes in zip(*classes, strict=True))
    )


def _ranks(rows: _Rows) -> Counted:
    """Of an AUROC: harmonic mean over the classes against the rest, the positive's if K is 2."""
    task, k = rows.task, len(rows.task.class_names)
    sides = [
        (rows.of_truth(index), rows.count(rows.truth != index))
        for index in ([task.positive] if k == 2 else range(k))
    ]
    if any(not min(own.images, rest.images) for own, rest in sides):
        return Counted(0.0, 0.0)
    pairs = [[_pair_size(*sizes) for sizes in zip(*side, strict=True)] for side in sides]
    return Counted(*(len(pairs) / sum(1 / n for n in sizes) for sizes in zip(*pairs, strict=True)))


def _pair_size(positives: float, negatives: float) -> float:
    """A (1 - A) / variance of an AUROC A near 1, by method 5 of Newcombe 2006."""
    return positives * negatives / (1 + ((positives + negatives) / 2 - 1) / 2)
