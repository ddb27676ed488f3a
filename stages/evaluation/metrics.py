"""Classification metrics, each written once for any number of weightings of the same images.

One row of ones gives the point estimate, rows of bootstrap counts give the bootstrap draws, so an
interval always belongs to exactly the number it stands beside. A metric that has no value under a
weighting is NaN there; `metric_requirements` says what each metric needs to have one.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.config.errors import UserError
from stages.dataset.task import Task
from stages.evaluation.statistics.records import of_class

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Draws handled at once: 256 rows of 1,500 images are 3 MB, which stays in a processor's cache.
DRAWS_PER_BLOCK = 256
# Of all metrics, those that tables of runs, of cases and of comparisons show.
HEADLINE_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "auroc",
    "sensitivity",
    "specificity",
)
# What a search may choose by; those of the second shrink as they get better.
CRITERIA = ("log_loss", "auroc", "balanced_accuracy")
SHRINKING = ("log_loss",)
# Probabilities come back from CSV files with few decimals; more than this is not rounding.
ROW_SUM_TOLERANCE = 1e-3


class Ranking(NamedTuple):
    """Images by falling score of one class.

    Attributes:
        order: (n,) image indices, highest score first.
        starts: (g,) positions in `order` at which a group of equal scores begins.
        members: (n,) 1.0 where the image at that position is of the class, else 0.0.
    """

    order: IntArray
    starts: IntArray
    members: FloatArray


class _Prepared(NamedTuple):
    """What does not depend on the weights.

    Attributes:
        sums: (n, K * K + 2) columns of which only weighted sums are needed: one indicator for each
            cell (true, predicted) of the confusion matrix, log loss, Brier score.
        rankings: by class index, for the classes whose ROC curve is needed.
        in_truth: (K,) True for classes of at least one image.
        in_either: (K,) True for classes of at least one image or prediction.
    """

    sums: FloatArray
    rankings: dict[int, Ranking]
    in_truth: NDArray[np.bool_]
    in_either: NDArray[np.bool_]


def compute_metrics(
    y_true: ArrayLike,
    probabilities: ArrayLike,
    predictions: ArrayLike,
    task: Task,
    weights: ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """Compute every metric under every weighting of the same images.

    Definitions, equal to scikit-learn's where it has one (C is the positive class):

    - accuracy, mcc (R_K of Gorodkin 2004; 0 where truth or prediction is constant, as scikit-learn
      has it), log_loss (natural logarithm, probabilities kept 2.2e-16 away from 0 and 1);
    - balanced_accuracy: mean recall over the classes that `y_true` has. The set is the same for
      every row of weights: a row that gives one of them no weight is NaN, because a mean over
      fewer classes would be another quantity;
    - f1_macro: mean F1 over the classes in `y_true` or `predictions`, with the same rule;
    - sensitivity, specificity, precision, average_precision: C against all other classes. No
      prediction of C leaves precision NaN (scikit-learn: 0 and a warning);
    - auroc: two classes, of C; more, the unweighted mean of each class against the rest, NaN if
      a class has no weight. Equal scores count one half (Mann and Whitney 1947);
    - brier: two classes, mean of (p_C - y_C)^2 in [0, 1]; more, mean over images of the sum over
      classes (Brier 1950) in [0, 2];
    - f1_<class> and recall_<class>, by names of `of_class`: the class against the rest.

    Args:
        y_true: (n,) integers, index of the true class.
        probabilities: (n, K) in [0, 1], rows sum to 1, columns in the order of the classes.
        predictions: (n,) integers, the decision, which need not be the most probable class.
        task: K classes.
        weights: (B, n) non-negative and finite, one row per weighting; None is one row of ones.

    Returns:
        Metric name to (B,) float64, NaN where the metric is undefined; names in the order of
        `metric_requirements`.

    Raises:
        UserError: an argument has another shape or range.
    """
    names, class_count = list(metric_requirements(task)), len(task.class_names)
    truth = _checked_labels("y_true", y_true, class_count)
    decided = _checked_labels("predictions", predictions, class_count, len(truth))
    scores = _checked_probabilities(probabilities, len(truth), class_count)
    rows = _checked_weights(weights, len(truth))
    prepared = _prepare(truth, scores, decided, task.positive)
    blocks = [_block_metrics(block, prepared, task.positive) for block in in_blocks(rows)]
    return {
        name: np.concatenate(parts)
        for name, parts in zip(names, zip(*blocks, strict=True), strict=True)
    }


def metric_requirements(task: Task) -> dict[str, str]:
    """Name every metric, in the order of the tables, with what it needs to have a value.

    Returns:
        Metric name to a phrase that reads on from "needs".
    """
    names, chosen = task.class_names, task.positive_name
    needs = {
        "accuracy": "an image",
        "balanced_accuracy": "an image of every class of the test set",
        "f1_macro": "an image or a prediction of every class of the test set",
        "mcc": "an image",
        "sensitivity": f"an image of class {chosen!r}",
        "specificity": f"an image of another class than {chosen!r}",
        "precision": f"a prediction of class {chosen!r}",
        "auroc": "an image of every class (" + ", ".join(names) + ")",
        "average_precision": f"an image of class {chosen!r}",
        "log_loss": "an image",
        "brier": "an image",
    }
    needs |= {of_class("f1", n): f"an image or a prediction of class {n!r}" for n in names}
    return needs | {of_class("recall", n): f"an image of class {n!r}" for n in names}


def _checked_labels(
    where: str, labels: ArrayLike, class_count: int, expected: int | None = None
) -> IntArray:
    """Return (n,) class indices, or say what is wrong with them."""
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0 or expected not in (None, array.size):
        length = "at least 1" if expected is None else str(expected)
        raise UserError(f"{where}: got shape {array.shape}; give one label per image, ({length},)")
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"{where}: got {array.dtype}; give integer indices into class_names")
    if array.min() < 0 or array.max() >= class_count:
        raise UserError(
            f"{where}: got labels from {array.min()} to {array.max()}; "
            f"{class_count} classes allow 0 to {class_count - 1}: check the class order"
        )
    return array.astype(np.int64)


def _checked_probabilities(probabilities: ArrayLike, n: int, class_count: int) -> FloatArray:
    """Return (n, K) float64 probabilities, or say what is wrong with them."""
    array = np.asarray(probabilities, dtype=np.float64)
    if array.shape != (n, class_count):
        raise UserError(
            f"probabilities: got shape {array.shape}; give one row per image and one column "
            f"per class, ({n}, {class_count})"
        )
    # NaN fails both comparisons, so it is caught here too.
    in_range = ((array >= 0) & (array <= 1)).all(axis=1)
    wrong = ~(in_range & (np.abs(array.sum(axis=1) - 1) <= ROW_SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"probabilities: row {row} is {array[row].tolist()}, {wrong.sum()} such rows; "
            "values must be in [0, 1] and sum to 1: apply softmax to logits"
        )
    return array


def _checked_weights(weights: ArrayLike | None, n: int) -> NDArray[np.generic]:
    """Return (B, n) weights in the dtype they came in, or say what is wrong with them."""
    array = np.ones((1, n)) if weights is None else np.asarray(weights)
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != n:
        raise UserError(
            f"weights: got shape {array.shape}; give one row per draw and one column per image, "
            f"(draws, {n})"
        )
    # min and max pass NaN on, and need no temporary of the size of the array.
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and np.isfinite(high)):
        raise UserError(f"weights: got values from {low} to {high}; give finite numbers from 0 up")
    return array


def in_blocks(weights: NDArray[np.generic]) -> Iterator[FloatArray]:
    """Yield the weights a few rows at a time, as float64, so that memory stays bounded."""
    for first in range(0, len(weights), DRAWS_PER_BLOCK):
        yield weights[first : first + DRAWS_PER_BLOCK].astype(np.float64)


def _prepare(
    truth: IntArray, probabilities: FloatArray, decided: IntArray, positive: int
) -> _Prepared:
    n, class_count = probabilities.shape
    sums = np.zeros((n, class_count**2 + 2))
    sums[np.arange(n), truth * class_count + decided] = 1.0
    sums[:, -2] = log_losses(truth, probabilities)
    sums[:, -1] = squared_errors(truth, probabilities, positive)
    ranked = [positive] if class_count == 2 else range(class_count)
    in_truth = np.bincount(truth, minlength=class_count) > 0
    return _Prepared(
        sums,
        {index: rank(probabilities[:, index], truth == index) for index in ranked},
        in_truth,
        in_truth | (np.bincount(decided, minlength=class_count) > 0),
    )


def log_losses(truth: IntArray, probabilities: FloatArray) -> FloatArray:
    """Return (n,) minus the natural logarithm of the probability of the true class."""
    epsilon = float(np.finfo(np.float64).eps)  # scikit-learn's bound
    of_truth = probabilities[np.arange(len(truth)), truth]
    return -np.log(np.clip(of_truth, epsilon, 1 - epsilon))


def squared_errors(truth: IntArray, probabilities: FloatArray, positive: int) -> FloatArray:
    """Return (n,) Brier terms: of the positive class for K = 2, else summed over classes."""
    errors = (probabilities - np.eye(probabilities.shape[1])[truth]) ** 2  # (n, K)
    return errors[:, positive] if errors.shape[1] == 2 else errors.sum(axis=1)


def rank(scores: FloatArray, is_member: NDArray[np.bool_]) -> Ranking:
    """Put (n,) images in the order of their scores; `is_member` says which are of the class."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    return Ranking(order, starts, is_member[order].astype(np.float64))


