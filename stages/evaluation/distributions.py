"""How the probabilities of each class are distributed over the images of each class."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.metrics import FloatArray, IntArray

BINS = 20


class Distributions(NamedTuple):
    """Counts in BINS of equal width, each with its lower edge and the last with both.

    Attributes:
        counts: class that the probability is of -> true class -> (BINS,) rows.
    """

    counts: Mapping[str, Mapping[str, NDArray[np.int64]]]

    def to_json(self) -> dict[str, Any]:
        """As reports have it."""
        return {
            "bins": BINS,
            "counts": {
                told: {true: found.tolist() for true, found in by_truth.items()}
                for told, by_truth in self.counts.items()
            },
        }


def count_probabilities(
    y_true: IntArray, probabilities: FloatArray, class_names: Sequence[str]
) -> Distributions:
    """Of (n, K) probabilities, (n,) truths; a class without an image has zeros."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return Distributions(
        {
            told: {
                true: np.bincount(bins[y_true == number, column], minlength=BINS)
                for number, true in enumerate(class_names)
            }
            for column, told in enumerate(class_names)
        }
    )
