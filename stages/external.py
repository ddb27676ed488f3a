"""Score a trained case, untouched, on images of another data set.

Reads:  data/views/<view>/, data/weights/<case>/, data/predictions/<case>.csv,
        metrics/reports/<case>.json
Writes: data/external/<name>.csv, metrics/external/<name>.json
"""

import json
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_csv, write_json
from stages.dataset.image_set import load_image_set
from stages.dataset.predictions import load_predictions
from stages.dataset.task import Task
from stages.evaluation.external_report import Chosen, build_external_report
from stages.evaluation.statistics.records import Bootstrap
from stages.modeling.compute import choose_hardware, keep_freed_memory
from stages.modeling.predict import combine_runs, load_case, predict_case

logger = logging.getLogger(__name__)


def score_elsewhere(params: Params, name: str, paths: Paths) -> None:
    """Write predictions and figures of one external test."""
    keep_freed_memory()
    entry = params.external_test(name)
    case, elsewhere = load_case(paths.weights(entry.case)), load_image_set(paths.view(entry.view))
    task = Task(case.outputs.class_names, case.outputs.positive)
    rows, counts = _choose_rows(elsewhere.manifest, case.table.images["sha256"], entry.classes)
    _require_images(name, rows, counts)
    tested = elsewhere.manifest.iloc[rows]
    run_table = predict_case(
        case,
        elsewhere.images[rows],
        tested.assign(label=tested["label"].map(entry.classes)),
        device=choose_hardware(params.compute).device,
    )
    table = combine_runs(run_table, task.class_names, ensemble=case.ensemble)
    own = load_predictions(paths.predictions(entry.case))
    own_report = json.loads(paths.case_report(entry.case).read_text(encoding="utf-8"))
    report = build_external_report(
        table,
        run_table,
        own[own["split"] == "test"],
        Chosen.from_report(own_report),
        task,
        params.evaluate.prevalences,
        Bootstrap(params.evaluate.bootstrap_draws, params.seed),
    )
    facts = {
        "case": entry.case,
        "view": entry.view,
        "dataset": elsewhere.info.dataset,
        "own_is_optimistic": own_report["optimistic"],
        "classes": dict(entry.classes),
        "n": len(rows),
        "n_groups": int(tested["group_id"].nunique()),
        **counts,
    }
    write_csv(paths.external_predictions(name), table)
    write_json(paths.external(name), facts | report.to_json())
    logger.info("%s: %s", name, facts)
    logger.info("auroc %s", report.drop["auroc"].to_json())


def _choose_rows(
    manifest: pd.DataFrame, known_files: "pd.Series[str]", classes: Mapping[str, str]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Images of the classes that are mapped and not the case's own, and how many were not taken."""
    is_mapped = manifest["label"].isin(classes)
    is_known = manifest["sha256"].isin(known_files)
    counts = {
        "n_left_out": int((~is_mapped).sum()),
        "n_shared_with_training": int((is_mapped & is_known).sum()),
    }
    return np.flatnonzero(is_mapped & ~is_known).astype(np.int64), counts


def _require_images(name: str, rows: NDArray[np.int64], counts: Mapping[str, int]) -> None:
    if not len(rows):
        raise UserError(
            f"params.yaml: external.{name}: no image is left: {counts['n_left_out']} are of "
            f"classes that are not mapped, {counts['n_shared_with_training']} are in the case's "
            "own data set too; map other classes, or give another view"
        )


if __name__ == "__main__":
    run_stage(score_elsewhere, __doc__, section="external")
