"""What is said of one split: confusion matrix, classification report, curves, labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    precision_recall_curve,
    roc_curve,
)

from stages.evaluation.metrics import compute_metrics, metric_requirements
from stages.dataset.predictions import DECIMALS
from stages.evaluation.scored import score_rows
from stages.dataset.image_set import DatasetInfo

CURVE_POINTS = 200  # more cannot be told apart on a screen
CALIBRATION_BINS = 10
# Of each label, present or absent, where classes imply others.
LABEL_METRICS = ("sensitivity", "specificity", "auroc")


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
    """Points of the ROC, precision-recall and reliability curves of each class against the rest.

    A class that no image or every image is of has curves without a point: images from elsewhere
    need not have all classes.
    """
    return {
        name: _class_curves(y_true == number, probabilities[:, number])
        for number, name in enumerate(class_names)
    }


def _class_curves(is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    if is_class.all() or not is_class.any():
        nothing: NDArray[np.float64] = np.array([])
        return {
            "roc": _points(fpr=nothing, tpr=nothing),
            "precision_recall": _points(recall=nothing, precision=nothing),
            "calibration": _points(predicted=nothing, observed=nothing),
        }
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


def label_figures(rows: pd.DataFrame, info: DatasetInfo) -> dict[str, dict[str, Any]]:
    """What is said of each label where classes imply others: present against absent.

    A label is present where the true class or one that it implies is that label. Its probability
    is the sum of those of the classes that carry it, its decision that of the predicted class.

    Args:
        rows: of a predictions table; one true class each.
        info: class names and what they imply.

    Returns:
        Label to `n_positive` and LABEL_METRICS; None where undefined, with the reason.
    """
    scored = score_rows(rows, info)
    truth, decided = (
        info.label_patterns[np.asarray(classes)] for classes in (scored.y_true, scored.predictions)
    )
    # Six decimals each: a sum of them can leave 1 behind by a few millionths.
    shares = np.clip(np.asarray(scored.probabilities) @ info.label_patterns, 0, 1)  # (n, K)
    return {
        label: _binary_figures(truth[:, k], shares[:, k], decided[:, k])
        for k, label in enumerate(info.class_names)
    }


def _binary_figures(
    truth: NDArray[np.bool_], share: NDArray[np.float64], decided: NDArray[np.bool_]
) -> dict[str, Any]:
    names = ("absent", "present")
    values = compute_metrics(
        truth.astype(np.int64),
        np.column_stack((1 - share, share)),
        decided.astype(np.int64),
        class_names=names,
        positive=1,
    )
    needs = metric_requirements(names, 1)
    missing = [name for name in LABEL_METRICS if np.isnan(values[name][0])]
    return {
        "n_positive": int(truth.sum()),
        **{
            name: None if name in missing else round(float(values[name][0]), DECIMALS)
            for name in LABEL_METRICS
        },
        "undefined": {name: f"needs {needs[name]}" for name in missing},
    }
