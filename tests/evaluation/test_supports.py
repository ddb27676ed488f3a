import numpy as np
import pytest

from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics, metric_requirements
from stages.evaluation.statistics.counts import count_rows
from stages.evaluation.statistics.jackknife import leave_out_parts, variance
from stages.evaluation.statistics.paired_tests import _clustered_variance, _placements
from stages.evaluation.supports import metric_supports

TASK = Task(("no", "yes"), 1)
THREE = Task(("a", "b", "c"), 0)


def test_rows_of_a_patient_that_are_alike_count_by_kish() -> None:
    # Patients with 3, 1 and 2 rows: 36 / 14.
    groups = np.array(["p", "p", "p", "q", "r", "r", "r"])
    assert count_rows(np.arange(7) < 6, groups) == (6, pytest.approx(36 / 14))
    assert count_rows(np.zeros(7, bool), groups) == (0, 0)


@pytest.mark.parametrize("task", [TASK, THREE])
def test_every_metric_says_what_it_rests_on(task: Task) -> None:
    truth = np.tile(np.arange(len(task.class_names)), 6)
    found = metric_supports(truth, truth, task, np.arange(len(truth)))
    assert set(found) == set(metric_requirements(task))
    for name, support in found.items():
        assert 0 < support.least <= support.patients <= support.images <= support.most, name


def test_a_share_rests_on_its_denominator() -> None:
    truth, decided = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 0])
    found = metric_supports(truth, decided, TASK, ["p", "p", "q", "q", "r"])
    assert found["accuracy"][:2] == (5, pytest.approx(25 / 9))
    assert found["specificity"][:2] == (3, pytest.approx(9 / 5))
    assert found["sensitivity"][:2] == (2, 2)
    assert found["precision"][:2] == (3, pytest.approx(9 / 5))


def test_seeds_that_test_an_image_are_rows_of_one_patient() -> None:
    truth = np.tile([0, 1, 0, 1], 3)
    found = metric_supports(truth, truth, TASK, np.tile(np.arange(4), 3))
    assert found["accuracy"][:2] == (12, 4)
    assert found["auroc"].patients == pytest.approx(2 * 2 / (1 + 1 / 2))


def test_a_class_that_no_image_has_is_left_out_of_means_and_gives_the_auroc_nothing() -> None:
    truth = np.array([0, 0, 1, 1])
    found = metric_supports(truth, truth, THREE, np.arange(4))
    assert found["balanced_accuracy"].images == 4  # of two classes
    assert found["recall_c"].images == 0
    assert found["auroc"].images == 0


def test_the_variance_of_an_auroc_is_close_to_that_of_delong_and_obuchowski() -> None:
    rng = np.random.default_rng(0)
    for groups in (np.arange(240), np.arange(240) // 4):
        truth = rng.integers(2, size=240)
        scores = np.clip(0.5 + 0.15 * (truth - 0.5) + 0.15 * rng.normal(size=240), 0, 1)
        scores += 0.1 * rng.normal(size=240)[groups]
        scores = (scores - scores.min()) / np.ptp(scores)
        weights = leave_out_parts(groups.max() + 1, seed=0)[:, groups]
        shares = np.column_stack((1 - scores, scores))
        left_out = compute_metrics(truth, shares, truth, TASK, weights)["auroc"]
        is_positive = truth == 1
        expected = _clustered_variance(_placements(is_positive, scores), is_positive, groups)
        assert variance(left_out) == pytest.approx(expected, rel=0.03)
