"""What is said of one split: confusion matrix, classification report, curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    precision_recall_curve,
    roc_curve,
)

CURVE_POINTS = 200  # more cannot be told apart on a screen
CALIBRATION_BINS = 10


def build_split_report(
    y_true: NDArray[np.int64], predictions: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """Confusion matrix (rows actual, columns predicted) and scikit-learn's report."""
    labels = list(range(len(class_names)))
    return {
        "class_names": list(class_names),
        "n": len(y_true),
        "confusion_matrix": confusion_matrix(y_true, predictions, labels=labels).tolist(),
        "classification_report": classification_report(
            y_true,
            predictions,
            labels=labels,
            target_names=list(class_names),
            output_dict=True,
            zero_division=0,
        ),
    }


def build_curves(
    y_true: NDArray[np.int64], probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Points of the ROC, precision-recall and reliability curves of each class against the rest."""
    return {
        name: _class_curves(y_true == number, probabilities[:, number])
        for number, name in enumerate(class_names)
    }


def _class_curves(is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    fpr, tpr, _ = roc_curve(is_class, scores)
    precision, recall, _ = precision_recall_curve(is_class, scores)
    observed, predicted = calibration_curve(is_class, scores, n_bins=CALIBRATION_BINS)
    return {
        "roc": _points(fpr=fpr, tpr=tpr),
        "precision_recall": _points(recall=recall, precision=precision),
        "calibration": _points(predicted=predicted, observed=observed),
    }


def _points(**columns: NDArray[np.float64]) -> dict[str, list[float]]:
    """Columns thinned evenly to CURVE_POINTS, both ends kept."""
    length = len(next(iter(columns.values())))
    keep = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
    return {name: np.round(values[keep], 6).tolist() for name, values in columns.items()}


def draw_class_balanced(y_true: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Row numbers of a draw without replacement with as many images of each class."""
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(y_true, return_counts=True)
    drawn = [
        rng.choice(np.flatnonzero(y_true == c), size=counts.min(), replace=False) for c in classes
    ]
    return np.sort(np.concatenate(drawn))
