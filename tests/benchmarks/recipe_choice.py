"""Which of several cases is right most often on validation images, no test image looked at.

For choosing a recipe, a size or a network before a case is run as a whole. The first trainings of
each case, with mirrored images if its protocol has them; then the cases side by side, paired on the
same images, and their mean, which is what an ensemble of these networks would say.

    python -m tests.benchmarks.recipe_choice train CASE --runs 3 --into choice
    python -m tests.benchmarks.recipe_choice compare choice/CASE.csv choice/OTHER.csv
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.params import Params, Protocol
from stages.config.paths import Paths
from stages.config.progress import progress
from stages.config.writing import write_csv
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.predictions import (
    load_predictions,
    probability_columns,
    tabulate_run,
    with_probabilities,
)
from stages.dataset.runs import Run, plan_runs
from stages.dataset.task import Task
from stages.evaluation.scored import draw_metrics, score_rows
from stages.evaluation.statistics.bootstrap import Draws, compare, estimate
from stages.evaluation.statistics.records import Bootstrap
from stages.modeling.compute import choose_hardware, use_threads
from stages.modeling.fused import fuse
from stages.modeling.predict import predict_probabilities
from stages.modeling.training import Plan, train_run
from stages.reporting.wording import as_text, difference_text, with_interval

FIGURES = ("accuracy", "balanced_accuracy", "log_loss", "auroc")
ONE_ROW = ["fold", "seed", "image_id"]
PROBABILITY = "prob_"


def main() -> None:
    """Train, or print how trained ones compare."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    params = load_params()
    if options.do == "train":
        said = train_and_validate(params, Paths(), options.case, options.runs)
        write_csv(options.into / f"{options.case}.csv", said)
    else:
        bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
        tables = {path.stem: load_predictions(path) for path in options.tables}
        print("\n".join(describe(tables, bootstrap)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    actions = parser.add_subparsers(dest="do", required=True)
    train = actions.add_parser("train")
    train.add_argument("case")
    train.add_argument("--runs", type=int, default=3, help="so many folds, the first seed of each")
    train.add_argument("--into", type=Path, default=Path("choice"))
    side_by_side = actions.add_parser("compare")
    side_by_side.add_argument("tables", nargs="+", type=Path)
    return parser.parse_args()


def train_and_validate(params: Params, paths: Paths, name: str, n_runs: int) -> pd.DataFrame:
    """A row per training and validation image, of the first folds of a case.

    Raises:
        UserError: the protocol of the case leaks, so that validation images are not apart.
    """
    case = params.case(name)
    protocol = params.protocol(case.protocol)
    _require_apart(case.protocol, protocol)
    plan = Plan(case, params.recipe(case.recipe), params.augmentation(case.augment), protocol)
    use_threads(params.compute.threads)
    view = load_image_set(paths.view(case.view))
    runs = plan_runs(
        view.manifest,
        folds=protocol.folds,
        held_out=protocol.held_out,
        grouping=protocol.grouping,
        seeds=protocol.seeds[:1],
        seed=params.seed,
    )[:n_runs]
    said = [
        _validate(plan, view, run, paths.weights(case.weights), params)
        for run in progress(runs, "trainings", len(runs))
    ]
    return pd.concat(said, ignore_index=True)


def _require_apart(name: str, protocol: Protocol) -> None:
    """Where it leaks, validation images are tested on as well, or stand in training as well."""
    if protocol.held_out == "both" or protocol.augmented_copies or protocol.grouping == "none":
        raise UserError(
            f"params.yaml: protocols.{name}: leaks on purpose, and a recipe is not chosen so; "
            "allowed: held_out test or val, grouping group, augmented_copies 0"
        )


def _validate(plan: Plan, view: ImageSet, run: Run, initial: Path, params: Params) -> pd.DataFrame:
    hardware = choose_hardware(params.compute)
    with tempfile.TemporaryDirectory() as scratch:
        trained = train_run(
            plan, view, run, initial=initial, hardware=hardware, scratch=Path(scratch)
        )
    rows = run.rows("val")
    said = predict_probabilities(
        fuse(trained.classifier),
        trained.outputs,
        view.images[rows],
        hardware=hardware,
        mirror=plan.protocol.mirror,
    )
    of_rows = replace(run, splits=run.splits[rows])
    return tabulate_run(view.manifest.iloc[rows], of_rows, said, view.info.class_names)


def describe(tables: dict[str, pd.DataFrame], bootstrap: Bootstrap) -> list[str]:
    """A line per case and one of their mean; behind the first, what each has more than it."""
    names = _class_names(next(iter(tables.values())))
    task = Task(names, len(names) - 1)  # no figure here depends on which class is the positive one
    shown = tables | ({"mean of these": average(list(tables.values()))} if len(tables) > 1 else {})
    drawn = {
        name: draw_metrics(score_rows(table, task), task, bootstrap).only(FIGURES)
        for name, table in shown.items()
    }
    first = next(iter(drawn.values()))
    return [_line(name, draws, first) for name, draws in drawn.items()]


def average(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What models say together of the same images in the same folds, by the mean probability.

    Raises:
        ValueError: the tables are not of the same images.
    """
    first, *others = (table.set_index(ONE_ROW).sort_index() for table in tables)
    names = _class_names(first)
    columns = probability_columns(names)
    if any(not first.index.equals(other.index) for other in others):
        raise ValueError("the tables are of other images or folds; give those of one data set")
    mean = sum((other[columns] for other in others), first[columns]) / len(tables)
    return with_probabilities(first.reset_index(), mean.to_numpy(), names)


def _class_names(table: pd.DataFrame) -> tuple[str, ...]:
    found = (column for column in map(str, table) if column.startswith(PROBABILITY))
    return tuple(column.removeprefix(PROBABILITY) for column in found)


def _line(name: str, draws: Draws, first: Draws) -> str:
    if draws is first:
        said = estimate(draws)
        return f"{name}: " + "; ".join(f"{key} {with_interval(said[key])}" for key in FIGURES)
    paired = compare(draws, first, paired=True)
    return f"{name}: " + "; ".join(
        f"{key} {as_text(paired[key].first.value)}, {difference_text(paired[key].difference)}"
        for key in FIGURES
    )


if __name__ == "__main__":
    main()
