"""Where a map lies, in numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.explain.explanation import Explanation
from stages.imaging.image_set import ImageSet
from stages.sources.item import LESION_BIT, LUNG_BIT


def score_images(
    view: ImageSet, rows: NDArray[np.int64], explanation: Explanation
) -> list[dict[str, Any]]:
    """Per image of `rows`: who it is, what was predicted, and the scores of each method's map."""
    scores = []
    for number, row in enumerate(rows):
        lungs, lesions = _regions(view, row)
        facts = view.manifest.iloc[row]
        predicted = int(explanation.probabilities[number].argmax())
        scores.append(
            {
                "image_id": facts["image_id"],
                "group_id": facts["group_id"],
                "label": facts["label"],
                "prediction": view.info.class_names[predicted],
                **{
                    method: score_map(cams[number], lungs, lesions)
                    for method, cams in explanation.maps.items()
                },
            }
        )
    return scores


def _regions(view: ImageSet, row: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Lungs and lesions of one image: the truth where it is known, else the segmentation."""
    if view.truth is not None:
        truth = np.asarray(view.truth[row])
        return (truth & LUNG_BIT) > 0, (truth & LESION_BIT) > 0
    assert view.lung_masks is not None  # a view has them
    return np.asarray(view.lung_masks[row]) > 0, None


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
