from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.evaluation.intervals import Scored, metrics_with_intervals
from stages.evaluation.shortcuts import (
    PROBES,
    border_features,
    file_features,
    lungs_only_features,
    no_lungs_features,
    probe_probabilities,
    whole_features,
)
from stages.imaging.image_set import DatasetInfo, ImageSet

PATIENTS = 60
SIDE = 32
INFO = DatasetInfo("ct", "somewhere", False, "ct", ["normal", "covid"], "covid", 120, 0, 0, [], {})
# Lungs are a block in the middle; the rest of the view is outside.
LUNGS = np.zeros((SIDE, SIDE), np.uint8)
LUNGS[8:24, 8:24] = 1


def view_of(images: NDArray[np.uint8], **columns: Any) -> ImageSet:
    """A view of these images, two of a patient, patients covid and normal by turns."""
    patients = np.arange(len(images)) // 2
    lungs = np.kron(LUNGS, np.ones((images.shape[1] // SIDE,) * 2, np.uint8))
    facts: dict[str, Any] = {"width": 512, "height": 400, "mode": "L", "format": "PNG"}
    manifest = pd.DataFrame(
        {
            "label": np.where(patients % 2 == 1, "covid", "normal"),
            "group_id": [f"g{patient}" for patient in patients],
        }
    ).assign(**(facts | columns))
    return ImageSet(
        info=INFO,
        manifest=manifest,
        images=images,
        truth=None,
        lung_masks=np.broadcast_to(lungs, images.shape),
        boxes=None,
    )


def noise() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return rng.integers(60, 200, (2 * PATIENTS, SIDE, SIDE), dtype=np.uint8)


def is_covid() -> NDArray[np.bool_]:
    return (np.arange(2 * PATIENTS) // 2) % 2 == 1


def auroc_of(probe: str, view: ImageSet) -> dict[str, float | None]:
    groups = view.manifest["group_id"].to_numpy()
    probabilities = probe_probabilities(PROBES[probe](view), view.targets, groups, folds=5, seed=0)
    assert probabilities.shape == (len(groups), 2)
    table = metrics_with_intervals(
        Scored(view.targets, probabilities, probabilities.argmax(axis=1), groups),
        class_names=INFO.class_names,
        positive=1,
        draws=300,
        seed=0,
    )
    return {end: table.values[f"auroc{end}"] for end in ("", "_low", "_high")}


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_finds_nothing_where_there_is_nothing(probe: str) -> None:
    found = auroc_of(probe, view_of(noise()))
    assert found["_low"] is not None
    assert found["_high"] is not None
    assert found["_low"] <= 0.5 <= found["_high"]


def test_the_file_probe_finds_a_class_that_comes_in_another_size() -> None:
    view = view_of(noise(), width=np.where(is_covid(), 640, 512))
    assert auroc_of("file", view)[""] == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["mode", "format"])
def test_the_file_probe_finds_a_class_that_comes_in_another_kind_of_file(column: str) -> None:
    values = {"mode": ("RGB", "L"), "format": ("JPEG", "PNG")}[column]
    view = view_of(noise(), **{column: np.where(is_covid(), *values)})
    assert auroc_of("file", view)[""] == pytest.approx(1.0)


def test_the_file_probe_looks_at_no_pixel() -> None:
    same = file_features(view_of(noise()))
    np.testing.assert_array_equal(same, file_features(view_of(np.zeros_like(noise()))))


def test_a_square_in_the_corner_is_found_at_the_border_and_not_in_the_lungs() -> None:
    images = noise()
    images[is_covid(), :3, :3] = 255
    view = view_of(images)
    for probe in ("border", "no_lungs", "whole"):
        low = auroc_of(probe, view)["_low"]
        assert low is not None
        assert low > 0.8, probe
    inside = auroc_of("lungs_only", view)
    assert inside["_low"] is not None
    assert inside["_low"] <= 0.5


def test_a_change_in_the_lungs_is_found_there_and_not_around_them() -> None:
    images = noise()
    images[is_covid(), 12:18, 12:18] = 230
    view = view_of(images)
    low = auroc_of("lungs_only", view)["_low"]
    assert low is not None
    assert low > 0.8
    for probe in ("no_lungs", "border"):
        around = auroc_of(probe, view)["_low"]
        assert around is not None
        assert around <= 0.5, probe


def thumbnails(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return features.reshape(-1, 16, 16)


def test_what_a_probe_may_not_see_is_black() -> None:
    white = view_of(np.full((4, SIDE, SIDE), 200, np.uint8))
    inside = np.zeros((16, 16), dtype=bool)
    inside[4:12, 4:12] = True  # LUNGS at half the size
    without = thumbnails(no_lungs_features(white))
    assert (without[:, inside] == 0).all()
    assert (without[:, ~inside] == 200).all()
    only = thumbnails(lungs_only_features(white))
    assert (only[:, inside] == 200).all()
    assert (only[:, ~inside] == 0).all()
    assert (thumbnails(whole_features(white)) == 200).all()


def test_the_border_is_a_frame_of_a_tenth_of_the_side() -> None:
    white = view_of(np.full((4, 160, 160), 200, np.uint8))
    seen = thumbnails(border_features(white))[0]
    # 16 of 160 px are 1.6 of 16: one whole row and 0.6 of the next on each side.
    assert seen[0, 0] == 200
    assert seen[1, 8] == pytest.approx(120, abs=1)
    assert (seen[2:14, 2:14] == 0).all()


def test_no_patient_is_scored_by_a_model_that_saw_him() -> None:
    # A feature that names the patient tells nothing of patients that were not seen.
    patients = np.arange(2 * PATIENTS) // 2
    features = np.eye(PATIENTS)[patients]
    targets = (patients % 2).astype(np.int64)
    groups = np.array([f"g{patient}" for patient in patients])
    scores = probe_probabilities(features, targets, groups, folds=5, seed=0)[:, 1]
    assert np.ptp(scores) < 0.2
    assert abs(scores[targets == 1].mean() - scores[targets == 0].mean()) < 0.02


def test_probabilities_depend_on_the_seed_of_the_folds_alone() -> None:
    view = view_of(noise())
    groups = view.manifest["group_id"].to_numpy()
    features = whole_features(view)
    first, again, other = (
        probe_probabilities(features, view.targets, groups, folds=3, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
