"""What is said of a trained case on images of another data set, and the drop from its own.

Nothing is chosen on those images: temperatures and thresholds are the ones that each model's own
val images decided.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.evaluation.calibration import apply_temperature, describe_calibration
from stages.evaluation.scored import Scored
from stages.evaluation.intervals import metrics_with_intervals, unpaired_difference
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.operating_points import (
    OPERATING_POINTS,
    apply_threshold,
    describe_calls,
    pool_calls,
)
from stages.evaluation.scored import pool, score_rows, score_runs
from stages.evaluation.split_report import build_curves, build_split_report
from stages.dataset.image_set import DatasetInfo

Json = dict[str, Any]
MATRICES = ("class_names", "confusion_matrix", "classification_report")


class Bootstrap(NamedTuple):
    """Draws behind every interval, and their seed."""

    draws: int
    seed: int


def build_external_report(
    table: pd.DataFrame,
    run_table: pd.DataFrame,
    own_test: pd.DataFrame,
    own_report: Json,
    info: DatasetInfo,
    *,
    prevalences: Sequence[float],
    bootstrap: Bootstrap,
) -> Json:
    """Figures, calibration, operating points and drop of one external test.

    Args:
        table: what the case says of the other images: its models' rows, or their averages.
        run_table: one row per image and model.
        own_test: the case's own test rows, averaged or not as `table` is.
        own_report: the case's metrics/reports/<case>.json, for temperatures and thresholds.
        info: classes of the case.
        prevalences: at which predictive values are stated.
        bootstrap: draws and seed.
    """
    scored = score_rows(table, info)
    truth, decided = (np.asarray(part) for part in (scored.y_true, scored.predictions))
    options: Json = {
        "class_names": info.class_names,
        "positive": info.positive_index,
        **bootstrap._asdict(),
    }
    figures = metrics_with_intervals(scored, **options)
    matrices = build_split_report(truth, decided, info.class_names)
    runs = {run.name: run.test for run in score_runs(run_table, info)}
    return {
        "metrics": figures.values,
        "undefined": figures.undefined,
        **{key: matrices[key] for key in MATRICES},
        "curves": build_curves(truth, np.asarray(scored.probabilities), info.class_names),
        "calibration": _calibration(runs, own_report, info.positive_index, bootstrap),
        "operating_points": _operating_points(runs, own_report, info, prevalences, bootstrap),
        "drop": _drop(score_rows(own_test, info), scored, options),
    }


def _calibration(
    runs: Mapping[str, Scored], own_report: Json, positive: int, bootstrap: Bootstrap
) -> Json:
    """As it comes, and with the temperature that each model's own val images gave."""
    fitted = {
        entry["name"]: entry["temperature"] for entry in own_report["calibration"]["temperatures"]
    }

    def describe(temperatures: Mapping[str, float]) -> Json:
        scaled = pool(
            said._replace(probabilities=apply_temperature(said.probabilities, temperatures[name]))
            for name, said in runs.items()
        )
        return describe_calibration(scaled, positive=positive, **bootstrap._asdict())

    return {"before": describe(dict.fromkeys(runs, 1.0)), "after": describe(fitted)}


def _operating_points(
    runs: Mapping[str, Scored],
    own_report: Json,
    info: DatasetInfo,
    prevalences: Sequence[float],
    bootstrap: Bootstrap,
) -> Json:
    """With the thresholds that each model's own val images gave."""
    points = {}
    for point in OPERATING_POINTS:
        chosen = own_report["operating_points"][point]["thresholds"]
        thresholds = {entry["name"]: entry["threshold"] for entry in chosen}
        calls = pool_calls(
            apply_threshold(said, thresholds[name], positive=info.positive_index)
            for name, said in runs.items()
        )
        points[point] = describe_calls(
            calls, positive=info.positive, prevalences=prevalences, **bootstrap._asdict()
        )
    return points


def _drop(own: Scored, external: Scored, options: Json) -> Json:
    """External minus own for the main metrics; the patients differ, so both are drawn apart."""
    tables = {
        "own": metrics_with_intervals(own, **options).values,
        "external": metrics_with_intervals(external, **options).values,
    }
    difference = unpaired_difference(external, own, **options).values
    return {
        metric: {side: values[metric] for side, values in tables.items()}
        | {
            "difference": difference[metric],
            "low": difference[f"{metric}_low"],
            "high": difference[f"{metric}_high"],
        }
        for metric in HEADLINE_METRICS
    }
