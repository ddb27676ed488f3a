"""The trainings of one case: which fold is held out, with which seed, and who is in which split.

runs.csv    image_id, sha256 of the image's file, and one column of splits per run, named
            fold<fold>-seed<seed>; `both` is validated on and tested on
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.writing import write_csv
from stages.dataset.image_set import SPLITS
from stages.dataset.split import (
    deal_at_random,
    deal_folds,
    draw_share,
    find_missing_class,
    follow_groups,
)

logger = logging.getLogger(__name__)

RUNS_FILE = "runs.csv"
IMAGE_COLUMNS = ["image_id", "sha256"]
TEXT = "<U5"  # holds train; NumPy cuts longer text without a word
BOTH = "both"  # val and test at once
DIGITS = re.compile(r"(\d+)")
COPY = re.compile(r"\+copy\d+$")  # an id of the manifest ends in a hash
COLUMN = re.compile(r"fold(\d+)-seed(\d+)")

Folds = int | Literal["given"]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Run:
    """One training of a case.

    Attributes:
        name: "" for the only run of a case, else `fold<fold>-seed<seed>`; names its folder.
        fold: counts from 1; 1 where the splits of the data set are used.
        seed: of the training.
        splits: (N,) train, val, test or both, in the row order of the view.
    """

    name: str
    fold: int
    seed: int
    splits: NDArray[np.str_]

    def rows(self, split: str) -> NDArray[np.int64]:
        """(n,) row numbers of train, val or test, rising; what is both is in the last two."""
        return np.flatnonzero(_stands_in(self.splits, split)).astype(np.int64)


def plan_runs(
    manifest: pd.DataFrame,
    *,
    folds: Folds,
    held_out: Literal["test", "val", "both"],
    grouping: Literal["group", "none"],
    seeds: Sequence[int],
    seed: int,
) -> list[Run]:
    """Every run of a case, by fold and then by seed.

    One fold takes the splits of the data set. More are dealt by group, stratified by label, or
    given: numbered in the order of their names. With `held_out` test, fold i is what run i is
    tested on, and val is drawn from the rest. With val, the test images of the data set stay, and
    fold i is what run i is validated on. With both it is both, and all the rest trains; of one
    fold these are the test images. What has no given fold is trained on in every run.

    Without grouping the images are dealt one by one at random instead, not stratified either, into
    folds or, where there is one, into as many for each split as the data set has.

    Args:
        manifest: table of N images with the columns label, group_id and split; for given folds,
            also given_split and given_fold.
        folds: at least 1, or `given`.
        held_out: what a fold is to the model that is not trained on it.
        grouping: whether who belongs together stays together.
        seeds: of the trainings; at least one.
        seed: of the deal into folds, so that all cases with as many folds have the same ones.

    Raises:
        UserError: a class has too few groups for these folds, or no folds are given.
    """
    deal = _Deal(manifest, folds, held_out, grouping, seed)
    if folds == 1:
        per_fold = [_split_once(deal)]
    elif held_out == "val":
        per_fold = _hold_out_val(deal)
    else:
        per_fold = _hold_out_test(deal)
    return _named(
        (number, training_seed, splits)
        for number, splits in enumerate(per_fold, start=1)
        for training_seed in seeds
    )


def _stands_in(splits: NDArray[np.str_], split: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(splits, [split] if split == "train" else [split, BOTH])
    return found


def column_name(fold: int, seed: int) -> str:
    """What a run is called where it is one of several, and always in runs.csv."""
    return f"fold{fold}-seed{seed}"


def copy_id(image_ids: "pd.Series[str]", number: int) -> "pd.Series[str]":
    """What a copy of each image is called in runs.csv and in predictions; counts from 1."""
    return image_ids + f"+copy{number}"


class RunTable(NamedTuple):
    """What runs.csv says.

    Attributes:
        images: (N,) image_id and sha256 of what a case was trained, validated and tested on.
        runs: in the order of `plan_runs`.
        path: of the file, for messages.
    """

    images: pd.DataFrame
    runs: list[Run]
    path: Path

    def on(self, manifest: pd.DataFrame) -> list[Run]:
        """The runs, whose splits are those of the rows of this manifest; copies are left out.

        Raises:
            UserError: it is of other images, or of the same in another order: the splits of a
                run would then fall on the wrong images.
        """
        is_own = ~self.images["image_id"].str.contains(COPY)
        images = self.images[is_own]
        if manifest[IMAGE_COLUMNS].to_numpy().tolist() != images.to_numpy().tolist():
            raise UserError(
                f"{self.path}: its {len(images)} images are not the {len(manifest)} of the "
                "view, row by row; the case was trained on another version of the view, run: "
                "dvc repro"
            )
        return [replace(run, splits=run.splits[is_own.to_numpy()]) for run in self.runs]


def save_runs(folder: Path, manifest: pd.DataFrame, runs: Sequence[Run]) -> None:
    """Write runs.csv of runs on the rows of a manifest."""
    columns = {column_name(run.fold, run.seed): run.splits for run in runs}
    write_csv(folder / RUNS_FILE, manifest[IMAGE_COLUMNS].assign(**columns))


def load_runs(folder: Path) -> RunTable:
    """Read runs.csv.

    Raises:
        UserError: a column names no run.
    """
    path = folder / RUNS_FILE
    table = read_csv(path, str)
    entries = []
    for column in table.columns.drop(IMAGE_COLUMNS):
        match = COLUMN.fullmatch(column)
        if not match:
            raise UserError(f"{path}: got column {column!r}; allowed: fold<number>-seed<number>")
        entries.append((int(match[1]), int(match[2]), table[column].to_numpy(str)))
    return RunTable(table[IMAGE_COLUMNS], _named(entries), path)


def _named(entries: Iterable[tuple[int, int, NDArray[np.str_]]]) -> list[Run]:
    """Runs of (fold, seed, splits); the only run of a case has no name."""
    listed = list(entries)
    return [
        Run(column_name(fold, seed) if len(listed) > 1 else "", fold, seed, splits)
        for fold, seed, splits in listed
    ]


class _Deal(NamedTuple):
    """What is dealt, and how; see `plan_runs`."""

    manifest: pd.DataFrame
    folds: Folds
    held_out: str
    grouping: str
    seed: int

    def column(self, name: str) -> NDArray[np.str_]:
        """(N,) of the manifest."""
        return self.manifest[name].to_numpy(str)

    def into_folds(self, rows: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
        """(n,) fold of some rows, from 0."""
        if self.grouping == "none":
            return deal_at_random(len(rows), folds, seed=self.seed)
        labels, groups = self.column("label")[rows], self.column("group_id")[rows]
        return deal_folds(labels, groups, folds, seed=self.seed)

    def val_among(self, rows: NDArray[np.int64], share: float, where: str) -> NDArray[np.int64]:
        """About `share` of some rows."""
        if self.grouping == "none":
            shuffled = np.random.default_rng(self.seed).permutation(rows)
            return shuffled[: round(share * len(rows))]
        labels, groups = self.column("label")[rows], self.column("group_id")[rows]
        return rows[draw_share(labels, groups, share, seed=self.seed, where=where)]


def _split_once(deal: _Deal) -> NDArray[np.str_]:
    """The splits of the data set, or as many images for each of them at random."""
    splits = deal.column("split").astype(TEXT)
    if deal.grouping == "none":
        dealt = np.flatnonzero((splits != "test") | (deal.held_out != "val"))
        splits[dealt] = np.random.default_rng(deal.seed).permutation(splits[dealt])
        _complete(deal, splits, 1)
    if deal.held_out == "both":
        splits = np.where(splits == "test", BOTH, "train").astype(TEXT)
    return splits


def _hold_out_test(deal: _Deal) -> list[NDArray[np.str_]]:
    """Per fold, the splits in which it is test, or both; val has its share among train and val."""
    given, rows = deal.column("split"), np.arange(len(deal.manifest))
    val_share = float(np.mean(given[given != "test"] == "val"))
    if deal.folds == "given":
        fold_of = _given_folds(deal.manifest, np.full(len(rows), True))
        _require_no_given_test(deal, fold_of)
    else:
        fold_of = deal.into_folds(rows, deal.folds)
    per_fold = []
    for fold in range(fold_of.max() + 1):
        held_out = BOTH if deal.held_out == "both" else "test"
        splits = np.where(fold_of == fold, held_out, "train").astype(TEXT)
        if held_out == "test":
            where = f"folds: got {deal.folds}; val of fold {fold + 1}"
            splits[deal.val_among(np.flatnonzero(fold_of != fold), val_share, where)] = "val"
        per_fold.append(_complete(deal, splits, fold + 1))
    return per_fold


def _hold_out_val(deal: _Deal) -> list[NDArray[np.str_]]:
    """Per fold, the splits in which it is val; the test images of the data set stay."""
    given = deal.column("split")
    dealt = np.flatnonzero(given != "test")
    if deal.folds == "given":
        fold_of = _given_folds(deal.manifest, given != "test")[dealt]
    else:
        fold_of = deal.into_folds(dealt, deal.folds)
    per_fold = []
    for fold in range(fold_of.max() + 1):
        splits = given.astype(TEXT)
        splits[dealt] = np.where(fold_of == fold, "val", "train")
        per_fold.append(_complete(deal, splits, fold + 1))
    return per_fold


def _given_folds(manifest: pd.DataFrame, used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) number of the given fold of each image in use, from 0 in the order of names; else -1."""
    given = manifest["given_fold"].where(used, "").tolist()
    followed = pd.Series(follow_groups(manifest["group_id"].tolist(), given)).where(used, None)
    names = sorted(set(followed.dropna()), key=_by_number)
    if len(names) < 2:
        got = f"{len(names)} ({', '.join(names)})" if names else "none"
        raise UserError(
            f"folds: got given, but the data come with {got}; allowed: a data set whose table has "
            "two folds or more (table.fold), or a number of folds"
        )
    n_without = int((followed.isna() & used).sum())
    logger.info("given folds, numbered from 1: %s", ", ".join(names))
    if n_without:
        logger.warning("%d images without a fold are trained on in every run", n_without)
    number = {name: place for place, name in enumerate(names)}
    return followed.map(number).fillna(-1).to_numpy(np.int64)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts `fold 10` behind `fold 9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in DIGITS.split(name)]


def _require_no_given_test(deal: _Deal, fold_of: NDArray[np.int64]) -> None:
    """Refuse to train on the test images of the data, to which their authors gave no fold."""
    n_test = int(((deal.manifest["given_split"] == "test") & (fold_of < 0)).sum())
    if n_test:
        raise UserError(
            f"folds: got given with held_out {deal.held_out}, but {n_test} images that came as "
            "test have no fold and would be trained on; set held_out: val, which keeps them for "
            "test"
        )


def _complete(deal: _Deal, splits: NDArray[np.str_], number: int) -> NDArray[np.str_]:
    """The same splits, once each of them has every class; groups of several classes can miss."""
    labels = deal.column("label")
    standing = {split: labels[_stands_in(splits, split)] for split in SPLITS}
    missing = find_missing_class(
        np.concatenate([*standing.values()]).tolist(),
        [split for split, found in standing.items() for _ in found],
    )
    if not missing:
        return splits
    more = "more patients" if deal.grouping == "group" else "grouping: group, or more images"
    raise UserError(
        f"folds: got {deal.folds}; fold {number} leaves no image of class {missing[0]!r} in "
        f"{missing[1]}; give {'' if deal.folds == 1 else 'fewer folds, or '}{more}"
    )
