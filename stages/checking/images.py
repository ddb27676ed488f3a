"""Sources that are missing, and images too few for what is asked of them."""

import logging
from collections.abc import Iterator, Sequence

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import Case, FilesTruth, Params, Protocol
from stages.config.paths import Paths
from stages.dataset.runs import plan_runs
from stages.dataset.split import assign_splits, rarest_class
from stages.downloads.receipt import awaited
from stages.sources.listing import Listing, open_source, require_source
from stages.sources.table import require_matched
from stages.sources.truth_files import find_truth, require_truth_matched

logger = logging.getLogger(__name__)

# Groups of the rarest class per split or fold, from which on each of them surely has some.
AMPLE = 5
UNEVEN = 1.2  # what a split may have over the share that it is to get


def find_image_problems(params: Params, paths: Paths) -> Iterator[str]:
    """Sources that are missing, and images too few for the splits and folds asked for.

    An archive is only unpacked by `prepare`; here it must exist. What is still to be downloaded
    is looked at by `prepare` too.
    """
    for name, dataset in params.datasets.items():
        given = (dataset.source.path, dataset.truth.path)
        if waiting := awaited(params, paths, *given):
            _say_awaited(f"datasets.{name}", waiting)
            continue
        try:
            if dataset.source.kind == "archive":
                require_source(dataset)
                if isinstance(dataset.truth, FilesTruth):
                    find_truth([], dataset.truth)  # what fits which image is not known yet
                continue
            with open_source(dataset, seed=params.seed, scratch=paths.scratch("check")) as listing:
                if listing.reconciliation is not None:
                    require_matched(listing.reconciliation, dataset.max_unmatched, listed_in="")
                if isinstance(dataset.truth, FilesTruth):
                    lines = find_truth(listing.items, dataset.truth).lines
                    require_truth_matched(lines, dataset.truth.max_unmatched, listed_in="")
                files = _tabulate(listing)
        except UserError as error:
            yield f"datasets.{name}: {error}"
        else:
            yield from _split_problems(params, name, files)
            yield from _audit_problems(params, name, files)
            yield from _batch_problems(params, name, files)


def _say_awaited(where: str, waiting: Sequence[str]) -> None:
    stages = ", ".join(f"fetch@{name}" for name in waiting)
    logger.info("%s: looked at once %s has downloaded it", where, stages)


def _tabulate(listing: Listing) -> pd.DataFrame:
    """Label, group_id, given split and fold of each file, as far as they are known unread.

    `prepare` will also join pictures that look the same and leave out what it cannot read, so a
    class has this many groups at the most.
    """
    rows = [
        (i.label, i.patient_id or i.volume or i.source_path, i.split, i.fold) for i in listing.items
    ]
    return pd.DataFrame(rows, columns=["label", "group_id", "given_split", "given_fold"])


def _cases_on(params: Params, dataset: str) -> dict[str, Case]:
    cases = params.cases.items()
    return {name: case for name, case in cases if params.view(case.view).dataset == dataset}


def _split_problems(params: Params, name: str, files: pd.DataFrame) -> Iterator[str]:
    """What `prepare` and `train` would say of these splits and folds, where a class is small."""
    dataset, cases = params.dataset(name), _cases_on(params, name)
    protocols = {case.protocol: params.protocol(case.protocol) for case in cases.values()}
    shares = dataset.split.model_dump()
    folds = [_count_folds(protocol, files) for protocol in protocols.values()]
    parts = max(1 / min(shares.values()), *folds, 1)
    labels, groups = files["label"].to_numpy(str), files["group_id"].to_numpy(str)
    is_given = any(protocol.folds == "given" for protocol in protocols.values())
    if rarest_class(labels, groups)[1] >= AMPLE * parts and not is_given:
        return
    try:
        given = [split if isinstance(split, str) else None for split in files["given_split"]]
        splits = assign_splits(list(labels), list(groups), given, shares, seed=params.seed)
    except UserError as error:
        yield f"datasets.{name}: {error}"
        return
    for protocol_name, protocol in protocols.items():
        try:
            plan_runs(
                files.assign(split=splits),
                folds=protocol.folds,
                held_out=protocol.held_out,
                grouping=protocol.grouping,
                seeds=protocol.seeds,
                seed=params.seed,
            )
        except UserError as error:
            asked = ", ".join(n for n, case in cases.items() if case.protocol == protocol_name)
            yield f"protocols.{protocol_name}.{error} (datasets.{name}; for cases: {asked})"


def _audit_problems(params: Params, dataset: str, files: pd.DataFrame) -> Iterator[str]:
    """Every view is audited, and every fold of an audit needs a group of every class."""
    folds = params.audit.folds
    label, fewest = rarest_class(files["label"].to_numpy(str), files["group_id"].to_numpy(str))
    if fewest < folds and any(view.dataset == dataset for view in params.views.values()):
        allowed = f"2 to {fewest}" if fewest > 1 else "none; the class needs at least 2"
        yield (
            f"audit.folds: got {folds}, but class {label!r} of datasets.{dataset} has {fewest} "
            f"groups (patients); allowed here: {allowed}"
        )


def _batch_problems(params: Params, dataset: str, files: pd.DataFrame) -> Iterator[str]:
    """Batches that the images to train on do not fill, and schedules that need more of them."""
    from stages.modeling.optimizer import require_enough_steps  # torch

    for name, case in _cases_on(params, dataset).items():
        recipe = params.recipe(case.recipe)
        copies = params.protocol(case.protocol).augmented_copies
        images = round(_train_share(params, case, files) * len(files) * (1 + copies))
        # Groups stay together, so that a split is not of the very size asked for.
        most_steps = recipe.epochs * max(1, round(images * UNEVEN) // recipe.batch_size)
        if recipe.batch_size > images:
            yield (
                f"recipes.{case.recipe}.batch_size: got {recipe.batch_size}, but cases.{name} has "
                f"about {images} images of datasets.{dataset} to train on; allowed: no more than "
                "these"
            )
            continue
        try:
            require_enough_steps(recipe, most_steps)
        except UserError as error:
            yield f"recipes.{case.recipe}.{error} (cases.{name})"


def _train_share(params: Params, case: Case, files: pd.DataFrame) -> float:
    """About which share of the images a run trains on."""
    shares = params.dataset(params.view(case.view).dataset).split
    protocol = params.protocol(case.protocol)
    folds = _count_folds(protocol, files)
    if folds > 1:
        apart = {"test": shares.val / (shares.train + shares.val), "val": shares.test, "both": 0.0}
        return (1 - 1 / folds) * (1 - apart[protocol.held_out])
    # Splits that did not come with the images are drawn from those that are neither val nor test.
    given = files["given_split"]
    drawn = sum(getattr(shares, split) for split in ("val", "test") if not (given == split).any())
    rest = 1 - float(given.isin(["val", "test"]).mean())
    if protocol.held_out == "both":
        return 1 - (float((given == "test").mean()) or shares.test)
    return rest * shares.train / (shares.train + drawn)


def _count_folds(protocol: Protocol, files: pd.DataFrame) -> int:
    return files["given_fold"].nunique() if protocol.folds == "given" else protocol.folds