def _block_metrics(weights: FloatArray, prepared: _Prepared, positive: int) -> list[FloatArray]:
    """Return the (b,) values of every metric, in the order of `metric_requirements`."""
    class_count = len(prepared.in_truth)
    sums = weights @ prepared.sums  # (b, K * K + 2)
    confusion = sums[:, :-2].reshape(-1, class_count, class_count)  # (b, true, predicted)
    hits = np.diagonal(confusion, axis1=1, axis2=2)  # (b, K)
    true_totals, predicted_totals = confusion.sum(axis=2), confusion.sum(axis=1)  # (b, K)
    total = true_totals.sum(axis=1)
    recall = share(hits, true_totals)
    f1 = share(2 * hits, true_totals + predicted_totals)
    aurocs, average_precisions = _ranking_metrics(weights, prepared.rankings)
    return [
        share(hits.sum(axis=1), total),
        recall[:, prepared.in_truth].mean(axis=1),
        f1[:, prepared.in_either].mean(axis=1),
        _mcc(hits, true_totals, predicted_totals),
        recall[:, positive],
        _specificity(hits, true_totals, predicted_totals, positive),
        share(hits[:, positive], predicted_totals[:, positive]),
        np.mean(list(aurocs.values()), axis=0),
        average_precisions[positive],
        share(sums[:, -2], total),
        share(sums[:, -1], total),
        *f1.T,
        *recall.T,
    ]


