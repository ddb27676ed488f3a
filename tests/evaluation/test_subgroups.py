"""Groups of test images, with figures worked by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from stages.dataset.task import Task
from stages.evaluation.partitions import Partition
from stages.evaluation.statistics.records import Bootstrap
from stages.evaluation.subgroups import FEWEST, TESTED, GroupFigures, Subgroups, score_subgroups

TWO, THREE = Task(("normal", "covid"), 1), Task(("normal", "pneumonia", "covid"), 2)
BOOTSTRAP = Bootstrap(draws=400, seed=3)


def rows_of(truth: list[int], probabilities: NDArray[np.float64], task: Task) -> pd.DataFrame:
    """A patient per image."""
    names = np.array(task.class_names)
    table = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(truth))],
            "group_id": [f"g{number}" for number in range(len(truth))],
            "label": names[truth],
            "prediction": names[probabilities.argmax(axis=1)],
        }
    )
    columns = {f"prob_{name}": probabilities[:, k] for k, name in enumerate(task.class_names)}
    return table.assign(**columns)


def cut(groups: list[str], title: str = "site") -> Partition:
    names = list(dict.fromkeys(groups))
    return Partition(title, "by value", names, np.array([names.index(g) for g in groups]))


def of_two(scores: list[float]) -> NDArray[np.float64]:
    second = np.array(scores)
    return np.column_stack((1 - second, second))


def groups_of(found: Subgroups) -> dict[str, GroupFigures]:
    return {group.name: group for part in found.partitions for group in part.groups}


# Site a: 12 normal and 12 covid, all right. Site b: the same, a third of either wrong.
TRUTH = ([0] * 12 + [1] * 12) * 2
SCORES = [0.1] * 12 + [0.9] * 12 + [0.1] * 8 + [0.9] * 4 + [0.9] * 8 + [0.1] * 4
SITES = ["a"] * 24 + ["b"] * 24


def test_a_group_has_its_figures_and_its_difference_from_the_rest() -> None:
    found = groups_of(
        score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(SITES)], TWO, BOOTSTRAP)
    )
    a, b = found["a"], found["b"]
    assert (a.metrics["balanced_accuracy"].value, a.metrics["auroc"].value) == (1.0, 1.0)
    assert b.metrics["sensitivity"].value == pytest.approx(8 / 12, abs=1e-6)
    # 8 x 8 pairs in order, 4 x 4 in disorder, 64 of 144 + half of 64 ties.
    assert b.metrics["auroc"].value == pytest.approx((64 + 64 / 2) / 144, abs=1e-6)
    gap = a.gaps["balanced_accuracy"]
    assert gap.first.value == 1.0
    assert gap.second.value == pytest.approx(8 / 12, abs=1e-6)
    assert gap.difference.value == pytest.approx(4 / 12, abs=1e-6)
    assert gap.difference.excludes_zero
    assert (gap.difference.p_value or 1) < 0.02


def test_a_group_that_is_all_right_leaves_room_for_errors() -> None:
    found = groups_of(
        score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(SITES)], TWO, BOOTSTRAP)
    )["a"]
    # Wilson's interval of 24 of 24 begins at 24 / (24 + z^2).
    assert found.metrics["accuracy"][:3] == pytest.approx((1.0, 0.86202, 1.0), abs=1e-4)
    for metric in ("balanced_accuracy", "auroc", "sensitivity"):
        assert (found.metrics[metric].low or 1) < 0.95, metric


def test_of_two_groups_one_difference_is_tested() -> None:
    b = groups_of(
        score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(SITES)], TWO, BOOTSTRAP)
    )["b"]
    assert b.gaps == {}
    assert b.remark == "the difference is that of a, with the other sign"


def test_the_same_difference_is_not_tested_twice_for_images_that_play_no_part() -> None:
    # Of c there is one class alone, which a and b lack: both differences are of a and b.
    truth = [*TRUTH, *[2] * 12]
    probabilities = np.column_stack((of_two([*SCORES, *[0.5] * 12]), np.zeros(60)))
    rows = rows_of(truth, probabilities, Task(("normal", "covid", "other"), 1))
    found = groups_of(
        score_subgroups(
            rows, [cut([*SITES, *["c"] * 12])], Task(("normal", "covid", "other"), 1), BOOTSTRAP
        )
    )
    assert found["a"].gaps["auroc"].difference.value == pytest.approx(1 - 96 / 144, abs=1e-6)
    assert found["b"].gaps == {}
    assert found["c"].remark == "not scored: fewer than two classes of at least 10 patients"


def test_where_groups_are_alike_no_difference_is_found() -> None:
    sites = ["a", "b"] * 24
    found = groups_of(
        score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(sites)], TWO, BOOTSTRAP)
    )
    assert found["a"].gaps["auroc"].difference[:1] == (0.0,)
    assert not found["a"].gaps["balanced_accuracy"].difference.excludes_zero


def test_p_values_of_a_metric_are_one_family_adjusted_by_holm() -> None:
    rows = rows_of(TRUTH * 2, of_two(SCORES * 2), TWO)
    parts = [cut(SITES * 2), cut(["x", "y", "z"] * 32, "third")]
    found = score_subgroups(rows, parts, TWO, BOOTSTRAP)
    for metric in TESTED:
        gaps = [g.gaps[metric].difference for p in found.partitions for g in p.groups if g.gaps]
        assert len(gaps) == 4  # a v b, and each third against the others
        plain = [gap.p_value or 0.0 for gap in gaps]
        by_hand = multipletests(plain, method="holm")[1]
        assert [gap.p_value_holm for gap in gaps] == pytest.approx(by_hand)
        # The smallest of four counts four times.
        assert gaps[0].p_value_holm == pytest.approx(min(1.0, 4 * min(plain)))


def test_who_is_few_is_named_with_counts_and_not_scored() -> None:
    few = FEWEST - 1
    sites = ["a"] * (48 - few) + ["b"] * few
    found = groups_of(
        score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(sites)], TWO, BOOTSTRAP)
    )["b"]
    assert found.counts == {"normal": (0, 0), "covid": (few, few)}
    assert (found.metrics, found.gaps, found.classes) == ({}, {}, [])
    assert found.remark == "not scored: fewer than two classes of at least 10 patients"


def test_patients_count_not_images() -> None:
    rows = rows_of(TRUTH, of_two(SCORES), TWO)
    rows["group_id"] = [f"g{number // 2}" for number in range(48)]
    found = groups_of(score_subgroups(rows, [cut(SITES)], TWO, BOOTSTRAP))["a"]
    assert found.counts["normal"] == (12, 6)
    assert found.metrics == {}


def test_a_group_without_a_class_is_judged_on_the_others_and_so_is_the_rest() -> None:
    # Site a has no covid. Its normal images are told from pneumonia by p1 / (p0 + p1), whatever
    # covid gets; the rest is judged on normal and pneumonia too.
    rng = np.random.default_rng(5)
    truth = [0] * 15 + [1] * 15 + [0] * 12 + [1] * 12 + [2] * 12
    probabilities = rng.dirichlet((1, 1, 1), len(truth))
    probabilities[np.arange(len(truth)), truth] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    sites = ["a"] * 30 + ["b"] * 36
    rows = rows_of(truth, probabilities, THREE)
    found = groups_of(score_subgroups(rows, [cut(sites)], THREE, BOOTSTRAP))
    a = found["a"]
    assert a.classes == ["normal", "pneumonia"]
    truths = np.array(truth)
    share = probabilities[:, 1] / probabilities[:, :2].sum(axis=1)

    def auroc(first: int, last: int) -> float:
        chosen = np.arange(first, last)[truths[first:last] < 2]
        return float(roc_auc_score(truths[chosen] == 1, share[chosen]))

    assert a.metrics["auroc"].value == pytest.approx(auroc(0, 30), abs=1e-6)
    assert a.gaps["auroc"].second.value == pytest.approx(auroc(30, 66), abs=1e-6)
    right = probabilities.argmax(axis=1) == truths
    recalls = [right[truths[:30].tolist().index(k) :][:15].mean() for k in (0, 1)]
    assert a.metrics["balanced_accuracy"].value == pytest.approx(np.mean(recalls), abs=1e-6)
    assert a.metrics["sensitivity"].value is None  # of covid
    assert found["b"].classes == list(THREE.class_names)


def test_a_group_whose_classes_the_rest_lacks_has_figures_and_no_difference() -> None:
    truth = [0] * 12 + [1] * 12 + [2] * 12
    probabilities = np.eye(3)[truth] * 0.6 + 0.4 / 3
    sites = ["a"] * 24 + ["b"] * 12
    rows = rows_of(truth, probabilities, THREE)
    found = groups_of(score_subgroups(rows, [cut(sites)], THREE, BOOTSTRAP))
    assert found["a"].metrics["auroc"].value == 1.0
    assert found["a"].gaps == {}
    assert found["a"].remark == "the rest has fewer than two of these classes with 10 patients"
    assert found["b"].metrics == {}


def test_several_rows_of_an_image_count_as_one_image() -> None:
    rows = rows_of(TRUTH, of_two(SCORES), TWO)
    twice = pd.concat([rows, rows], ignore_index=True)
    found = groups_of(score_subgroups(twice, [cut(SITES * 2)], TWO, BOOTSTRAP))["a"]
    assert found.counts["covid"] == (12, 12)


def test_in_json_every_group_has_counts_figures_and_what_was_tested() -> None:
    found = score_subgroups(rows_of(TRUTH, of_two(SCORES), TWO), [cut(SITES)], TWO, BOOTSTRAP)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["fewest_patients"] == FEWEST
    [part] = content["partitions"]
    first, second = part["groups"]
    assert (part["title"], first["name"], second["against_rest"]) == ("site", "a", {})
    assert first["counts"]["covid"] == {"images": 12, "patients": 12}
    assert set(first["against_rest"]) == set(TESTED)
    assert first["against_rest"]["auroc"]["p_value_holm"] is not None


def test_without_parts_there_is_nothing() -> None:
    rows = rows_of(TRUTH, of_two(SCORES), TWO)
    assert score_subgroups(rows, [], TWO, BOOTSTRAP).partitions == []
