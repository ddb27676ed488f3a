import numpy as np

from stages.evaluation.distributions import BINS, count_probabilities


def test_each_row_is_counted_once_by_its_truth() -> None:
    told = np.array([[0.98, 0.02], [0.96, 0.04], [0.5, 0.5], [0.0, 1.0]])
    found = count_probabilities(np.array([0, 0, 1, 1]), told, ["normal", "covid"]).counts
    # Twenty bins of 0.05; an edge is of the bin that it begins, 1 of the last.
    assert np.flatnonzero(found["covid"]["normal"]).tolist() == [0]
    assert found["covid"]["normal"][0] == 2
    assert np.flatnonzero(found["covid"]["covid"]).tolist() == [10, 19]
    assert np.flatnonzero(found["normal"]["covid"]).tolist() == [0, 10]


def test_a_class_without_an_image_has_zeros() -> None:
    found = count_probabilities(np.array([0]), np.array([[0.2, 0.3, 0.5]]), ["a", "b", "c"])
    content = found.to_json()
    assert content["bins"] == BINS
    assert content["counts"]["c"]["b"] == [0] * BINS
    assert sum(content["counts"]["c"]["a"]) == 1
