"""What is said of a trained case on images of another data set, and the drop from its own.

Nothing is chosen on those images: temperatures and thresholds are the ones that each model's own
val images decided.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from stages.dataset.task import Task
from stages.evaluation.calibration import UNCHANGED, Calibration, calibrate
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.operating_points import OPERATING_POINTS, Judged, call_all, judge
from stages.evaluation.scored import draw_metrics, score_rows, score_runs
from stages.evaluation.split_report import build_curves, build_split_report
from stages.evaluation.statistics.bootstrap import compare, estimate
from stages.evaluation.statistics.records import Bootstrap, Estimates, Paired, flatten

MATRICES = ("class_names", "confusion_matrix", "classification_report")


class Chosen(NamedTuple):
    """What the val images of each model of a case decided.

    Attributes:
        temperatures: by run.
        thresholds: by operating point, then by run.
    """

    temperatures: Mapping[str, float]
    thresholds: Mapping[str, Mapping[str, float]]

    @classmethod
    def from_report(cls, content: Mapping[str, Any]) -> Self:
        """Read them from a case's metrics/reports/<case>.json."""
        return cls(
            {
                entry["name"]: entry["temperature"]
                for entry in content["calibration"]["temperatures"]
            },
            {
                point: {
                    entry["name"]: entry["threshold"]
                    for entry in content["operating_points"][point]["thresholds"]
                }
                for point in OPERATING_POINTS
            },
        )


class ExternalReport(NamedTuple):
    """Figures of a case on images of another data set.

    Attributes:
        metrics: every one.
        matrices: MATRICES of `build_split_report`.
        curves: class to the points of its curves.
        before: calibration as it comes.
        after: with the temperature of each model.
        operating_points: by name.
        drop: main metrics there, on the case's own test images, and there minus own.
    """

    metrics: Estimates
    matrices: Mapping[str, Any]
    curves: Mapping[str, Any]
    before: Calibration
    after: Calibration
    operating_points: Mapping[str, Judged]
    drop: Mapping[str, Paired]

    def to_json(self) -> dict[str, Any]:
        """As metrics/external has it, but for what was tested."""
        metrics = flatten(self.metrics)
        return {
            "metrics": metrics.values,
            "undefined": metrics.undefined,
            **self.matrices,
            "curves": self.curves,
            "calibration": {"before": self.before.to_json(), "after": self.after.to_json()},
            "operating_points": {
                name: point.to_json() for name, point in self.operating_points.items()
            },
            "drop": {
                metric: {"own": pair.second.value, "external": pair.first.value}
                | pair.difference.as_difference()
                | {"detectable": pair.difference.detectable}
                for metric, pair in self.drop.items()
            },
        }


def build_external_report(
    table: pd.DataFrame,
    run_table: pd.DataFrame,
    own_test: pd.DataFrame,
    chosen: Chosen,
    task: Task,
    prevalences: Sequence[float],
    bootstrap: Bootstrap,
) -> ExternalReport:
    """Figures, calibration, operating points and drop of one external test.

    Args:
        table: what the case says of the other images: its models' rows, or their averages.
        run_table: one row per image and model.
        own_test: the case's own test rows, averaged or not as `table` is.
        chosen: on the case's own val images.
        task: of the case.
        prevalences: at which predictive values are stated.
        bootstrap: of the other images; the case's own are drawn apart.
    """
    scored, own = score_rows(table, task), score_rows(own_test, task)
    truth, decided = (np.asarray(part) for part in (scored.y_true, scored.predictions))
    there = draw_metrics(scored, task, bootstrap)
    at_home = draw_metrics(own, task, bootstrap.independent())
    matrices = build_split_report(truth, decided, task.class_names)
    said = {run.name: run.test for run in score_runs(run_table, task)}
    as_it_comes = dict.fromkeys(said, UNCHANGED)
    return ExternalReport(
        metrics=estimate(there),
        matrices={key: matrices[key] for key in MATRICES},
        curves=build_curves(truth, np.asarray(scored.probabilities), task.class_names),
        before=calibrate(said, as_it_comes, task, bootstrap),
        after=calibrate(said, chosen.temperatures, task, bootstrap),
        operating_points={
            point: judge(call_all(said, thresholds, task), task, prevalences, bootstrap)
            for point, thresholds in chosen.thresholds.items()
        },
        drop=compare(there.only(HEADLINE_METRICS), at_home.only(HEADLINE_METRICS), paired=False),
    )
