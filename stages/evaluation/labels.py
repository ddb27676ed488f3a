"""What is said of each label where classes imply others, such as covid pneumonia."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.image_set import DatasetInfo
from stages.dataset.task import Task
from stages.evaluation.metrics import FloatArray, compute_metrics, metric_requirements
from stages.evaluation.scored import score_rows
from stages.evaluation.statistics.rounding import rounded

LABEL_METRICS = ("sensitivity", "specificity", "auroc")
PRESENCE = Task(("absent", "present"), 1)


class LabelFigures(NamedTuple):
    """Of one label: present against absent.

    Attributes:
        n_positive: rows in which it is present.
        values: LABEL_METRICS, rounded; None where undefined.
        undefined: why, for exactly these.
    """

    n_positive: int
    values: Mapping[str, float | None]
    undefined: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        return {
            "n_positive": self.n_positive,
            **self.values,
            "undefined": dict(self.undefined),
        }


def score_labels(rows: pd.DataFrame, info: DatasetInfo) -> dict[str, LabelFigures]:
    """Figures of each label.

    A label is present where the true class or one that it implies is that label. Its probability
    is the sum of those of the classes that carry it, its decision that of the predicted class.

    Args:
        rows: of a predictions table; one true class each.
        info: class names and what they imply.
    """
    scored = score_rows(rows, info.task)
    truth, decided = (
        info.label_patterns[np.asarray(classes)] for classes in (scored.y_true, scored.predictions)
    )
    # Six decimals each: a sum of them can leave 1 behind by a few millionths.
    shares = np.clip(np.asarray(scored.probabilities) @ info.label_patterns, 0, 1)  # (n, K)
    return {
        label: _score_label(truth[:, k], shares[:, k], decided[:, k])
        for k, label in enumerate(info.class_names)
    }


def _score_label(
    truth: NDArray[np.bool_], share: FloatArray, decided: NDArray[np.bool_]
) -> LabelFigures:
    metrics = compute_metrics(
        truth.astype(np.int64),
        np.column_stack((1 - share, share)),
        decided.astype(np.int64),
        PRESENCE,
    )
    values = {name: rounded(float(metrics[name][0])) for name in LABEL_METRICS}
    needs = metric_requirements(PRESENCE)
    undefined = {name: f"needs {needs[name]}" for name, v in values.items() if v is None}
    return LabelFigures(int(truth.sum()), values, undefined)
