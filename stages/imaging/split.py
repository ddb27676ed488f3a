"""Who belongs together, and which split each group goes to."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from stages.config.errors import UserError
from stages.imaging.image_set import SPLITS

MAX_FOLDS = 10  # unless a share is smaller than one fold of these


def join_groups(*keys: Sequence[str | None]) -> list[str]:
    """Group ids such that images that share any key share a group.

    Args:
        keys: sequences of equal length, each a reason to belong together (patient, hash of the
            pixels); None joins an image with nobody.

    Returns:
        One id per image: the number of the first image of its group, so that ids do not depend
        on the spelling of the keys.
    """
    parent = list(range(len(keys[0])))

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for key in keys:
        first: dict[str, int] = {}
        for image, value in enumerate(key):
            if value is not None:
                a, b = root(first.setdefault(value, image)), root(image)
                parent[max(a, b)] = min(a, b)
    return [f"g{root(image):06d}" for image in range(len(parent))]


def find_leaks(group_ids: Sequence[str], splits: Sequence[str | None]) -> dict[str, list[str]]:
    """Groups that stand in more than one of the given splits: group id -> its splits."""
    table = pd.DataFrame({"group": group_ids, "split": splits}).dropna()
    per_group = table.groupby("group")["split"].unique()
    return {str(g): sorted(found) for g, found in per_group.items() if len(found) > 1}


def assign_splits(
    labels: Sequence[str],
    group_ids: Sequence[str],
    given: Sequence[str | None],
    shares: Mapping[str, float],
    *,
    seed: int,
) -> list[str]:
    """Split by group, stratified by label; splits that came with the data are kept.

    What came without a split, or a split that the data lack, is drawn from the images without
    one, or else from `train`. Shares are of the images and approximate, since groups stay whole.

    Raises:
        UserError: a split would lack a class.
    """
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
        chosen = _draw(np.array(labels)[pool], np.array(group_ids)[pool], share, seed=seed)
        splits[pool[chosen]] = split
        remaining -= shares[split]
    _require_every_class(labels, list(splits))
    return list(splits)


def _draw(labels: np.ndarray, group_ids: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Positions of about `share` of the images, whole groups, stratified.

    The share is rounded to a fraction m/k, and m of k equal folds are taken.
    """
    groups_per_label = pd.DataFrame({"l": labels, "g": group_ids}).groupby("l")["g"].nunique()
    fewest, needed = groups_per_label.min(), max(2, round(1 / min(share, 1 - share)))
    if fewest < needed:
        raise UserError(
            f"split: class {groups_per_label.idxmin()!r} has {fewest} groups (patients), too few "
            f"to give {share:.0%} of them away; at least {needed} are needed"
        )
    part = Fraction(share).limit_denominator(int(min(fewest, max(needed, MAX_FOLDS))))
    folds = StratifiedGroupKFold(n_splits=part.denominator, shuffle=True, random_state=seed)
    chosen = [fold for _, fold in folds.split(labels, labels, group_ids)][: part.numerator]
    return np.sort(np.concatenate(chosen))


def _require_every_class(labels: Sequence[str], splits: Sequence[str]) -> None:
    counts = pd.crosstab(pd.Series(labels), pd.Series(splits))
    for label in counts.index:
        for split in SPLITS:
            if split not in counts or counts.loc[label, split] == 0:
                raise UserError(
                    f"split: no image of class {label!r} in {split}; more patients, or other "
                    "shares in datasets.<name>.split, are needed"
                )
