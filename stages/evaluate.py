"""Score one case on its train, validation and test images, each run and all together.

Reads:  data/views/<view>/, data/weights/<case>/
Writes: data/predictions/<case>.csv, metrics/cases/<case>.json, metrics/reports/<case>.json
"""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.case_report import CaseReport
from stages.evaluation.predict import predict_probabilities
from stages.evaluation.prediction_table import average_test_rows, tabulate_run
from stages.imaging.image_set import ImageSet, load_image_set
from stages.imaging.runs import Run, load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.compute import choose_hardware, keep_freed_memory

logger = logging.getLogger(__name__)


def evaluate_case(params: Params, name: str, paths: Paths) -> None:
    """Write predictions, headline figures and reports of one case."""
    keep_freed_memory()
    case = params.case(name)
    view = load_image_set(paths.view(case.view))
    device = choose_hardware(params.compute).device
    weights = paths.weights(name)
    runs = load_runs(weights, view.manifest["image_id"])
    run_table = pd.concat(
        [_predict_run(run, view, weights, device) for run in runs], ignore_index=True
    )
    table = average_test_rows(run_table, view.info.class_names) if case.ensemble else run_table
    paths.predictions(name).parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(paths.predictions(name), index=False)
    report = CaseReport(
        table, run_table, view.info, draws=params.evaluate.bootstrap_draws, seed=params.seed
    )
    headline = report.headline()
    _write_json(paths.case_metrics(name), headline)
    _write_json(paths.case_report(name), report.reports())
    logger.info("%s: test accuracy %s, auroc %s", name, headline["accuracy"], headline["auroc"])


def _predict_run(run: Run, view: ImageSet, weights: Path, device: str) -> pd.DataFrame:
    """The rows of one run; its model is let go before the next one is loaded."""
    classifier, meta = load_classifier(run_folder(weights, run.name))
    probabilities = predict_probabilities(classifier, outputs_of(meta), view.images, device=device)
    return tabulate_run(view.manifest, run, probabilities, view.info.class_names)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(evaluate_case, __doc__, section="cases")
