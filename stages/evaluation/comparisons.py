"""Two cases on the same test images: paired differences of metrics and of maps."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.config.params import Params
from stages.evaluation.intervals import MetricTable, bootstrap_weights, metrics_with_intervals, paired_difference, percentile_interval
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.paired_tests import (
    AccuracyTest,
    AurocTest,
    adjust_holm,
    delong_test,
    mcnemar_test,
)
from stages.evaluation.scored import score_rows
from stages.dataset.image_set import DatasetInfo
from stages.reporting.results import CaseResults, Results

Json = dict[str, Any]


class _Pair(NamedTuple):
    """Test rows of two cases, one row per image and run."""

    first: pd.DataFrame
    second: pd.DataFrame

    def images(self) -> tuple[set[str], set[str]]:
        """The images that each of the two was tested on."""
        return set(self.first["image_id"]), set(self.second["image_id"])

    def shared(self) -> "_Pair":
        """All rows of the images that both were tested on."""
        both = set.intersection(*self.images())
        return _Pair(*(rows[rows["image_id"].isin(both)] for rows in self))

    def of_subgroup(self, name: str) -> "_Pair":
        """The rows of one stratum."""
        return _Pair(*(rows[rows["subgroup"] == name] for rows in self))


def compare_all_cases(results: Results) -> dict[str, Json]:
    """Every comparison that params.yaml names, with p-values adjusted by Holm's method.

    Each metric on all test images, DeLong's test and McNemar's test are a family of their own,
    over all comparisons of all data sets. Strata are not adjusted.

    Returns:
        Name to what `compare_cases` finds, and `p_value_holm` beside each `p_value` of a family.

    Raises:
        UserError: two cases have no test image in common.
    """
    comparisons = {
        name: compare_cases(results, first, second)
        for name, (first, second) in results.params.comparisons.items()
    }
    for metric in HEADLINE_METRICS:
        _adjust({name: found["test"][metric] for name, found in comparisons.items()})
    for test in ("delong", "mcnemar"):
        _adjust({name: found[test] for name, found in comparisons.items()})
    return comparisons


def _adjust(family: Mapping[str, Json]) -> None:
    """Write the adjusted p-value of each test beside its own."""
    adjusted = adjust_holm({name: test["p_value"] for name, test in family.items()})
    for name, test in family.items():
        p_value = adjusted[name]
        test["p_value_holm"] = None if p_value is None else _significant(p_value)


def compare_cases(results: Results, first: str, second: str) -> Json:
    """The first case minus the second, on the test images that both have.

    Returns:
        `differs`: settings; `test` and `subgroups`: figures; `delong` and `mcnemar`: paired tests
        on all test images; `maps`: shares inside the lungs.

    Raises:
        UserError: no image was tested by both.
    """
    cases = (results.cases[first], results.cases[second])
    pair = _Pair(*(_test_rows(case.predictions) for case in cases))
    if not set.intersection(*pair.images()):
        raise UserError(
            f"comparisons: {first} and {second} have no test image in common; "
            "allowed: two cases that are tested on some of the same images"
        )
    strata = [name for name in np.unique(pair.shared().first["subgroup"]) if name]
    return {
        "first": first,
        "second": second,
        "differs": find_differences(results.params, first, second),
        "test": _compare_rows(results, first, pair),
        **_paired_tests(results.datasets[results.dataset_of(first)].info, pair.shared()),
        "subgroups": {
            name: _compare_rows(results, first, pair.of_subgroup(name)) for name in strata
        },
        "maps": {
            method: _compare_maps(results, *cases, method) for method in results.params.cam.methods
        },
    }


def find_differences(params: Params, first: str, second: str) -> dict[str, list[Any]]:
    """Settings that two cases do not share, with both values.

    Returns:
        Field of the case, or `view.<field>` for those of its view, to [of first, of second].
    """
    settings = [_flat_settings(params, case) for case in (first, second)]
    return {
        field: [side[field] for side in settings]
        for field in settings[0]
        if settings[0][field] != settings[1][field]
    }


def _flat_settings(params: Params, name: str) -> Json:
    case = params.case(name)
    view = params.view(case.view).model_dump(mode="json")
    return case.model_dump(mode="json") | {f"view.{field}": view[field] for field in view}


def _test_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Test rows in an order of their own, so that the order in the file plays no part."""
    test = predictions[predictions["split"] == "test"]
    return test.sort_values(["image_id", "fold", "seed"], ignore_index=True)


