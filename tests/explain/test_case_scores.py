from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.dataset.image_set import ImageSet
from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.evaluation.statistics.records import Bootstrap
from stages.explain.case_scores import score_case
from stages.explain.explanation import Explanation
from stages.explain.selection import Selection
from tests.dataset.sample import info_of

SIDE, COUNT = 8, 5
DRAWS = Bootstrap(draws=100, seed=0)
NAN = float("nan")
# Lungs are the left half of each image; the three of covid have a lesion in its first two rows.
LABELS = ["covid", "covid", "covid", "normal", "normal"]


def view_of(*, truth: bool = True) -> ImageSet:
    bits = np.zeros((COUNT, SIDE, SIDE), np.uint8)
    bits[:, :, : SIDE // 2] = LUNG_BIT
    bits[:3, :2, : SIDE // 2] |= LESION_BIT
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(COUNT)],
            "group_id": [f"p{n}" for n in range(COUNT)],
            "label": LABELS,
        }
    )
    lungs = (bits & LUNG_BIT > 0).astype(np.uint8)
    return ImageSet(info_of(), manifest, np.zeros_like(bits), bits if truth else None, lungs, None)


# i2 is called normal; i4 was selected as an error only.
SELECTED = Selection(
    rows=np.arange(COUNT),
    predicted=np.array([1, 1, 0, 0, 1]),
    probabilities=np.array([0.9, 0.8, 0.7, 0.6, 0.99]),
    selected_as=[["drawn"], ["drawn"], ["drawn", "error"], ["drawn"], ["error"]],
)


def map_at(rows: slice, columns: slice) -> NDArray[np.float32]:
    cam = np.zeros((SIDE, SIDE), np.float32)
    cam[rows, columns] = 1
    return cam


LESION, LUNG, OUTSIDE = (
    map_at(slice(0, 2), slice(0, 4)),
    map_at(slice(4, 8), slice(0, 4)),
    map_at(slice(0, 8), slice(4, 8)),
)
EMPTY = np.zeros((SIDE, SIDE), np.float32)
MAPS = {
    "gradcam": np.stack([LESION, LUNG, OUTSIDE, EMPTY, OUTSIDE]),
    "eigencam": np.stack([LESION, LESION, OUTSIDE, LUNG, OUTSIDE]),
}


def scored(**changes: Any) -> dict[str, Any]:
    explanation = Explanation("layer4", MAPS, {}, {})._replace(**changes)
    return score_case(view_of(), SELECTED, explanation, DRAWS).to_json()


def mean_of(summary: dict[str, Any]) -> tuple[float, int]:
    return summary["mean"], summary["n"]


def test_each_image_says_what_was_decided_and_why_it_is_shown() -> None:
    image = scored()["images"][2]
    scores = [image.pop(method)["in_lungs"] for method in MAPS]
    assert scores == [0, 0]
    assert image == {
        "image_id": "i2",
        "group_id": "p2",
        "label": "covid",
        "prediction": "normal",
        "probability": 0.7,
        "selected_as": ["drawn", "error"],
    }


def test_means_are_over_the_images_drawn() -> None:
    # i0 and i1 are inside, i2 outside, i3 has no map; i4, outside, was not drawn.
    summary = scored()["summary"]
    assert mean_of(summary["gradcam"]["in_lungs"]) == (round(2 / 3, 6), 3)
    assert mean_of(summary["eigencam"]["in_lungs"]) == (0.75, 4)


def test_lesion_scores_are_over_right_predictions_with_lesions() -> None:
    summary = scored()["summary"]
    assert mean_of(summary["gradcam"]["peak_in_lesions"]) == (0.5, 2)
    assert mean_of(summary["eigencam"]["in_lesions"]) == (1, 2)


def test_empty_maps_are_counted() -> None:
    summary = scored()["summary"]
    assert mean_of(summary["gradcam"]["empty"]) == (0.25, 4)
    assert mean_of(summary["eigencam"]["empty"]) == (0, 4)


def test_baselines_are_scored_on_the_same_images() -> None:
    summary = scored()["summary"]
    assert list(summary) == ["gradcam", "eigencam", "constant", "gaussian"]
    assert mean_of(summary["constant"]["in_lungs"]) == (0.5, 4)
    assert mean_of(summary["constant"]["peak_in_lesions"]) == (8 / 64, 2)


def test_summaries_have_both_ends_of_their_interval() -> None:
    found = scored()["summary"]["gradcam"]["in_lungs"]
    assert set(found) == {"mean", "low", "high", "n"}
    assert 0 <= found["low"] < found["mean"] < found["high"] <= 1


def test_methods_are_compared_on_the_images_drawn() -> None:
    # Equal on i0 and i2, empty on i3; on i1 one marks the lesion and the other the lower lung.
    found = scored()["agreement"]["gradcam v eigencam"]
    assert found["n"] == 3
    assert 0 < found["mean"] < 1


def test_randomisation_and_road_are_summarised_by_method() -> None:
    found = scored(
        randomisation={
            ("gradcam", "head"): np.array([0.1, 0.3, 0.2, 0.2, 0.9]),
            ("gradcam", "all"): np.array([0.0, 0.0, 0.4, 0.0, 0.9]),
        },
        road={
            ("gradcam", "most_relevant_first"): np.array([-0.6, NAN, NAN, -0.2, NAN]),
            ("gradcam", "least_relevant_first"): np.array([-0.2, NAN, NAN, 0.0, NAN]),
        },
    )
    random, road = found["randomisation"]["gradcam"], found["road"]["gradcam"]
    assert mean_of(random["head"]) == (0.2, 4)
    assert mean_of(random["all"]) == (0.1, 4)
    assert road["n"] == 2
    assert mean_of(road["most_relevant_first"]) == (-0.4, 2)
    assert mean_of(road["combined"]) == (pytest.approx(0.15), 2)


def test_checks_that_were_not_made_are_left_out() -> None:
    found = scored()
    assert found["road"] == found["randomisation"] == {}


def test_eigencam_is_named_as_not_specific_to_a_class() -> None:
    assert scored()["not_class_specific"] == ["eigencam"]


def test_view_without_truth_has_no_lesion_scores() -> None:
    explanation = Explanation("layer4", MAPS, {}, {})
    found = score_case(view_of(truth=False), SELECTED, explanation, DRAWS)
    assert found.lung_masks == "segmentation"
    assert set(found.summary["gradcam"]) == {"in_lungs", "lungs_area", "empty"}
    assert set(found.to_json()["images"][0]["gradcam"]) == {"in_lungs", "lungs_area"}
