"""What is said of some images beside the metrics: confusion matrix, figures by class, curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.calibration import compute_reliability
from stages.evaluation.metrics import FloatArray, IntArray, rank, sweep
from stages.evaluation.statistics.rounding import DECIMALS

CURVE_POINTS = 200  # more cannot be told apart on a screen
CALIBRATION_BINS = 10


def build_split_report(
    y_true: IntArray, predictions: IntArray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Confusion matrix (rows actual, columns predicted) and the figures of each class."""
    confusion = count_confusions(y_true, predictions, len(class_names))
    return {
        "class_names": list(class_names),
        "n": len(y_true),
        "confusion_matrix": confusion.tolist(),
        "classification_report": build_classification_report(confusion, class_names),
    }


def count_confusions(y_true: IntArray, predictions: IntArray, class_count: int) -> IntArray:
    """(K, K) images by true class (rows) and predicted class (columns)."""
    cells = np.bincount(y_true * class_count + predictions, minlength=class_count**2)
    return cells.reshape(class_count, class_count)


def build_classification_report(confusion: IntArray, class_names: Sequence[str]) -> dict[str, Any]:
    """What scikit-learn's `classification_report` gives with `output_dict` and `zero_division=0`.

    Not taken from there: its import takes longer than all that `evaluate` does.
    """
    hits, actual, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    figures = {
        "precision": _share_or_0(hits, predicted),
        "recall": _share_or_0(hits, actual),
        "f1-score": _share_or_0(2 * hits, actual + predicted),
    }
    support = {"support": float(actual.sum())}
    return {
        **{
            name: {figure: float(values[number]) for figure, values in figures.items()}
            | {"support": float(actual[number])}
            for number, name in enumerate(class_names)
        },
        "accuracy": float(hits.sum() / actual.sum()),
        "macro avg": {figure: float(np.average(v)) for figure, v in figures.items()} | support,
        "weighted avg": {
            figure: float(np.average(values, weights=actual)) for figure, values in figures.items()
        }
        | support,
    }


def _share_or_0(numerator: IntArray, denominator: IntArray) -> FloatArray:
    """Divide, with 0 where the denominator is 0."""
    return numerator / np.where(denominator > 0, denominator, 1)


def build_curves(
    y_true: IntArray, probabilities: FloatArray, class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Points of the ROC, precision-recall and reliability curves of each class against the rest.

    A class that no image or every image is of has curves without a point: images from elsewhere
    need not have all classes.
    """
    return {
        name: _class_curves(y_true == number, probabilities[:, number])
        for number, name in enumerate(class_names)
    }


def _class_curves(is_class: NDArray[np.bool_], scores: FloatArray) -> dict[str, Any]:
    if is_class.all() or not is_class.any():
        nothing: FloatArray = np.array([])
        return {
            "roc": _points(fpr=nothing, tpr=nothing),
            "precision_recall": _points(recall=nothing, precision=nothing),
            "calibration": _points(predicted=nothing, observed=nothing),
        }
    # Images of the class, and all images, from the highest score down to each distinct score.
    _, hits, called = (row[0] for row in sweep(np.ones((1, len(scores))), rank(scores, is_class)))
    corners = _find_corners(called - hits, hits)
    fpr, tpr = (np.append(0.0, n[corners] / n[-1]) for n in (called - hits, hits))
    # From all images called to none, where no call is wrong.
    recall, precision = np.append(hits[::-1] / hits[-1], 0.0), np.append((hits / called)[::-1], 1.0)
    reliability = compute_reliability(scores, is_class, CALIBRATION_BINS)
    return {
        "roc": _points(fpr=fpr, tpr=tpr),
        "precision_recall": _points(recall=recall, precision=precision),
        "calibration": _points(predicted=reliability.confidence, observed=reliability.accuracy),
    }


def _find_corners(x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """(g,) False for points of a curve that lie halfway between their two neighbours."""
    corners = np.ones(len(x), dtype=bool)
    corners[1:-1] = (np.diff(x, 2) != 0) | (np.diff(y, 2) != 0)
    return corners


def _points(**columns: FloatArray) -> dict[str, list[float]]:
    """Columns thinned evenly to CURVE_POINTS, both ends kept."""
    length = len(next(iter(columns.values())))
    keep = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
    return {name: np.round(values[keep], DECIMALS).tolist() for name, values in columns.items()}


def draw_class_balanced(y_true: IntArray, *, seed: int) -> IntArray:
    """Row numbers of a draw without replacement with as many images of each class."""
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(y_true, return_counts=True)
    drawn = [
        rng.choice(np.flatnonzero(y_true == c), size=counts.min(), replace=False) for c in classes
    ]
    return np.sort(np.concatenate(drawn))
