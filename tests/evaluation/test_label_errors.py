"""Labels that may be wrong, by out-of-fold probabilities."""

import warnings

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues

from stages.dataset.predictions import tabulate_run
from stages.dataset.runs import BOTH, Run
from stages.dataset.task import Task
from stages.evaluation.label_errors import (
    judge_out_of_fold,
    look_at_labels,
    look_at_labels_of_case,
)

TWO, THREE = Task(("normal", "covid"), 1), Task(("normal", "pneumonia", "covid"), 2)


def judged(rows: list[tuple[str, list[float]]], task: Task = TWO) -> pd.DataFrame:
    """A row per (label, probabilities in the order of the classes)."""
    columns = [f"prob_{name}" for name in task.class_names]
    table = pd.DataFrame([share for _, share in rows], columns=columns, dtype=float)
    ids = [f"i{number}" for number in range(len(rows))]
    return table.assign(image_id=ids, label=[label for label, _ in rows])


def run_rows(
    splits: list[str],
    shares: list[float],
    *,
    fold: int = 1,
    seed: int = 1,
    groups: list[str] | None = None,
    ids: list[str] | None = None,
) -> pd.DataFrame:
    """What one run says of images, by their probability of covid; the first are normal."""
    count = len(splits)
    manifest = pd.DataFrame(
        {
            "image_id": ids or [f"i{number}" for number in range(count)],
            "group_id": groups or [f"g{number}" for number in range(count)],
            "label": ["normal"] * (count - count // 2) + ["covid"] * (count // 2),
            "subgroup": "",
        }
    )
    probabilities = np.column_stack((1 - np.array(shares), shares))
    run = Run("", fold, seed, np.array(splits))
    return tabulate_run(manifest, run, probabilities, TWO.class_names)


def test_the_confident_joint_says_how_many_and_the_margin_which() -> None:
    # Thresholds: mean probability of covid of its 5 is (4 * 0.9 + 0.1) / 5 = 0.74, of normal of its
    # 5 is (3 * 0.9 + 0.2 + 0.45) / 5 = 0.67. Over them: i4 as covid (0.8), and not i3 (0.55);
    # i9 as normal (0.9). So the joint is normal 3 + 1, covid 1 + 4; scaled to the labels' numbers,
    # 5 * 1/4 = 1.25 and 5 * 1/5 = 1: of each label the one of the largest margin.
    rows = [("normal", [0.9, 0.1])] * 3
    rows += [("normal", [0.45, 0.55]), ("normal", [0.2, 0.8])]
    rows += [("covid", [0.1, 0.9])] * 4 + [("covid", [0.9, 0.1])]
    look = look_at_labels(judged(rows), TWO, n_images=12)
    assert [tuple(one) for one in look.suspected] == [
        ("i9", "covid", "normal", 0.1, 0.9),
        ("i4", "normal", "covid", 0.2, 0.8),
    ]
    assert (look.n_images, look.n_judged, look.too_few) == (12, 10, [])
    assert look.balanced_accuracy == pytest.approx((3 / 5 + 4 / 5) / 2)


def test_labels_that_agree_are_not_doubted() -> None:
    rows = [("normal", [0.8, 0.2])] * 4 + [("covid", [0.3, 0.7])] * 4
    assert look_at_labels(judged(rows), TWO, n_images=8).suspected == []


def planted(
    share: float, task: Task, *, count: int = 1000, strength: float = 3.0
) -> tuple[pd.DataFrame, set[str]]:
    """Images that a model tells well, some under another label; and which these are."""
    rng, classes = np.random.default_rng(0), len(task.class_names)
    truth = rng.integers(0, classes, count)
    flips = rng.choice(count, round(share * count), replace=False)
    labels = truth.copy()
    labels[flips] = (truth[flips] + rng.integers(1, classes, len(flips))) % classes
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), truth] += strength
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = [task.class_names[label] for label in labels]
    table = judged(list(zip(names, shares.tolist(), strict=True)), task)
    return table, {f"i{number}" for number in flips}


@pytest.mark.parametrize("task", [TWO, THREE], ids=["two", "three"])
def test_planted_flips_are_found_and_most_of_those_listed_are_flips(task: Task) -> None:
    table, flips = planted(0.05, task)
    listed = [one.image_id for one in look_at_labels(table, task, n_images=1000).suspected]
    hits = flips & set(listed)
    assert len(hits) >= 0.8 * len(flips)
    assert len(hits) >= 0.5 * len(listed)
    assert len(flips & set(listed[:10])) == 10


def test_without_flips_hardly_a_label_is_doubted() -> None:
    table, _ = planted(0.0, TWO, strength=5.0)
    assert len(look_at_labels(table, TWO, n_images=1000).suspected) <= 5


