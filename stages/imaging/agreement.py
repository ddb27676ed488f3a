"""How well two masks agree."""

import numpy as np
from numpy.typing import NDArray


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float | None:
    """Dice's coefficient (1945), 2 |A and B| / (|A| + |B|), of two masks; None of empty ones."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else None
