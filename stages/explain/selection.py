"""Which test images are explained, and by which model of a case."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.imaging.image_set import ImageSet
from stages.imaging.runs import Run


def draw_test_images(
    view: ImageSet, *, positive: int, negative: int, seed: int
) -> NDArray[np.int64]:
    """Row numbers: first of the positive class, then of the others, as many as there are.

    The draw depends on the data set and the seed alone, so all cases show the same images.
    """
    rng = np.random.default_rng(seed)
    test = view.rows("test")
    is_positive = view.targets[test] == view.info.positive_index
    drawn = [
        rng.permutation(test[mask])[:wanted]
        for mask, wanted in ((is_positive, positive), (~is_positive, negative))
    ]
    return np.concatenate(drawn)


def tested_by(
    runs: Sequence[Run], rows: NDArray[np.int64]
) -> Iterator[tuple[Run, NDArray[np.int64]]]:
    """Runs with the positions in `rows` of the images that they are the first to test."""
    left = np.ones(len(rows), dtype=bool)
    for run in runs:
        tested = left & (run.splits[rows] == "test")
        if tested.any():
            left &= ~tested
            yield run, np.flatnonzero(tested)
