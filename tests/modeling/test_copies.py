from pathlib import Path

import numpy as np
import pytest
import torch

from stages.config.params import Augmentation
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import load_runs, plan_runs, save_runs
from stages.dataset.split import find_cut_groups
from stages.modeling.augment import Augmenter
from stages.modeling.copies import with_copies
from tests.dataset.sample import info_of
from tests.dataset.test_runs import MANIFEST

STILL = dict.fromkeys(
    ("flip", "flip_vertical", "rotate_deg", "scale", "shift", "brightness", "contrast", "noise"), 0
)


def augmenter(**changes: float) -> Augmenter:
    settings = Augmentation.model_validate({**STILL, "crop_area": 1, **changes})
    return Augmenter(settings, torch.Generator().manual_seed(0))


@pytest.fixture
def view() -> ImageSet:
    """120 images of 60 patients."""
    images = np.random.default_rng(0).integers(0, 256, (len(MANIFEST), 4, 4), dtype=np.uint8)
    return ImageSet(info_of(), MANIFEST, images, None, np.ones_like(images), None)


def test_copies_stand_behind_all_images_under_names_of_their_own(view: ImageSet) -> None:
    found = with_copies(view, 2, augmenter(flip=1.0))
    assert len(found.images) == len(found.manifest) == 360
    assert found.manifest["image_id"].is_unique
    assert found.manifest["image_id"].iloc[[0, 120, 240]].tolist() == [
        *("normal0-0", "normal0-0+copy1", "normal0-0+copy2")
    ]
    for column in ("label", "group_id", "sha256"):
        assert found.manifest[column].tolist() == MANIFEST[column].tolist() * 3
    np.testing.assert_array_equal(found.images[:120], view.images)
    np.testing.assert_array_equal(found.images[120:240], view.images[:, :, ::-1])


def test_where_the_lungs_of_a_copy_are_is_not_known(view: ImageSet) -> None:
    found = with_copies(view, 1, augmenter())
    assert found.lung_masks is not None
    assert found.lung_masks[:120].all()
    assert not found.lung_masks[120:].any()


def test_every_copy_is_changed_in_another_way(view: ImageSet) -> None:
    first, second = with_copies(view, 2, augmenter(brightness=0.5)).images[120:].reshape(2, -1)
    assert (first != second).mean() > 0.5


def test_without_copies_a_view_stays_as_it_is(view: ImageSet) -> None:
    assert with_copies(view, 0, augmenter()) is view


def test_an_image_and_its_copies_are_dealt_into_training_and_test(view: ImageSet) -> None:
    manifest = with_copies(view, 2, augmenter()).manifest
    (run,) = plan_runs(manifest, folds=1, held_out="both", grouping="none", seeds=[0], seed=0)
    originals = manifest["image_id"].str.partition("+")[0].to_numpy(str)
    assert len(find_cut_groups(originals, run.splits)) > 40


def test_runs_of_a_case_with_copies_fit_the_view_that_has_none(
    view: ImageSet, tmp_path: Path
) -> None:
    manifest = with_copies(view, 2, augmenter()).manifest
    runs = plan_runs(manifest, folds=2, held_out="test", grouping="none", seeds=[0], seed=0)
    save_runs(tmp_path, manifest, runs)
    for run, loaded in zip(runs, load_runs(tmp_path).on(MANIFEST), strict=True):
        assert loaded.splits.tolist() == run.splits[:120].tolist()
