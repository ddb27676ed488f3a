"""Score one case on its train, validation and test images, each run and all together.

The test images are scored a second and a third time, without their lungs and with nothing else.

Reads:  data/views/<view>/, data/weights/<case>/
Writes: data/predictions/<case>.csv, metrics/cases/<case>.json, metrics/reports/<case>.json
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.case_report import CaseReport
from stages.imaging.occlusion import (
    OCCLUSIONS,
    compute_mean_grey,
    occlude,
    select_with_lungs,
)
from stages.modeling.predict import predict_probabilities
from stages.dataset.predictions import average_test_rows, tabulate_run
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.runs import Run, load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.compute import choose_hardware, keep_freed_memory

logger = logging.getLogger(__name__)

WHOLE = "whole"  # nothing hidden


def evaluate_case(params: Params, name: str, paths: Paths) -> None:
    """Write predictions, headline figures and reports of one case."""
    keep_freed_memory()
    case = params.case(name)
    view = load_image_set(paths.view(case.view))
    device = choose_hardware(params.compute).device
    weights = paths.weights(name)
    runs = load_runs(weights, view.manifest["image_id"])
    tables = [_predict_run(run, view, weights, device) for run in runs]
    of_runs = {
        shown: pd.concat([own[shown] for own in tables], ignore_index=True)
        for shown in (WHOLE, *OCCLUSIONS)
    }
    of_case = {
        shown: average_test_rows(rows, view.info.class_names) if case.ensemble else rows
        for shown, rows in of_runs.items()
    }
    table = of_case.pop(WHOLE)
    paths.predictions(name).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(paths.predictions(name), index=False)
    report = CaseReport(
        table,
        of_runs[WHOLE],
        of_case,
        view.info,
        prevalences=params.evaluate.prevalences,
        draws=params.evaluate.bootstrap_draws,
        seed=params.seed,
    )
    headline = report.headline()
    _write_json(paths.case_metrics(name), headline)
    _write_json(paths.case_report(name), report.reports())
    logger.info("%s: test accuracy %s, auroc %s", name, headline["accuracy"], headline["auroc"])


def _predict_run(run: Run, view: ImageSet, weights: Path, device: str) -> dict[str, pd.DataFrame]:
    """The rows of one run, of whole images and by occlusion of the test images that show lungs.

    Its model is let go before the next one is loaded.
    """
    assert view.lung_masks is not None  # a view has them
    classifier, meta = load_classifier(run_folder(weights, run.name))
    outputs = outputs_of(meta)

    def tabulate(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> pd.DataFrame:
        probabilities = predict_probabilities(classifier, outputs, images, device=device)
        own = replace(run, splits=run.splits[rows])
        return tabulate_run(view.manifest.iloc[rows], own, probabilities, view.info.class_names)

    rows = select_with_lungs(view.lung_masks, run.rows("test"))
    images, lung_masks = view.images[rows], view.lung_masks[rows]
    grey = compute_mean_grey(view.images, run.rows("train"))
    return {WHOLE: tabulate(view.images, np.arange(len(view.images)))} | {
        occlusion: tabulate(occlude(images, lung_masks, occlusion, grey=grey), rows)
        for occlusion in OCCLUSIONS
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(evaluate_case, __doc__, section="cases")
