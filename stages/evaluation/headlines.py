"""Each case beside the best shortcut of its view: what is left once the shortcut is taken off."""

from typing import Any

import pandas as pd

from stages.evaluation.intervals import ENDS, metrics_with_intervals, paired_difference
from stages.evaluation.scored import score_rows
from stages.reporting.results import Results

Json = dict[str, Any]


def build_headlines(results: Results) -> dict[str, Json]:
    """AUROC of each case and of its view's best shortcut, on the case's own test images.

    The shortcut is the one with the highest cross-validated AUROC over the whole view. It is
    scored on the same images, by models that saw none of their groups.

    Returns:
        Case to `n`, `shortcut`, and `auroc`, `shortcut_auroc` and `difference` (the case minus the
        shortcut), each with `_low` and `_high`.
    """
    return {case: _headline(results, case) for case in results.cases}


def _headline(results: Results, case: str) -> Json:
    view = results.params.case(case).view
    shortcut = results.audits[view]["best_shortcut"]
    predictions, probes = results.cases[case].predictions, results.audit_predictions[view]
    test = predictions[predictions["split"] == "test"]
    beside = probes[(probes["probe"] == shortcut) & probes["image_id"].isin(test["image_id"])]
    return {
        "n": int(test["image_id"].nunique()),
        "shortcut": shortcut,
        **_compare(results, case, test, beside),
    }


def _compare(results: Results, case: str, test: pd.DataFrame, beside: pd.DataFrame) -> Json:
    info = results.datasets[results.dataset_of(case)].info
    options: Json = {
        "class_names": info.class_names,
        "positive": info.positive_index,
        "draws": results.params.evaluate.bootstrap_draws,
        "seed": results.params.seed,
    }
    own, other = score_rows(test, info), score_rows(beside, info)
    tables = {
        "auroc": metrics_with_intervals(own, **options),
        "shortcut_auroc": metrics_with_intervals(other, **options),
        "difference": paired_difference(own, other, **options),
    }
    return {
        name + end: table.values["auroc" + end] for name, table in tables.items() for end in ENDS
    }
