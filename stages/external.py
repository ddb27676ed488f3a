"""Score a trained case, untouched, on images of another data set.

Reads:  data/views/<view>/, data/weights/<case>/, data/predictions/<case>.csv,
        metrics/reports/<case>.json, data/prepared/<data set of the case>/
Writes: data/external/<name>.csv, metrics/external/<name>.json
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.external_report import Bootstrap, build_external_report
from stages.modeling.predict import predict_probabilities
from stages.dataset.predictions import average_test_rows, load_predictions, tabulate_run
from stages.dataset.image_set import ImageSet, load_dataset_info, load_image_set, load_manifest
from stages.dataset.runs import Run, load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.compute import choose_hardware, keep_freed_memory

logger = logging.getLogger(__name__)


def score_elsewhere(params: Params, name: str, paths: Paths) -> None:
    """Write predictions and figures of one external test."""
    keep_freed_memory()
    entry = params.external_test(name)
    case = params.case(entry.case)
    home = paths.prepared(params.view(case.view).dataset)
    info, own_manifest = load_dataset_info(home), load_manifest(home)
    elsewhere = load_image_set(paths.view(entry.view))
    rows, counts = _choose_rows(elsewhere.manifest, own_manifest, entry.classes)
    _require_images(name, rows, counts)
    run_table = _predict_runs(
        load_runs(paths.weights(entry.case), own_manifest["image_id"]),
        elsewhere,
        rows,
        relabelled=elsewhere.manifest["label"].iloc[rows].map(entry.classes),
        weights=paths.weights(entry.case),
        device=choose_hardware(params.compute).device,
    )
    table = average_test_rows(run_table, info.class_names) if case.ensemble else run_table
    own = load_predictions(paths.predictions(entry.case))
    figures = build_external_report(
        table,
        run_table,
        own[own["split"] == "test"],
        json.loads(paths.case_report(entry.case).read_text(encoding="utf-8")),
        info,
        prevalences=params.evaluate.prevalences,
        bootstrap=Bootstrap(params.evaluate.bootstrap_draws, params.seed),
    )
    facts = {
        "case": entry.case,
        "view": entry.view,
        "dataset": elsewhere.info.dataset,
        "classes": dict(entry.classes),
        "n": len(rows),
        "n_groups": int(elsewhere.manifest["group_id"].iloc[rows].nunique()),
        **counts,
    }
    _save(table, facts | figures, paths.external_predictions(name), paths.external(name))
    logger.info("%s: %s", name, facts)
    logger.info("auroc %s", figures["drop"]["auroc"])


def _choose_rows(
    manifest: pd.DataFrame, own_manifest: pd.DataFrame, classes: Mapping[str, str]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Images of the classes that are mapped and not the case's own, and how many were not taken."""
    is_mapped = manifest["label"].isin(classes)
    is_known = manifest["sha256"].isin(own_manifest["sha256"])
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


def _predict_runs(
    runs: list[Run],
    elsewhere: ImageSet,
    rows: NDArray[np.int64],
    *,
    relabelled: pd.Series,
    weights: Path,
    device: str,
) -> pd.DataFrame:
    """What every model of the case says of the images; all of them count as test images."""
    manifest = elsewhere.manifest.iloc[rows].assign(label=relabelled)
    images = elsewhere.images[rows]
    tables = []
    for run in runs:
        classifier, meta = load_classifier(run_folder(weights, run.name))
        outputs = outputs_of(meta)
        probabilities = predict_probabilities(classifier, outputs, images, device=device)
        tested = Run(run.name, run.fold, run.seed, np.full(len(rows), "test"))
        tables.append(tabulate_run(manifest, tested, probabilities, outputs.class_names))
    return pd.concat(tables, ignore_index=True)


def _save(table: pd.DataFrame, report: dict[str, object], predictions: Path, figures: Path) -> None:
    for path in (predictions, figures):
        path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(predictions, index=False)
    figures.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(score_elsewhere, __doc__, section="external")
