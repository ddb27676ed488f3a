"""Two cases on the same test images: paired differences of metrics and of maps."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.evaluation.intervals import (
    Predictions,
    bootstrap_weights,
    paired_difference,
    percentile_interval,
)
from stages.imaging.image_set import DatasetInfo
from stages.report.results import CaseResults, Results

METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")

Json = dict[str, Any]


def compare_cases(results: Results, first: str, second: str) -> Json:
    """The first case minus the second, on all test images, by subgroup, and in their maps."""
    info = results.datasets[results.dataset_of(first)].info
    pair = (results.cases[first], results.cases[second])
    test_a, test_b = (_test_rows(case.predictions) for case in pair)
    subgroups = [name for name in np.unique(test_a["subgroup"]) if name]
    return {
        "first": first,
        "second": second,
        "test": _compare_rows(results, info, test_a, test_b),
        "subgroups": {
            name: _compare_rows(
                results,
                info,
                test_a[test_a["subgroup"] == name],
                test_b[test_b["subgroup"] == name],
            )
            for name in subgroups
        },
        "maps": {
            method: _compare_maps(results, *pair, method) for method in results.params.cam.methods
        },
    }


def _test_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions[predictions["split"] == "test"].set_index("image_id").sort_index()


def _compare_rows(
    results: Results, info: DatasetInfo, rows_a: pd.DataFrame, rows_b: pd.DataFrame
) -> Json:
    """Both cases' figures on the same images, and their paired difference."""
    assert list(rows_a.index) == list(rows_b.index)  # one data set, one split
    index = {name: number for number, name in enumerate(info.class_names)}
    model_a, model_b = (
        Predictions(
            rows[[f"prob_{name}" for name in info.class_names]].to_numpy(),
            rows["prediction"].map(index).to_numpy(),
        )
        for rows in (rows_a, rows_b)
    )
    difference = paired_difference(
        rows_a["label"].map(index).to_numpy(),
        model_a,
        model_b,
        rows_a["group_id"].to_numpy(),
        class_names=info.class_names,
        positive=info.positive_index,
        draws=results.params.evaluate.bootstrap_draws,
        seed=results.params.seed,
    ).values
    return {
        "n": len(rows_a),
        "n_groups": int(rows_a["group_id"].nunique()),
        **{
            metric: {
                "difference": difference[metric],
                "low": difference[f"{metric}_low"],
                "high": difference[f"{metric}_high"],
                "p_value": difference[f"{metric}_p_value"],
            }
            for metric in METRICS
        },
    }


def _compare_maps(results: Results, a: CaseResults, b: CaseResults, method: str) -> Json:
    """Mean share of the maps inside the lungs, and the paired difference, over the drawn images."""
    maps_a, maps_b = (_map_scores(case, method) for case in (a, b))
    both = maps_a.merge(maps_b, on="image_id", suffixes=("_a", "_b")).dropna()
    low, high = _mean_interval(
        (both["in_lungs_a"] - both["in_lungs_b"]).to_numpy(),
        both["group_id_a"].to_numpy(),
        draws=results.params.evaluate.bootstrap_draws,
        seed=results.params.seed,
    )
    return {
        "n": len(both),
        **{
            f"{score}_{name}": _mean(both[f"{score}_{suffix}"])
            for score in ("in_lungs", "lungs_area")
            for name, suffix in (("first", "a"), ("second", "b"))
        },
        "difference": _mean(both["in_lungs_a"] - both["in_lungs_b"]),
        "low": low,
        "high": high,
    }


def _mean(values: pd.Series) -> float | None:
    """The mean, None where there is nothing."""
    return round(float(values.mean()), 6) if len(values) else None


def _map_scores(case: CaseResults, method: str) -> pd.DataFrame:
    rows = [
        {"image_id": image["image_id"], "group_id": image["group_id"], **image[method]}
        for image in case.cam["images"]
    ]
    return pd.DataFrame(rows).set_index("image_id")[["group_id", "in_lungs", "lungs_area"]]


def _mean_interval(
    values: NDArray[np.float64], group_ids: NDArray[np.str_], *, draws: int, seed: int
) -> tuple[float | None, float | None]:
    """95 % interval of a mean over images, groups drawn whole; none for fewer than two groups."""
    if len(np.unique(group_ids)) < 2:
        return None, None
    weights = bootstrap_weights(group_ids, draws=draws, seed=seed)
    interval = percentile_interval(weights @ values / weights.sum(axis=1))
    return interval.low, interval.high
