import pandas as pd
import pytest

from stages.modeling.fit import FitResult
from stages.modeling.knowledge import Knowledge


def test_all_right_of_ten_has_the_interval_of_clopper_and_pearson() -> None:
    # Lower end: 0.025 ** (1 / 10); upper end: 1.
    knows = Knowledge.of_accuracy("task", 1.0, [5, 5])
    assert knows.low == pytest.approx(0.025**0.1, abs=1e-6)
    assert (knows.high, knows.chance, knows.n) == (1.0, 0.5, 10)


def test_none_right_of_ten_has_the_mirrored_interval() -> None:
    knows = Knowledge.of_accuracy("task", 0.0, [5, 5])
    assert knows.low == 0.0
    assert knows.high == pytest.approx(1 - 0.025**0.1, abs=1e-6)


@pytest.mark.parametrize(("n_correct", "better"), [(59, False), (61, True)])
def test_better_than_chance_is_an_interval_above_the_share_of_the_largest_class(
    n_correct: int, better: bool
) -> None:
    # Tables of the binomial distribution: of 100 throws of a coin, 60 are at most 0.6 +- 0.1.
    knows = Knowledge.of_accuracy("task", n_correct / 100, [50, 50])
    assert knows.to_json()["better_than_chance"] is better


def test_chance_is_the_most_frequent_class() -> None:
    assert Knowledge.of_accuracy("task", 0.7, [7, 2, 1]).chance == 0.7


def test_the_epoch_kept_counts() -> None:
    rows = [(0, "train", 0.9), (0, "val", 0.4), (1, "train", 0.9), (1, "val", 0.8)]
    epochs = pd.DataFrame(rows, columns=["epoch", "split", "accuracy"])
    result = FitResult(epochs, epochs, kept_epoch=1, drawn=[])
    assert Knowledge.of_fit("task", result, [5, 5]).accuracy == 0.8
