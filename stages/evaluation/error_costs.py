"""Errors that are not all alike: what each costs, and how far apart ordered classes lie."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stages.config.params import Evaluate
from stages.evaluation.metrics import share
from stages.evaluation.scored import Scored
from stages.evaluation.statistics.bootstrap import draw_figures, estimate
from stages.evaluation.statistics.records import Bootstrap, Estimates

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ErrorCosts(NamedTuple):
    """What is known of the errors of a data set.

    Attributes:
        costs: (K, K) from 0 up, of an image by true class (row) and by decision; 0 of a right one.
            None where nobody said.
        ranks: (K,) place of each class where they are ordered; else None.
    """

    costs: FloatArray | None
    ranks: IntArray | None

    @classmethod
    def of(cls, settings: Evaluate, dataset: str, class_names: Sequence[str]) -> Self:
        """What params.yaml says of a data set."""
        costs, order = settings.costs.get(dataset), settings.ordered.get(dataset)
        return cls(
            None if costs is None else _tabulate(costs, class_names),
            None if order is None else np.array([order.index(name) for name in class_names]),
        )


def score_errors(scored: Scored, errors: ErrorCosts, bootstrap: Bootstrap) -> Estimates:
    """Figures of n rows; none where nothing is known of their errors.

    - expected_cost: mean cost of the decisions (Maier-Hein et al. 2024, "Metrics reloaded", EC);
    - expected_cost_normalised: the same as a share of that of the cheapest decision that is the
      same for all images; from 1 on the model is worth nothing (Ferrer 2022);
    - expected_cost_cheapest: mean cost of deciding each image for what its probabilities say costs
      least, rather than for the likeliest class;
    - weighted_kappa: Cohen 1968, disagreements weighted by the square of how many places apart.

    Args:
        scored: at least one row.
        errors: of its data set.
        bootstrap: draws and their seed.
    """

    def figures(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        if errors.costs is not None:
            found |= _cost_figures(scored, errors.costs, weights)
        if errors.ranks is not None:
            found["weighted_kappa"] = _weighted_kappa(scored, errors.ranks, weights)
        return found

    needs = {
        "expected_cost": "an image",
        "expected_cost_normalised": "images of which no one decision is right, or free, for all",
        "expected_cost_cheapest": "an image",
        "weighted_kappa": "images or decisions of two classes",
    }
    return estimate(draw_figures(figures, scored.group_ids, needs, bootstrap))


def _tabulate(costs: Mapping[str, Mapping[str, float]], class_names: Sequence[str]) -> FloatArray:
    return np.array(
        [[costs[true].get(decided, 0.0) for decided in class_names] for true in class_names]
    )


def _cost_figures(
    scored: Scored, costs: FloatArray, weights: NDArray[np.int32]
) -> dict[str, FloatArray]:
    truth, decided = np.asarray(scored.y_true), np.asarray(scored.predictions)
    cheapest = (np.asarray(scored.probabilities, np.float64) @ costs).argmin(axis=1)
    per_row = np.column_stack((costs[truth, decided], costs[truth, cheapest], costs[truth]))
    made, bayes, *constant = (weights @ per_row / weights.sum(axis=1, keepdims=True)).T
    return {
        "expected_cost": made,
        "expected_cost_normalised": share(made, np.min(constant, axis=0)),
        "expected_cost_cheapest": bayes,
    }


def _weighted_kappa(scored: Scored, ranks: IntArray, weights: NDArray[np.int32]) -> FloatArray:
    """1 - observed / expected disagreement; NaN where none is to be expected."""
    apart = (ranks[:, None] - ranks) ** 2.0  # (K, K)
    truth, decided = np.asarray(scored.y_true), np.asarray(scored.predictions)
    marginals = [weights @ np.eye(len(ranks))[classes] for classes in (truth, decided)]  # (B, K)
    total = weights.sum(axis=1)
    observed = weights @ apart[truth, decided] / total
    expected = np.einsum("bi,ij,bj->b", marginals[0], apart, marginals[1]) / total**2.0
    return 1 - share(observed, expected)
