from pathlib import Path

import numpy as np
import pytest
import torch

from stages.config.params import Augmentation, Pretext
from stages.modeling.compute import Hardware
from stages.modeling.pretext import draw_pretext_images, learn_pretext_weights
from tests.modeling.recipes import recipe_with

SIDE = 32

NO_CHANGE = Augmentation(
    flip=0,
    flip_vertical=0,
    crop_area=1,
    rotate_deg=0,
    scale=0,
    shift=0,
    brightness=0,
    contrast=0,
    noise=0,
)


def test_every_patient_is_drawn_once_with_each_pattern() -> None:
    images, targets = draw_pretext_images(19, SIDE, seed=0)
    assert images.shape == (18, SIDE, SIDE)
    assert images.dtype == np.uint8
    assert targets.tolist() == [0, 1, 2] * 6
    assert len(np.unique(images.reshape(18, -1), axis=0)) == 18


def test_the_pictures_of_a_patient_differ_in_their_lesions_alone() -> None:
    images, _ = draw_pretext_images(60, 48, seed=0)
    patients = images.reshape(20, 3, -1).astype(float)
    within = np.abs(patients[:, 0] - patients[:, 2]).mean()
    between = np.abs(patients[:-2, 0] - patients[2:, 0]).mean()  # of one modality
    assert within < between / 2


def test_pretext_images_depend_on_the_seed_alone() -> None:
    first, again, other = (draw_pretext_images(6, SIDE, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pretext_training_gives_a_backbone_its_scaling_and_its_figures(tmp_path: Path) -> None:
    initial = learn_pretext_weights(
        "test_resnet",
        Pretext(images=60, size_px=SIDE, augment="none", recipe="short"),
        recipe_with(epochs=1, batch_size=16, schedule="onecycle"),
        NO_CHANGE,
        seed=0,
        hardware=Hardware("cpu", "fp32"),
        scratch=tmp_path / "scratch",
    )
    assert initial.backbone(torch.zeros(2, 1, SIDE, SIDE)).shape == (2, 96)
    assert (initial.mean, initial.std) == (0.5, 0.25)
    knows = initial.facts["knows"]
    assert (knows["task"], knows["n"]) == ("lesion pattern of phantoms", 9)
    assert knows["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert 0 <= knows["low"] <= knows["accuracy"] <= knows["high"] <= 1
    assert list(tmp_path.iterdir()) == []
