"""Which split each group of images goes to."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.dataset.image_set import SPLITS

Labels = Sequence[str] | NDArray[np.str_]

MAX_FOLDS = 10  # unless a share is smaller than one fold of these


def assign_splits(
    labels: Sequence[str],
    group_ids: Sequence[str],
    given: Sequence[str | None],
    shares: Mapping[str, float],
    *,
    seed: int,
) -> list[str]:
    """Split by group, stratified by label; splits that came with the data are kept.

    What came without a split goes where its group came with one. What still has none, or a split
    that the data lack, is drawn from the images without one, or else from `train`. Shares are of
    the images and approximate, since groups stay whole.

    Raises:
        UserError: a split would lack a class.
    """
    given = follow_groups(group_ids, given)
    splits = np.array([split or "train" for split in given], dtype=object)
    present = {split for split in given if split}
    remaining = 1 - sum(shares[split] for split in present if split != "train")
    for split in ("test", "val"):
        if split in present:
            continue
        pool = np.flatnonzero(splits == "train")
        if not len(pool):
            raise UserError(
                f"split: the data come with {', '.join(sorted(present))} alone, which leaves no "
                f"image for {split} and train; add a train folder, or take the split folders away"
            )
        share = shares[split] / remaining
        chosen = draw_share(
            np.array(labels)[pool], np.array(group_ids)[pool], share, seed=seed, where="split"
        )
        splits[pool[chosen]] = split
        remaining -= shares[split]
    missing = find_missing_class(labels, list(splits))
    if missing:
        raise UserError(
            f"split: no image of class {missing[0]!r} in {missing[1]}; more patients, or other "
            "shares in datasets.<name>.split, are needed"
        )
    return list(splits)


def follow_groups(group_ids: Sequence[str], given: Sequence[str | None]) -> list[str | None]:
    """(n,) given splits or folds; an image without one has the first of its group, if any."""
    first: dict[str, str] = {}
    for group, value in zip(group_ids, given, strict=True):
        if value:
            first.setdefault(group, value)
    return [value or first.get(group) for group, value in zip(group_ids, given, strict=True)]


def draw_share(
    labels: Labels, group_ids: Labels, share: float, *, seed: int, where: str
) -> NDArray[np.int64]:
    """Sorted positions of about `share` of the images, whole groups, stratified by label.

    The share is rounded to a fraction m/k, and m of k equal folds are taken.

    Args:
        labels: (n,) class names.
        group_ids: (n,) who belongs together.
        share: between 0 and 1.
        seed: the same seed, labels and groups give the same draw.
        where: start of the message if that cannot be done.

    Raises:
        UserError: a class has too few groups for that share.
    """
    label, fewest = rarest_class(labels, group_ids)
    needed = max(2, round(1 / min(share, 1 - share)))
    if fewest < needed:
        raise UserError(
            f"{where}: class {label!r} has {fewest} groups (patients), too few "
            f"to give {share:.0%} of them away; at least {needed} are needed"
        )
    part = Fraction(share).limit_denominator(min(fewest, max(needed, MAX_FOLDS)))
    fold_of = deal_folds(labels, group_ids, part.denominator, seed=seed)
    return np.flatnonzero(fold_of < part.numerator).astype(np.int64)


def deal_folds(labels: Labels, group_ids: Labels, folds: int, *, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each image, 0 to `folds` - 1: whole groups, stratified by label.

    Raises:
        UserError: a class has fewer groups than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # 1 s that one-run cases need not wait

    label, fewest = rarest_class(labels, group_ids)
    if fewest < folds:
        raise UserError(
            f"folds: got {folds}, but class {label!r} has {fewest} groups (patients); every fold "
            f"needs one: allowed here is at most {fewest}"
        )
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(labels), np.int64)
    for fold, (_, members) in enumerate(dealer.split(labels, labels, group_ids)):
        fold_of[members] = fold
    return fold_of


def deal_at_random(count: int, folds: int, *, seed: int) -> NDArray[np.int64]:
    """(count,) fold of each image, 0 to `folds` - 1: images one by one, as if all were strangers.

    Neither groups nor labels play a part, as in most publications of the field; folds differ in
    size by one image at the most.
    """
    dealt: NDArray[np.int64] = np.random.default_rng(seed).permutation(np.arange(count) % folds)
    return dealt


def find_cut_groups(group_ids: Labels, splits: Labels) -> list[str]:
    """Groups, sorted, of which not all images stand in the same split.

    Args:
        group_ids: (n,) who belongs together.
        splits: (n,) of each image, once.
    """
    per_group = pd.Series(splits).groupby(np.asarray(group_ids)).nunique()
    return [str(group) for group in per_group.index[per_group > 1]]


def find_missing_class(labels: Sequence[str], splits: Sequence[str]) -> tuple[str, str] | None:
    """The first class without an image in one of the three splits, and that split; else None."""
    found = set(zip(labels, splits, strict=True))
    for label in sorted(set(labels)):
        for split in SPLITS:
            if (label, split) not in found:
                return label, split
    return None


def rarest_class(labels: Labels, group_ids: Labels) -> tuple[str, int]:
    """The class of the fewest groups, and how many these are."""
    groups = pd.DataFrame({"l": labels, "g": group_ids}).groupby("l")["g"].nunique()
    return str(groups.idxmin()), int(groups.min())
