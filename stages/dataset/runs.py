"""The trainings of one case: which fold is held out, with which seed, and who is in which split.

runs.csv    image_id, sha256 of the image's file, and one column of splits per run, named
            fold<fold>-seed<seed>
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.writing import write_csv
from stages.dataset.split import deal_folds, draw_share, find_missing_class, follow_groups

logger = logging.getLogger(__name__)

RUNS_FILE = "runs.csv"
IMAGE_COLUMNS = ["image_id", "sha256"]
TEXT = "<U5"  # holds train; NumPy cuts longer text without a word
DIGITS = re.compile(r"(\d+)")
COLUMN = re.compile(r"fold(\d+)-seed(\d+)")


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Run:
    """One training of a case.

    Attributes:
        name: "" for the only run of a case, else `fold<fold>-seed<seed>`; names its folder.
        fold: counts from 1; 1 where the splits of the data set are used.
        seed: of the training.
        splits: (N,) train, val or test, in the row order of the view.
    """

    name: str
    fold: int
    seed: int
    splits: NDArray[np.str_]

    def rows(self, split: str) -> NDArray[np.int64]:
        """(n,) row numbers of a split, rising."""
        return np.flatnonzero(self.splits == split).astype(np.int64)


def plan_runs(
    manifest: pd.DataFrame,
    *,
    folds: int | Literal["given"],
    held_out: Literal["test", "val"],
    seeds: Sequence[int],
    seed: int,
) -> list[Run]:
    """Every run of a case, by fold and then by seed.

    One fold takes the splits of the data set. More are dealt by group, stratified by label, or
    given: numbered in the order of their names. With `held_out` test, fold i is what run i is
    tested on, and val is drawn from the rest. With val, the test images of the data set stay, and
    fold i is what run i is validated on. What has no given fold is trained on in every run.

    Args:
        manifest: table of N images with the columns label, group_id and split; for given folds,
            also given_split and given_fold.
        folds: at least 1, or `given`.
        held_out: what a fold is to the model that is not trained on it.
        seeds: of the trainings; at least one.
        seed: of the deal into folds, so that all cases with as many folds have the same ones.

    Raises:
        UserError: a class has too few groups for these folds, or no folds are given.
    """
    if folds == 1:
        per_fold = [manifest["split"].to_numpy(str)]
    elif held_out == "test":
        per_fold = _hold_out_test(manifest, folds, seed)
    else:
        per_fold = _hold_out_val(manifest, folds, seed)
    return _named(
        (number, training_seed, splits)
        for number, splits in enumerate(per_fold, start=1)
        for training_seed in seeds
    )


def column_name(fold: int, seed: int) -> str:
    """What a run is called where it is one of several, and always in runs.csv."""
    return f"fold{fold}-seed{seed}"


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
        """The runs, whose splits are those of the rows of this manifest.

        Raises:
            UserError: it is of other images, or of the same in another order: the splits of a
                run would then fall on the wrong images.
        """
        if manifest[IMAGE_COLUMNS].to_numpy().tolist() != self.images.to_numpy().tolist():
            raise UserError(
                f"{self.path}: its {len(self.images)} images are not the {len(manifest)} of the "
                "view, row by row; the case was trained on another version of the view, run: "
                "dvc repro"
            )
        return self.runs


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


def _hold_out_test(
    manifest: pd.DataFrame, folds: int | Literal["given"], seed: int
) -> list[NDArray[np.str_]]:
    """Per fold, the splits in which it is test; val has its share among the train and val."""
    labels, groups, given = (manifest[c].to_numpy(str) for c in ("label", "group_id", "split"))
    val_share = float(np.mean(given[given != "test"] == "val"))
    if folds == "given":
        fold_of = _given_folds(manifest, np.full(len(manifest), True))
        _require_no_given_test(manifest, fold_of)
    else:
        fold_of = deal_folds(labels, groups, folds, seed=seed)
    per_fold = []
    for fold in range(fold_of.max() + 1):
        splits = np.where(fold_of == fold, "test", "train").astype(TEXT)
        rest = np.flatnonzero(fold_of != fold)
        where = f"folds: got {folds}; val of fold {fold + 1}"
        chosen = draw_share(labels[rest], groups[rest], val_share, seed=seed, where=where)
        splits[rest[chosen]] = "val"
        per_fold.append(_complete(labels, splits, fold, folds))
    return per_fold


def _hold_out_val(
    manifest: pd.DataFrame, folds: int | Literal["given"], seed: int
) -> list[NDArray[np.str_]]:
    """Per fold, the splits in which it is val; the test images of the data set stay."""
    labels, groups, given = (manifest[c].to_numpy(str) for c in ("label", "group_id", "split"))
    dealt = np.flatnonzero(given != "test")
    if folds == "given":
        fold_of = _given_folds(manifest, given != "test")[dealt]
    else:
        fold_of = deal_folds(labels[dealt], groups[dealt], folds, seed=seed)
    per_fold = []
    for fold in range(fold_of.max() + 1):
        splits = given.astype(TEXT)
        splits[dealt] = np.where(fold_of == fold, "val", "train")
        per_fold.append(_complete(labels, splits, fold, folds))
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


def _require_no_given_test(manifest: pd.DataFrame, fold_of: NDArray[np.int64]) -> None:
    """Refuse to train on the test images of the data, to which their authors gave no fold."""
    n_test = int(((manifest["given_split"] == "test") & (fold_of < 0)).sum())
    if n_test:
        raise UserError(
            f"folds: got given with held_out test, but {n_test} images that came as test have no "
            "fold and would be trained on; set held_out: val, which keeps them for test"
        )


def _complete(
    labels: NDArray[np.str_],
    splits: NDArray[np.str_],
    fold: int,
    folds: int | Literal["given"],
) -> NDArray[np.str_]:
    """The same splits, once each of them has every class; groups of several classes can miss."""
    missing = find_missing_class(labels.tolist(), splits.tolist())
    if missing:
        raise UserError(
            f"folds: got {folds}; fold {fold + 1} leaves no image of class {missing[0]!r} in "
            f"{missing[1]}; give fewer folds, or more patients"
        )
    return splits
