from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from stages.config.errors import UserError
from stages.dataset.task import Task
from stages.evaluation.metrics import DRAWS_PER_BLOCK, compute_metrics, metric_requirements

Scored = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def scored_images(seed: int, class_count: int, *, ties: bool) -> Scored:
    """80 images with weakly informative scores; with ties, every score is a multiple of 1/8."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(class_count, size=80)
    if ties:
        counts = rng.multinomial(7, [1 / class_count] * class_count, size=80)
        counts[np.arange(80), y_true] += 1
        probabilities = counts / 8
    else:
        raw = rng.exponential(size=(80, class_count))
        raw[np.arange(80), y_true] += 0.5
        probabilities = raw / raw.sum(axis=1, keepdims=True)
    # A decision by threshold, so that it is not always the argmax.
    predictions = np.where(probabilities[:, 1] >= 0.3, 1, probabilities.argmax(axis=1))
    return y_true, probabilities, predictions


def sklearn_metrics(
    scored: Scored, names: list[str], positive: int, weight: NDArray[Any]
) -> dict[str, float]:
    y_true, probabilities, predictions = scored
    of_class, called = y_true == positive, predictions == positive
    kwargs: dict[str, Any] = {"sample_weight": weight}
    roc_score = probabilities[:, 1] if len(names) == 2 else probabilities
    expected = {
        "accuracy": oracle.accuracy_score(y_true, predictions, **kwargs),
        "balanced_accuracy": oracle.balanced_accuracy_score(y_true, predictions, **kwargs),
        "f1_macro": oracle.f1_score(y_true, predictions, average="macro", **kwargs),
        "mcc": oracle.matthews_corrcoef(y_true, predictions, **kwargs),
        "sensitivity": oracle.recall_score(of_class, called, **kwargs),
        "specificity": oracle.recall_score(~of_class, ~called, **kwargs),
        "precision": oracle.precision_score(of_class, called, **kwargs),
        "auroc": oracle.roc_auc_score(y_true, roc_score, multi_class="ovr", **kwargs),
        "average_precision": oracle.average_precision_score(
            of_class, probabilities[:, positive], **kwargs
        ),
        "log_loss": oracle.log_loss(y_true, probabilities, **kwargs),
        "brier": oracle.brier_score_loss(y_true, probabilities, **kwargs),
    }
    report = oracle.classification_report(
        y_true, predictions, target_names=names, output_dict=True, **kwargs
    )
    expected |= {f"f1_{name}": report[name]["f1-score"] for name in names}
    return expected | {f"recall_{name}": report[name]["recall"] for name in names}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("names", "positive"), [(["a", "b"], 1), (["a", "b", "c"], 2)])
@pytest.mark.parametrize("kind", ["counts", "real"])
def test_every_metric_equals_scikit_learn_under_every_weighting(
    names: list[str], positive: int, ties: bool, kind: str
) -> None:
    rng = np.random.default_rng(7)
    scored = scored_images(3, len(names), ties=ties)
    rows = rng.integers(4, size=(5, 80)) if kind == "counts" else rng.exponential(size=(5, 80))

    found = compute_metrics(*scored, Task(tuple(names), positive), rows)

    for draw, row in enumerate(rows):
        expected = sklearn_metrics(scored, names, positive, row)
        assert {name: found[name][draw] for name in found} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_auroc_and_brier_do_not_depend_on_the_positive_class(positive: int) -> None:
    scored = scored_images(5, 2, ties=True)
    found = compute_metrics(*scored, Task(("a", "b"), positive))
    expected = sklearn_metrics(scored, ["a", "b"], positive, np.ones(80))
    assert found["auroc"][0] == pytest.approx(expected["auroc"], abs=1e-12)
    assert found["brier"][0] == pytest.approx(expected["brier"], abs=1e-12)


NO_YES = Task(("no", "yes"), 1)


def four_points(scores: list[float], decisions: list[int], weights: Any = None) -> dict[str, Any]:
    probabilities = np.column_stack([1 - np.array(scores), scores])
    return compute_metrics([0, 0, 1, 1], probabilities, decisions, NO_YES, weights)


def test_metrics_of_four_points_are_those_worked_by_hand() -> None:
    # Falling scores: 0.8 yes, 0.4 no, 0.35 yes, 0.1 no.
    found = four_points([0.1, 0.4, 0.35, 0.8], [0, 1, 0, 1])
    assert found["auroc"] == pytest.approx([3 / 4])  # of 4 pairs only (0.35, 0.4) is out of order
    assert found["average_precision"] == pytest.approx([(1 / 1 + 2 / 3) / 2])
    # Decisions: one of two right in each class.
    assert found["accuracy"] == found["sensitivity"] == found["specificity"] == [0.5]
    assert found["mcc"] == [0.0]
    assert found["f1_yes"] == [0.5]
    assert found["brier"] == pytest.approx([(0.01 + 0.16 + 0.4225 + 0.04) / 4])
    assert found["log_loss"] == pytest.approx([-np.log([0.9, 0.6, 0.35, 0.8]).mean()])


def test_equal_scores_count_one_half_in_auroc() -> None:
    # Pairs yes-no: (0.5, 0.1) right, (0.5, 0.5) equal, (0.8, 0.1) right, (0.8, 0.5) right.
    assert four_points([0.1, 0.5, 0.5, 0.8], [0] * 4)["auroc"] == pytest.approx([3.5 / 4])


def test_a_weight_of_two_equals_the_image_twice() -> None:
    y_true, probabilities, predictions = scored_images(11, 3, ties=True)
    counts = np.random.default_rng(0).integers(3, size=80)
    twice = np.repeat(np.arange(80), counts)
    task = Task(("a", "b", "c"), 0)
    weighted = compute_metrics(y_true, probabilities, predictions, task, counts[None])
    repeated = compute_metrics(y_true[twice], probabilities[twice], predictions[twice], task)
    assert {k: v[0] for k, v in weighted.items()} == pytest.approx(
        {k: v[0] for k, v in repeated.items()}, abs=1e-12
    )


def test_draws_beyond_one_block_keep_their_order() -> None:
    rows = np.zeros((DRAWS_PER_BLOCK + 2, 4))
    rows[:, [0, 3]] = 1  # both right
    rows[DRAWS_PER_BLOCK] = [0, 1, 1, 0]  # both wrong
    found = four_points([0.1, 0.4, 0.35, 0.8], [0, 1, 0, 1], weights=rows)["accuracy"]
    assert np.flatnonzero(found == 0).tolist() == [DRAWS_PER_BLOCK]
    assert found.sum() == DRAWS_PER_BLOCK + 1


def test_a_constant_predictor_has_chance_values_and_no_precision() -> None:
    found = four_points([0.2] * 4, [0] * 4)
    assert found["auroc"] == [0.5]
    assert found["average_precision"] == [0.5]  # the prevalence
    assert found["balanced_accuracy"] == [0.5]
    assert found["mcc"] == [0.0]
    assert found["sensitivity"] == [0.0]
    assert found["specificity"] == [1.0]
    assert found["f1_macro"] == pytest.approx([(2 / 3 + 0) / 2])
    assert np.isnan(found["precision"][0])


def test_a_certain_and_wrong_prediction_has_a_finite_log_loss() -> None:
    found = four_points([1.0, 0.0, 1.0, 1.0], [1, 0, 1, 1])["log_loss"]
    assert found == pytest.approx([-np.log(np.finfo(np.float64).eps) / 4])


def test_a_draw_without_one_class_is_nan_where_the_class_is_needed_and_only_there() -> None:
    rows = [[1, 1, 0, 0], [1, 1, 1, 1]]
    found = four_points([0.1, 0.4, 0.35, 0.8], [0, 1, 0, 1], weights=rows)
    undefined = {name for name, values in found.items() if np.isnan(values[0])}
    assert undefined == {
        "balanced_accuracy",
        "sensitivity",
        "auroc",
        "average_precision",
        "recall_yes",
    }
    assert not any(np.isnan(values[1]) for values in found.values())


def test_a_class_absent_from_the_test_set_is_left_out_of_means_as_in_scikit_learn() -> None:
    y_true, predictions = [0, 0, 1, 1], [0, 1, 1, 1]
    probabilities = [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]
    found = compute_metrics(y_true, probabilities, predictions, Task(("a", "b", "c"), 1))
    assert found["balanced_accuracy"] == oracle.balanced_accuracy_score(y_true, predictions)
    assert found["f1_macro"] == oracle.f1_score(y_true, predictions, average="macro")
    assert np.isnan([found[name][0] for name in ("auroc", "f1_c", "recall_c")]).all()


@pytest.mark.parametrize("times", [1, 2])
def test_a_class_that_was_only_predicted_counts_in_macro_f1_however_often(times: int) -> None:
    y_true, predictions = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    predictions[:times] = 2
    probabilities = np.full((4, 3), 1 / 3)
    found = compute_metrics(y_true, probabilities, predictions, Task(("a", "b", "c"), 1))
    expected = oracle.f1_score(y_true, predictions, average="macro")
    assert found["f1_macro"] == pytest.approx([expected])


def test_weights_of_nothing_leave_every_metric_undefined() -> None:
    found = four_points([0.1, 0.4, 0.35, 0.8], [0, 1, 0, 1], weights=np.zeros((1, 4)))
    assert all(np.isnan(values).all() for values in found.values())


def test_requirements_name_the_metrics_in_the_order_of_the_results() -> None:
    found = four_points([0.1, 0.4, 0.35, 0.8], [0, 1, 0, 1])
    needs = metric_requirements(NO_YES)
    assert list(found) == list(needs)
    assert needs["precision"] == "a prediction of class 'yes'"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_true": []}, r"y_true: got shape \(0,\); give one label per image"),
        ({"y_true": [0.0, 1.0]}, "y_true: got float64; give integer indices"),
        ({"y_true": [0, 2]}, "y_true: got labels from 0 to 2; 2 classes allow 0 to 1"),
        ({"predictions": [0]}, r"predictions: got shape \(1,\); .* \(2,\)"),
        ({"probabilities": [[1.0], [0.0]]}, r"probabilities: got shape \(2, 1\); .* \(2, 2\)"),
        ({"probabilities": [[0.5, 0.5], [2.0, 3.0]]}, r"row 1 is \[2.0, 3.0\], 1 such rows"),
        ({"probabilities": [[0.5, 0.5], [0.5, np.nan]]}, r"row 1 is \[0.5, nan\]"),
        ({"weights": [1, 1]}, r"weights: got shape \(2,\); .* \(draws, 2\)"),
        ({"weights": [[1, -1]]}, "weights: got values from -1.0 to 1.0"),
        ({"weights": [[1, np.nan]]}, "weights: got values from nan"),
    ],
)
def test_wrong_arguments_are_named_with_what_is_allowed(
    changed: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {
        "y_true": [0, 1],
        "probabilities": [[0.5, 0.5], [0.2, 0.8]],
        "predictions": [0, 1],
        "task": Task(("a", "b"), 1),
    }
    with pytest.raises(UserError, match=message):
        compute_metrics(**(arguments | changed))
