"""Where a map lies, in numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def score_map(
    cam: NDArray[np.float32], lungs: NDArray[np.bool_], lesions: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Shares of one map (S, S) in [0, 1] inside the lungs and, where known, inside the lesions.

    `lungs_area` is what a constant map would reach: crops differ in it, so a share means little
    without it. An all-zero map has no share and no peak (None).
    """
    scores: dict[str, Any] = {
        "in_lungs": _share(cam, lungs),
        "lungs_area": round(float(lungs.mean()), 6),
    }
    if lesions is not None and lesions.any():
        scores["in_lesions"] = _share(cam, lesions)
        scores["lesions_area"] = round(float(lesions.mean()), 6)
        scores["peak_in_lesions"] = bool(lesions.flat[cam.argmax()]) if cam.any() else None
    return scores


def _share(cam: NDArray[np.float32], region: NDArray[np.bool_]) -> float | None:
    total = float(cam.sum())
    return round(float(cam[region].sum()) / total, 6) if total > 0 else None
