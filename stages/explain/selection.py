"""Which test images are explained, why, and by which model of a case."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.predictions import load_predictions, probability_columns
from stages.dataset.runs import Run

DRAWN, ERROR, UNCERTAIN = "drawn", "error", "uncertain"


class Selection(NamedTuple):
    """Images to explain, each once, and what the case says of them.

    Attributes:
        rows: (N,) row numbers of the view; the drawn ones first, positive ones before the others.
        predicted: (N,) class index, the decision in the predictions table.
        probabilities: (N,) of that class.
        selected_as: (N,) why: drawn, error, uncertain, or several of these.
    """

    rows: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    selected_as: list[list[str]]

    def positions(self, reason: str) -> NDArray[np.int64]:
        """Positions of the images that were selected for this reason."""
        return np.flatnonzero([reason in reasons for reasons in self.selected_as]).astype(np.int64)


def load_test_predictions(path: Path) -> pd.DataFrame:
    """One row per tested image, by image_id: prediction, and prob_<class> of each class.

    Of several runs that test an image the first counts, whose model explains it (`tested_by`).
    """
    table = load_predictions(path)
    tested = table[table["split"] == "test"].drop_duplicates("image_id")
    return tested.set_index("image_id")


def select_images(view: ImageSet, predictions: pd.DataFrame, cam: Cam, seed: int) -> Selection:
    """Test images drawn with the seed, the most confident errors, and the least certain ones.

    Only the drawn ones are a sample of the test images: figures over the others would be biased.

    Args:
        view: the images.
        predictions: of every tested image, as `load_test_predictions` gives them.
        cam: how many of each kind; where there are fewer, all of them.
        seed: of the draw.
    """
    names = view.info.class_names
    tested = np.flatnonzero(view.manifest["image_id"].isin(predictions.index))
    facts = predictions.loc[view.manifest["image_id"].iloc[tested]]
    predicted = facts["prediction"].map({name: i for i, name in enumerate(names)}).to_numpy()
    given = facts[probability_columns(names)].to_numpy()[np.arange(len(facts)), predicted]
    is_wrong = predicted != view.targets[tested]
    # Stable sorts: images of equal probability are taken in the order of the view.
    by_certainty = np.argsort(given, kind="stable")
    errors = np.argsort(np.where(is_wrong, -given, np.inf), kind="stable")[: is_wrong.sum()]
    chosen = {
        DRAWN: draw_test_images(
            view, tested, positive=cam.positive, negative=cam.negative, seed=seed
        ),
        ERROR: tested[errors[: cam.errors]],
        UNCERTAIN: tested[by_certainty[: cam.uncertain]],
    }
    rows = np.array(list(dict.fromkeys(np.concatenate(list(chosen.values())).tolist())), np.int64)
    at = np.searchsorted(tested, rows)
    return Selection(
        rows,
        predicted[at].astype(np.int64),
        given[at],
        [[reason for reason, those in chosen.items() if row in those] for row in rows],
    )


def draw_test_images(
    view: ImageSet, tested: NDArray[np.int64], *, positive: int, negative: int, seed: int
) -> NDArray[np.int64]:
    """Row numbers: first of the positive class, then of the others, as many as there are.

    The draw depends on the data set and the seed alone, so all cases show the same images. A case
    whose images are dealt anew shows those of them that it tests, then others that it tests.

    Args:
        view: the images.
        tested: (n,) rows that the case tests, rising.
        positive: how many of the positive class.
        negative: how many of the others.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    test = view.rows("test")
    is_positive = view.targets == view.info.positive_index
    orders = [rng.permutation(test[is_positive[test] == of]) for of in (True, False)]
    if not np.isin(test, tested).all():
        others = rng.permutation(np.setdiff1d(tested, test))
        orders = [
            np.concatenate([order[np.isin(order, tested)], others[is_positive[others] == of]])
            for order, of in zip(orders, (True, False), strict=True)
        ]
    return np.concatenate([orders[0][:positive], orders[1][:negative]])


def spread_over(positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the positions, evenly spread over them, so that all classes are met."""
    steps = np.linspace(0, len(positions) - 1, min(count, len(positions)))
    return positions[steps.round().astype(np.int64)]


def tested_by(
    runs: Sequence[Run], rows: NDArray[np.int64]
) -> Iterator[tuple[Run, NDArray[np.int64]]]:
    """Runs with the positions in `rows` of the images that they are the first to test."""
    left = np.ones(len(rows), dtype=bool)
    for run in runs:
        tested = left & np.isin(rows, run.rows("test"))
        if tested.any():
            left &= ~tested
            yield run, np.flatnonzero(tested)