def test_a_model_that_knows_nothing_doubts_nothing() -> None:
    rows = [("normal", [0.5, 0.5])] * 4 + [("covid", [0.5, 0.5])] * 4
    look = look_at_labels(judged(rows), TWO, n_images=8)
    assert look.suspected == []
    assert look.balanced_accuracy == pytest.approx(0.5)


def test_classes_of_fewer_than_two_images_are_named_and_not_doubted() -> None:
    rows = [("normal", [0.9, 0.05, 0.05])] * 4 + [("normal", [0.02, 0.03, 0.95])]
    rows += [("covid", [0.05, 0.05, 0.9])] * 4 + [("pneumonia", [0.9, 0.05, 0.05])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look = look_at_labels(judged(rows, THREE), THREE, n_images=10)
    assert look.too_few == ["pneumonia"]
    assert [one.image_id for one in look.suspected] == ["i4"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_one_class_alone_nothing_can_be_said(count: int) -> None:
    look = look_at_labels(judged([("covid", [0.9, 0.1])] * count), TWO, n_images=5)
    assert (look.n_judged, look.suspected) == (count, [])
    assert look.balanced_accuracy == (0.0 if count else None)


def test_with_folds_every_image_is_judged_by_the_models_that_did_not_train_on_it() -> None:
    table = pd.concat(
        [
            run_rows(["test", "train", "train", "val"], [0.2, 0.9, 0.9, 0.6], fold=1),
            run_rows(["train", "test", "val", "train"], [0.9, 0.4, 0.7, 0.1], fold=2),
            run_rows(["test", "train", "train", "train"], [0.4, 0.9, 0.9, 0.1], fold=1, seed=2),
        ]
    )
    found = judge_out_of_fold(table.astype({"fold": str, "seed": str}), TWO.class_names)
    shares = found.set_index("image_id")["prob_covid"].to_dict()
    assert shares == pytest.approx({"i0": 0.3, "i1": 0.4, "i2": 0.7, "i3": 0.6})
    assert found.set_index("image_id")["label"].to_dict() == {
        **{"i0": "normal", "i1": "normal"},
        **{"i2": "covid", "i3": "covid"},
    }


def test_of_a_single_split_only_val_and_test_are_judged_which_is_counted() -> None:
    table = run_rows(["train", "val", "test", "train", "val", "test"], [0.1] * 3 + [0.9] * 3)
    look = look_at_labels_of_case(table.astype({"fold": str, "seed": str}), TWO)
    assert (look.n_images, look.n_judged, look.balanced_accuracy) == (6, 4, 1.0)


def test_an_image_that_is_val_and_test_counts_once() -> None:
    table = run_rows([BOTH, "train", "train", BOTH], [0.1, 0.1, 0.9, 0.9])
    look = look_at_labels_of_case(table.astype({"fold": str, "seed": str}), TWO)
    assert (look.n_images, look.n_judged) == (4, 2)


def test_whoever_has_an_image_in_training_is_not_judged_nor_are_copies() -> None:
    table = run_rows(
        ["train", "test", "test", "test", "test", "train"],
        [0.1] * 3 + [0.9] * 3,
        groups=["a", "a", "b", "c", "d", "d"],
        ids=["i0", "i1", "i2", "i3", "i3+copy1", "i5"],
    )
    table = table.astype({"fold": str, "seed": str})
    assert judge_out_of_fold(table, TWO.class_names)["image_id"].tolist() == ["i2", "i3"]
    assert look_at_labels_of_case(table, TWO).n_images == 5


@pytest.mark.parametrize(("n_classes", "n", "may_differ"), [(2, 400, 0), (3, 300, 2), (4, 900, 3)])
def test_the_list_is_that_of_cleanlab_but_for_rounded_counts(
    n_classes: int, n: int, may_differ: int
) -> None:
    rng = np.random.default_rng(n)
    truth = rng.integers(n_classes, size=n)
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), truth] += 2.0
    shares = np.exp(1.5 * logits)
    shares /= shares.sum(axis=1, keepdims=True)
    given = np.where(rng.random(n) < 0.06, (truth + 1) % n_classes, truth)
    names = tuple("abcd"[:n_classes])
    rows = [(names[label], list(row)) for label, row in zip(given, shares, strict=True)]
    task = Task(names, 0)
    found = look_at_labels(judged(rows, task), task, n_images=n).suspected
    theirs = find_label_issues(
        given, shares, filter_by="prune_by_noise_rate", min_examples_per_class=1, n_jobs=1
    )
    ours = np.zeros(n, dtype=bool)
    ours[[int(one.image_id.removeprefix("i")) for one in found]] = True
    assert theirs.sum() > 10
    assert (ours != theirs).sum() <= may_differ
