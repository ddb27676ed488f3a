"""All metrics under all draws at once v scikit-learn's AUROC and macro F1 in a loop over draws.

Both get the same draws of patients; that the two metrics are equal under every draw is asserted.
The loop computes two metrics, the product all of them: what a case needs.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics
from stages.evaluation.statistics.bootstrap import bootstrap_weights
from stages.evaluation.statistics.records import Bootstrap
from tests.benchmarks import measure

TASK = Task(("normal", "covid"), positive=1)


def main() -> None:
    """Draw labels and scores, compute both ways in turn, compare and print."""
    args = _parse()
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=args.images)
    score = np.round(1 / (1 + np.exp(-rng.normal(2 * truth - 1, 1.5))), 3)  # some are equal
    groups = np.arange(args.images) // 2
    weights = bootstrap_weights(groups, Bootstrap(args.draws, seed=0))
    results: dict[str, dict[str, NDArray[np.float64]]] = {}

    def loop() -> None:
        results["loop"] = _loop(truth, score, weights)

    def product() -> None:
        probabilities = np.stack([1 - score, score], axis=1)
        decided = (score > 0.5).astype(int)
        results["product"] = compute_metrics(truth, probabilities, decided, TASK, weights)

    sides = {"scikit-learn, 2": measure.timed(loop), "product, all": measure.timed(product)}
    costs = measure.interleave(sides, args.rounds)
    for name, values in results["loop"].items():
        np.testing.assert_allclose(results["product"][name], values, rtol=0, atol=1e-12)
    title = (
        f"{args.draws} draws of {args.images} images, 2 classes: {len(results['loop'])} metrics "
        f"in a loop v {len(results['product'])} at once; equal to 1e-12 under every draw"
    )
    measure.show(title, costs, unit="bootstrap")


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=500, help="test images, two per patient")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap draws")
    return parser.parse_args()


def _loop(
    truth: NDArray[np.int64], score: NDArray[np.float64], weights: NDArray[np.int32]
) -> dict[str, NDArray[np.float64]]:
    """AUROC and macro F1, (draws,) each, of the images that each draw repeats."""
    values = []
    for uses in weights:
        rows = np.repeat(np.arange(len(truth)), uses)
        drawn, drawn_score = truth[rows], score[rows]
        values.append(
            (
                roc_auc_score(drawn, drawn_score),
                f1_score(drawn, drawn_score > 0.5, average="macro"),
            )
        )
    aurocs, f1s = np.array(values).T
    return {"auroc": aurocs, "f1_macro": f1s}


if __name__ == "__main__":
    main()