def _compare_rows(results: Results, case: str, pair: _Pair) -> Json:
    """Both cases' figures on the images that both have, and their paired difference."""
    info = results.datasets[results.dataset_of(case)].info
    rows = pair.shared()
    first, second = (score_rows(side, info) for side in rows)
    options: Json = {
        "class_names": info.class_names,
        "positive": info.positive_index,
        "draws": results.params.evaluate.bootstrap_draws,
        "seed": results.params.seed,
    }
    tables = {
        "first": metrics_with_intervals(first, **options),
        "second": metrics_with_intervals(second, **options),
        "difference": paired_difference(first, second, **options),
    }
    return _count_images(pair) | {metric: _figures(tables, metric) for metric in HEADLINE_METRICS}


def _count_images(pair: _Pair) -> dict[str, int]:
    """Images and groups compared, rows of each side, and images of one side left out."""
    images, others = pair.images()
    rows = pair.shared()
    return {
        "n": len(images & others),
        "n_groups": int(rows.first["group_id"].nunique()),
        "n_rows_first": len(rows.first),
        "n_rows_second": len(rows.second),
        "n_only_first": len(images - others),
        "n_only_second": len(others - images),
    }


def _figures(tables: Mapping[str, MetricTable], metric: str) -> Json:
    """Value and interval of each case and of the difference; why, where there is none."""
    first, second, difference = (tables[k].values for k in ("first", "second", "difference"))
    reasons = tables["difference"].undefined
    return {
        "first": first[metric],
        "first_low": first[f"{metric}_low"],
        "first_high": first[f"{metric}_high"],
        "second": second[metric],
        "second_low": second[f"{metric}_low"],
        "second_high": second[f"{metric}_high"],
        "difference": difference[metric],
        "low": difference[f"{metric}_low"],
        "high": difference[f"{metric}_high"],
        "p_value": difference[f"{metric}_p_value"],
        "undefined": reasons.get(metric) or reasons.get(f"{metric}_low"),
    }


def _paired_tests(info: DatasetInfo, shared: _Pair) -> dict[str, Json]:
    """Tests that need one row per image: of the positive class's AUROC and of the accuracy."""
    most = max(int(rows["image_id"].value_counts().max()) for rows in shared)
    if most > 1:
        reason = f"an image has up to {most} rows; `ensemble: true` gives one row per image"
        auroc = AurocTest(None, None, None, None, reason)
        accuracy = AccuracyTest(None, None, None, reason)
    else:
        a, b = shared
        score = f"prob_{info.positive}"
        auroc = delong_test(a["label"] == info.positive, a[score], b[score], a["group_id"])
        accuracy = mcnemar_test(
            a["prediction"] == a["label"], b["prediction"] == b["label"], a["group_id"]
        )
    return {
        "delong": {"positive": info.positive} | _as_json(auroc),
        "mcnemar": _as_json(accuracy),
    }


def _as_json(test: AurocTest | AccuracyTest) -> Json:
    return {
        name: _significant(value) if isinstance(value, float) else value
        for name, value in test._asdict().items()
    }


def _significant(value: float) -> float:
    """To six significant digits, so that a small p-value is not written as 0."""
    return float(f"{value:.6g}")


def _compare_maps(results: Results, a: CaseResults, b: CaseResults, method: str) -> Json:
    """Mean share of the maps inside the lungs, and the paired difference, over the drawn images."""
    maps_a, maps_b = (_map_scores(case, method) for case in (a, b))
    both = maps_a.merge(
        maps_b, on="image_id", suffixes=("_a", "_b"), validate="one_to_one"
    ).dropna()
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
    """Scores of the drawn images; those picked for their errors are not a fair sample."""
    rows = [
        {"image_id": image["image_id"], "group_id": image["group_id"], **image[method]}
        for image in case.cam["images"]
        if "drawn" in image["selected_as"]
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
