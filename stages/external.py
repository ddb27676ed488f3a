"""Score a trained case, untouched, on images of another data set.

Pictures that the case's own data set has too, as they are or slightly changed, are left out.

Reads:  data/views/<view>/, data/weights/<case>/, data/predictions/<case>/,
        metrics/reports/<case>.json
Writes: data/external/<name>.csv, metrics/external/<name>.json
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_csv, write_json
from stages.dataset.image_set import load_image_set
from stages.dataset.predictions import WHOLE, load_predictions
from stages.dataset.task import Task
from stages.evaluation.external_report import Chosen, build_external_report
from stages.evaluation.statistics.records import Bootstrap
from stages.imaging.shared_pictures import KnownPictures, find_shared_pictures
from stages.modeling.compute import choose_hardware, keep_freed_memory, use_threads
from stages.modeling.predict import combine_runs, load_case, predict_case

logger = logging.getLogger(__name__)


def score_elsewhere(params: Params, name: str, paths: Paths) -> None:
    """Write predictions and figures of one external test."""
    keep_freed_memory()
    use_threads(params.compute.threads)
    entry = params.external_test(name)
    case, elsewhere = load_case(paths.weights(entry.case)), load_image_set(paths.view(entry.view))
    task = Task(case.outputs.class_names, case.outputs.positive)
    said = paths.case_predictions(entry.case)
    own, there = KnownPictures.load(said), KnownPictures.load(paths.view(entry.view))
    rows, shared = _choose_rows(own, there, entry.classes, paths.scratch(f"external-{name}"))
    n_left_out = len(there.manifest) - len(rows) - len(shared)
    counts = {"n_left_out": n_left_out, "n_shared_with_training": len(shared)}
    _require_images(name, rows, counts)
    tested = elsewhere.manifest.iloc[rows]
    run_table = predict_case(
        case,
        elsewhere.images[rows],
        tested.assign(label=tested["label"].map(entry.classes)),
        device=choose_hardware(params.compute).device,
    )
    table = combine_runs(run_table, task.class_names, ensemble=case.ensemble)
    own_rows = load_predictions(said / f"{WHOLE}.csv")
    own_report = json.loads(paths.case_report(entry.case).read_text(encoding="utf-8"))
    report = build_external_report(
        table,
        run_table,
        own_rows[own_rows["split"] == "test"],
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
        "bytes_alone_of": [known.dataset for known in (own, there) if not known.fingerprints],
        "shared": shared.to_dict("records"),
    }
    write_csv(paths.external_predictions(name), table)
    write_json(paths.external(name), facts | report.to_json())
    logger.info("%s: %s", name, {key: facts[key] for key in ("case", "view", "n")} | counts)
    if len(shared):
        logger.warning("%d pictures are the case's own too (%s)", len(shared), paths.external(name))
    logger.info("auroc %s", report.drop["auroc"].to_json())


def _choose_rows(
    own: KnownPictures, there: KnownPictures, classes: Mapping[str, str], scratch: Path
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Of the classes that are mapped the images that are new, and those that are the case's own."""
    mapped = there.manifest[there.manifest["label"].isin(classes)]
    try:
        shared = find_shared_pictures(own, there._replace(manifest=mapped), scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    is_new = ~mapped["image_id"].isin(shared["image_id"])
    return mapped.index[is_new].to_numpy(np.int64), shared


def _require_images(name: str, rows: NDArray[np.int64], counts: Mapping[str, int]) -> None:
    if not len(rows):
        raise UserError(
            f"params.yaml: external.{name}: no image is left: {counts['n_left_out']} are of "
            f"classes that are not mapped, {counts['n_shared_with_training']} are in the case's "
            "own data set too; map other classes, or give another view"
        )


if __name__ == "__main__":
    run_stage(score_elsewhere, __doc__, section="external")
