from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from stages.config.errors import UserError
from stages.dataset.split import assign_splits, deal_at_random, find_cut_groups

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
Cohort = tuple[list[str], list[str]]


def cohort(patients: dict[str, int], images: int = 2) -> Cohort:
    """Labels and group ids of some patients a class, some images each."""
    rows = [
        (label, f"{label}{patient}")
        for label, count in patients.items()
        for patient in range(count)
        for _ in range(images)
    ]
    labels, groups = zip(*rows, strict=True)
    return list(labels), list(groups)


def drawn(people: Cohort, shares: dict[str, float] | None = None, seed: int = 0) -> list[str]:
    labels, groups = people
    return assign_splits(labels, groups, [None] * len(labels), shares or SHARES, seed=seed)


def with_given(given: Sequence[str | None], people: Cohort) -> list[str]:
    labels, groups = people
    return assign_splits(labels, groups, given, SHARES, seed=0)


def assert_groups_are_whole(group_ids: Sequence[str], splits: Sequence[str]) -> None:
    assert len(set(zip(group_ids, splits, strict=True))) == len(set(group_ids))


@pytest.mark.parametrize("seed", range(20))
def test_no_group_stands_in_two_splits(seed: int) -> None:
    people = cohort({"covid": 13, "normal": 25}, images=3)
    splits = drawn(people, seed=seed)
    assert_groups_are_whole(people[1], splits)
    in_split = Counter(zip(people[0], splits, strict=True))
    assert len(in_split) == 6  # every class in every split


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (0.7, 0.15, 0.15),
        (0.6, 0.2, 0.2),
        (0.8, 0.1, 0.1),
        (0.1, 0.1, 0.8),
        (0.2, 0.2, 0.6),
        (0.55, 0.05, 0.4),
    ],
)
def test_shares_are_near_those_asked(train: float, val: float, test: float) -> None:
    asked = {"train": train, "val": val, "test": test}
    splits = drawn(cohort({"covid": 60, "normal": 120}), asked)
    for split, share in asked.items():
        assert splits.count(split) / len(splits) == pytest.approx(share, abs=0.02)


def test_splits_are_stratified_by_class() -> None:
    people = cohort({"covid": 20, "normal": 80})
    splits = drawn(people)
    for split in SHARES:
        labels = [label for label, got in zip(people[0], splits, strict=True) if got == split]
        assert labels.count("covid") / len(labels) == pytest.approx(0.2, abs=0.03)


def test_the_seed_decides_the_split() -> None:
    people = cohort({"covid": 20, "normal": 20})
    assert drawn(people, seed=1) == drawn(people, seed=1)
    assert drawn(people, seed=1) != drawn(people, seed=2)


def test_given_splits_are_kept() -> None:
    given = ["train", "train", "val", "val", "test", "test"] * 2
    people = cohort({"covid": 3, "normal": 3})
    assert with_given(given, people) == given


def test_a_val_split_that_is_not_given_is_drawn_from_train_alone() -> None:
    people = cohort({"covid": 20, "normal": 20})
    given = (["train"] * 30 + ["test"] * 10) * 2
    splits = with_given(given, people)
    moved = Counter(zip(given, splits, strict=True))
    assert moved["test", "test"] == 20
    # 0.15 of all is 0.15 / 0.85 of what is not test; 1/6 is the fraction nearest to it.
    assert moved["train", "val"] == 10
    assert moved["train", "train"] == 50
    assert set(moved) == {("test", "test"), ("train", "val"), ("train", "train")}
    assert_groups_are_whole(people[1], splits)


def test_too_few_patients_for_a_share_are_refused() -> None:
    said = (
        r"^split: class 'covid' has 6 groups \(patients\), too few to give 15% of them away; "
        r"at least 7 are needed$"
    )
    with pytest.raises(UserError, match=said):
        drawn(cohort({"covid": 6, "normal": 50}))


def test_too_few_patients_for_the_rest_beside_a_large_share_are_refused_too() -> None:
    shares = {"train": 0.1, "val": 0.1, "test": 0.8}
    with pytest.raises(UserError, match=r"too few to give 80% of them away; at least 5 are needed"):
        drawn(cohort({"covid": 4, "normal": 50}), shares)


def test_given_splits_that_lack_a_class_are_refused() -> None:
    given = ["train", "train", "val", "val", "train", "val", "test", "test"]
    with pytest.raises(UserError, match=r"^split: no image of class 'covid' in test; more pat"):
        with_given(given, cohort({"covid": 2, "normal": 2}))


@pytest.mark.parametrize("only", ["val", "test"])
def test_a_given_split_that_leaves_nothing_to_train_on_is_refused(only: str) -> None:
    people = cohort({"covid": 20, "normal": 20})
    with pytest.raises(UserError, match=rf"^split: the data come with {only} alone, which leaves"):
        with_given([only] * 80, people)


def test_an_image_without_a_given_split_goes_where_its_group_came() -> None:
    labels = ["a", "b"] * 6
    groups = [f"g{number}" for number in range(10)] + ["g0", "g4"]
    given: list[str | None] = ["test", "test", "val", "val", *["train"] * 6, None, None]
    splits = assign_splits(labels, groups, given, SHARES, seed=0)
    assert splits[-2:] == ["test", "train"]


def test_images_dealt_at_random_are_spread_evenly_over_the_folds() -> None:
    fold_of = deal_at_random(11, 3, seed=0)
    assert sorted(np.bincount(fold_of)) == [3, 4, 4]
    assert fold_of.tolist() == deal_at_random(11, 3, seed=0).tolist()
    assert fold_of.tolist() != deal_at_random(11, 3, seed=1).tolist()


def test_cut_groups_are_those_in_two_splits() -> None:
    groups = ["a", "b", "b", "c", "c"]
    assert find_cut_groups(groups, ["train", "train", "test", "val", "val"]) == ["b"]
