"""Train one case, once or once per fold and seed.

Reads:  data/views/<view>/, data/weights/<initial weights>/
Writes: data/weights/<case>/ (model.safetensors, meta.json; a folder of these per run where there
        are several; runs.csv), plots/history/<case>/
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.dataset.image_set import load_image_set
from stages.dataset.runs import Run, plan_runs, save_runs
from stages.modeling.checkpoint import run_folder, save_model
from stages.modeling.compute import choose_hardware, keep_freed_memory
from stages.modeling.fit import FitResult
from stages.modeling.training import train_run, training_facts

logger = logging.getLogger(__name__)


def train_case(params: Params, name: str, paths: Paths) -> None:
    """Fit every run of one case; write models, splits and learning curves."""
    try:
        _train_runs(params, name, paths)
    except UserError as error:
        raise UserError(f"params.yaml: cases.{name}: {error}") from None


def _train_runs(params: Params, name: str, paths: Paths) -> None:
    keep_freed_memory()
    case = params.case(name)
    view = load_image_set(paths.view(case.view))
    hardware = choose_hardware(params.compute)
    runs = plan_runs(
        view.manifest,
        folds=case.folds,
        held_out=case.held_out,
        seeds=case.seeds,
        seed=params.seed,
    )
    results: list[FitResult] = []
    facts: dict[str, Any] = {}
    for run in runs:
        trained = train_run(
            case,
            params.augmentations[case.augment],
            view,
            run,
            initial=paths.weights(case.weights),
            hardware=hardware,
        )
        folder = run_folder(paths.weights(name), run.name)
        save_model(folder, trained.classifier.state_dict(), trained.meta)
        facts = facts or training_facts(trained, view, run)  # of the first run
        results.append(trained.result)
        logger.info("%s: kept epoch %d", run.name or name, trained.result.kept_epoch)
    save_runs(paths.weights(name), view.manifest["image_id"], runs)
    _save_history(name, runs, results, facts, paths)


def _save_history(
    name: str,
    runs: Sequence[Run],
    results: Sequence[FitResult],
    facts: dict[str, Any],
    paths: Paths,
) -> None:
    paths.history(name).mkdir(parents=True, exist_ok=True)
    for table, path in (
        ("epochs", paths.history_epochs(name)),
        ("steps", paths.history_steps(name)),
    ):
        rows = [
            getattr(result, table).assign(fold=run.fold, seed=run.seed)
            for run, result in zip(runs, results, strict=True)
        ]
        pd.concat(rows).to_csv(path, index=False)
    text = json.dumps(facts, indent=2) + "\n"
    paths.training_facts(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_stage(train_case, __doc__, section="cases")
