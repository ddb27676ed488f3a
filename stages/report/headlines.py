"""Each case beside the best shortcut of its view: what it scores above what needs no disease."""

from typing import Any

import pandas as pd

from stages.evaluation.intervals import metrics_with_intervals, paired_difference
from stages.evaluation.prediction_table import score_rows
from stages.report.results import Results

Json = dict[str, Any]


def build_headlines(results: Results) -> dict[str, Json]:
    """The AUROC of every case and of the best shortcut of its view, on the case's test images.

    The shortcut's probabilities are out of fold, and which one is best was chosen by the AUROC over
    the whole view, so it did not learn from the images that it is scored on.

    Returns:
        Case to `n` (images), `auroc`, `shortcut` (its name), `shortcut_auroc` and `difference`
        (case - shortcut, on the same draws of patients), each figure with `_low` and `_high`.
    """
    return {case: _build_headline(results, case) for case in results.cases}


def _build_headline(results: Results, case: str) -> Json:
    info = results.datasets[results.dataset_of(case)].info
    probe, shortcut_rows = _best_shortcut_rows(results, results.params.case(case).view)
    predictions = results.cases[case].predictions
    test = predictions[predictions["split"] == "test"]
    beside = shortcut_rows[shortcut_rows["image_id"].isin(test["image_id"])]
    scored, shortcut = score_rows(test, info), score_rows(beside, info)
    options: Json = {
        "class_names": info.class_names,
        "positive": info.positive_index,
        "draws": results.params.evaluate.bootstrap_draws,
        "seed": results.params.seed,
    }
    return {
        "n": test["image_id"].nunique(),
        **_auroc("auroc", metrics_with_intervals(scored, **options).values),
        "shortcut": probe,
        **_auroc("shortcut_auroc", metrics_with_intervals(shortcut, **options).values),
        **_auroc("difference", paired_difference(scored, shortcut, **options).values),
    }


def _best_shortcut_rows(results: Results, view: str) -> tuple[str, pd.DataFrame]:
    """Name of a view's best shortcut, and what it says of each image."""
    probe = results.audits[view]["best_shortcut"]
    said = results.audit_predictions[view]
    return probe, said[said["probe"] == probe]


def _auroc(name: str, values: dict[str, float | None]) -> Json:
    return {f"{name}{end}": values[f"auroc{end}"] for end in ("", "_low", "_high")}
