"""Train one case, once or once per fold and seed; say what its models make of its view.

The test images are predicted a second and a third time, without their lungs and with nothing else.

Reads:  data/views/<view>/, data/weights/<initial weights>/
Writes: data/weights/<case>/ (model.safetensors, meta.json, familiar.safetensors; a folder of these
        per run where there are several; runs.csv), plots/history/<case>/,
        data/predictions/<case>.csv, data/predictions/<case>/ (whole.csv, runs.csv,
        lungs_hidden.csv, lungs_only.csv, dataset.json; of the view manifest.csv and, where there
        is one, fingerprints.bin)
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.progress import progress
from stages.config.writing import write_csv, write_json
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.known_pictures import hand_on_pictures
from stages.dataset.occlusion import OCCLUSIONS
from stages.dataset.predictions import WHOLE, CaseTables, save_tables
from stages.dataset.runs import Run, plan_runs, save_runs
from stages.dataset.split import find_cut_groups
from stages.modeling.augment import Augmenter
from stages.modeling.checkpoint import run_folder, save_model
from stages.modeling.compute import Hardware, choose_hardware, keep_freed_memory, use_threads
from stages.modeling.convergence import naming_recipe
from stages.modeling.copies import with_copies
from stages.modeling.distributed import Team
from stages.modeling.familiar import Looked, learn_familiar
from stages.modeling.fit import FitResult
from stages.modeling.launch import launch, noticing_lost_processes, process_rank
from stages.modeling.memory import advising_on_memory
from stages.modeling.penultimate import Penultimate
from stages.modeling.predict import combine_runs, predict_run
from stages.modeling.training import Plan, TrainedRun, train_run, training_facts

logger = logging.getLogger(__name__)


class _Finished(NamedTuple):
    """What is left of a run once its model is on disk."""

    result: FitResult
    facts: dict[str, Any]
    predictions: dict[str, pd.DataFrame]


def rank_of_case(params: Params, name: str) -> int:
    """The number of this process among those that share the training of a case."""
    return process_rank(params.recipe(params.case(name).recipe))


def train_case(params: Params, name: str, paths: Paths) -> None:
    """Fit every run of one case; write models, splits, learning curves and predictions.

    Of several processes each fits its share; what comes after that, and every file, is the first
    one's.
    """
    keep_freed_memory()
    try:
        _train_runs(params, name, paths)
    except UserError as error:
        raise UserError(f"params.yaml: cases.{name}: {error}") from None


def _train_runs(params: Params, name: str, paths: Paths) -> None:
    case = params.case(name)
    protocol = params.protocol(case.protocol)
    plan = Plan(case, params.recipe(case.recipe), params.augmentation(case.augment), protocol)
    hardware = choose_hardware(params.compute)
    with naming_recipe(case.recipe):
        team = Team(launch(plan.recipe, hardware, name))
    use_threads(params.compute.threads)  # now: Fabric has shared the cores out
    augment = Augmenter(plan.augmentation, torch.Generator().manual_seed(params.seed))
    view = load_image_set(paths.view(case.view))
    view = with_copies(view, protocol.augmented_copies, augment)
    runs = plan_runs(
        view.manifest,
        folds=protocol.folds,
        held_out=protocol.held_out,
        grouping=protocol.grouping,
        seeds=protocol.seeds,
        seed=params.seed,
    )
    _log_cut_groups(view, runs)
    trained = [
        _train(plan, view, run, name, paths, hardware, team)
        for run in progress(runs, "trainings", len(runs))
    ]
    finished = [done for done in trained if done]  # all, or those of another process
    if finished:
        _save(plan, view, runs, finished, name, paths)


def _save(
    plan: Plan,
    view: ImageSet,
    runs: Sequence[Run],
    finished: Sequence[_Finished],
    name: str,
    paths: Paths,
) -> None:
    """All that is of no single run; then a killed stage has nothing to go on from any more."""
    save_runs(paths.weights(name), view.manifest, runs)
    _save_history(name, runs, finished, paths)
    _save_predictions(name, view, finished, plan.protocol.ensemble, paths)
    hand_on_pictures(paths.view(plan.case.view), paths.case_predictions(name))
    shutil.rmtree(paths.scratch(f"train-{name}"), ignore_errors=True)


def _log_cut_groups(view: ImageSet, runs: Sequence[Run]) -> None:
    """Say how much the models will have seen of whom they are tested on; it stops nothing."""
    groups = view.manifest["group_id"].to_numpy(str)
    cut = {group for run in runs for group in find_cut_groups(groups, run.splits)}
    if cut:
        logger.warning("%d of %d groups stand in two splits", len(cut), len(set(groups)))


def _train(
    plan: Plan,
    view: ImageSet,
    run: Run,
    name: str,
    paths: Paths,
    hardware: Hardware,
    team: Team,
) -> _Finished | None:
    """Train, save and predict; the model is let go before that of the next run is built.

    None comes of a process that is not the first.
    """
    size_px = int(view.images.shape[1])
    with noticing_lost_processes(), advising_on_memory(plan.recipe.batch_size, size_px):
        trained = train_run(
            plan,
            view,
            run,
            initial=paths.weights(plan.case.weights),
            hardware=hardware,
            scratch=paths.scratch(f"train-{name}") / (run.name or "run"),
            team=team,
        )
        if not team.is_first:
            return None
        folder = run_folder(paths.weights(name), run.name)
        finished = _finish(trained, plan, view, run, folder, hardware)
    logger.info("%s: kept epoch %d", run.name or name, trained.result.kept_epoch)
    return finished


def _finish(
    trained: TrainedRun,
    plan: Plan,
    view: ImageSet,
    run: Run,
    folder: Path,
    hardware: Hardware,
) -> _Finished:
    save_model(folder, trained.classifier.state_dict(), trained.meta)
    looked = Looked.of(run)
    penultimate = Penultimate(looked.mask(len(view.images)))
    said = predict_run(
        trained.classifier,
        trained.outputs,
        view,
        run,
        hardware=hardware,
        mirror=plan.protocol.mirror,
        penultimate=penultimate,
    )
    learn_familiar(view, looked, penultimate.values).save(folder)
    return _Finished(trained.result, training_facts(trained, view, run), said)


def _save_history(
    name: str, runs: Sequence[Run], finished: Sequence[_Finished], paths: Paths
) -> None:
    for table, path in (
        ("epochs", paths.history_epochs(name)),
        ("steps", paths.history_steps(name)),
    ):
        rows = [
            getattr(done.result, table).assign(fold=run.fold, seed=run.seed)
            for run, done in zip(runs, finished, strict=True)
        ]
        write_csv(path, pd.concat(rows))
    facts = [done.facts for done in finished]
    write_json(paths.training_facts(name), facts[0] | {"flop_of_all_runs": _add_flop(facts)})


def _add_flop(facts: Sequence[dict[str, Any]]) -> int | None:
    """Floating-point operations of all trainings; None where they could not be counted."""
    counts = [of_run["flop"]["training"] for of_run in facts]
    return None if None in counts else sum(counts)


def _save_predictions(
    name: str, view: ImageSet, finished: Sequence[_Finished], ensemble: bool, paths: Paths
) -> None:
    """All in one folder, with what the data set is; what the case says stands beside it too."""
    of_runs = {
        shown: pd.concat([done.predictions[shown] for done in finished], ignore_index=True)
        for shown in (WHOLE, *OCCLUSIONS)
    }
    of_case = {
        shown: combine_runs(rows, view.info.class_names, ensemble=ensemble)
        for shown, rows in of_runs.items()
    }
    whole, folder = of_case.pop(WHOLE), paths.case_predictions(name)
    save_tables(folder, CaseTables(whole, of_runs[WHOLE], of_case))
    view.info.save(folder)
    write_csv(paths.predictions(name), whole)


if __name__ == "__main__":
    run_stage(train_case, __doc__, section="cases", rank_of=rank_of_case)