def share(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide, with NaN where the denominator is 0."""
    undefined = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def _specificity(
    hits: FloatArray, true_totals: FloatArray, predicted_totals: FloatArray, positive: int
) -> FloatArray:
    """Return (b,) the share of the other classes' weight that is not called positive."""
    negatives = np.delete(true_totals, positive, axis=1).sum(axis=1)
    false_positives = predicted_totals[:, positive] - hits[:, positive]
    return share(negatives - false_positives, negatives)


def _mcc(hits: FloatArray, true_totals: FloatArray, predicted_totals: FloatArray) -> FloatArray:
    """Return (b,) R_K of Gorodkin 2004, in the form of scikit-learn's user guide."""
    # Each total is summed from its own marginals: that of a constant then cancels exactly.
    true_sum, predicted_sum = true_totals.sum(axis=1), predicted_totals.sum(axis=1)
    covariance = hits.sum(axis=1) * true_sum - (true_totals * predicted_totals).sum(axis=1)
    true_spread = true_sum**2 - (true_totals**2).sum(axis=1)
    predicted_spread = predicted_sum**2 - (predicted_totals**2).sum(axis=1)
    scale = np.sqrt(true_spread * predicted_spread)
    values = np.where(scale > 0, share(covariance, scale), 0.0)
    return np.where(true_sum > 0, values, np.nan)


def _ranking_metrics(
    weights: FloatArray, rankings: dict[int, Ranking]
) -> tuple[dict[int, FloatArray], dict[int, FloatArray]]:
    """Return AUROC and average precision, (b,) each, by class index."""
    aurocs, average_precisions = {}, {}
    for index, ranking in rankings.items():
        members, seen_members, seen_all = sweep(weights, ranking)
        aurocs[index] = _auroc(members, seen_members, seen_all)
        average_precisions[index] = _average_precision(members, seen_members, seen_all)
    return aurocs, average_precisions


def sweep(weights: FloatArray, ranking: Ranking) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weigh the images at each distinct score, from the highest score down.

    Returns:
        (b, g) weight of the class at the score; of the class down to it; of all images down to it.
    """
    ordered = np.take(weights, ranking.order, axis=1)  # (b, n)
    members = ordered * ranking.members
    if len(ranking.starts) < len(ranking.order):  # equal scores are one point of the curve
        ordered = np.add.reduceat(ordered, ranking.starts, axis=1)
        members = np.add.reduceat(members, ranking.starts, axis=1)
    return members, np.cumsum(members, axis=1), np.cumsum(ordered, axis=1)


def _auroc(members: FloatArray, seen_members: FloatArray, seen_all: FloatArray) -> FloatArray:
    """Return (b,) the weighted share of pairs in order, equal scores counting one half."""
    total = seen_members[:, -1]
    others = seen_all[:, -1] - total
    # Each member is in disorder with the non-members above its score and half of those at it,
    # which is the mean of the non-members seen before and after that score.
    seen_others = seen_all - seen_members
    disordered = np.einsum("bg,bg->b", members, seen_others)
    disordered += np.einsum("bg,bg->b", members[:, 1:], seen_others[:, :-1])
    return share(total * others - disordered / 2, total * others)


def _average_precision(
    members: FloatArray, seen_members: FloatArray, seen_all: FloatArray
) -> FloatArray:
    """Return (b,) precision averaged over the steps of recall, without interpolation."""
    # Before the first weighted image nothing is seen; members are 0 there, so 0 / 1 adds nothing.
    precision = seen_members / np.where(seen_all > 0, seen_all, 1.0)
    return share(np.einsum("bg,bg->b", members, precision), seen_members[:, -1])
