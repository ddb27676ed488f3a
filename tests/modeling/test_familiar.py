from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run
from stages.modeling.familiar import (
    FAMILIAR,
    FEATURES,
    GREY,
    PASSING,
    SIZE,
    Familiar,
    Looked,
    Respect,
    learn_familiar,
    load_familiar,
)
from tests.dataset.sample import COVID_CT

N_TRAIN, N_VAL = 300, 40
SPLITS = np.array(["train"] * N_TRAIN + ["val"] * N_VAL)
RUN = Run("", 1, 1, SPLITS)


def noise(count: int, *, level: int, seed: int) -> np.ndarray:
    """(count, 16, 16) of a mean and a spread that differ little."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 60, (count, 16, 16)) + level).astype(np.uint8)


def directions(count: int, axis: int, *, seed: int) -> np.ndarray:
    """(count, 32) that point nearly one way."""
    values = np.random.default_rng(seed).normal(0, 0.1, (count, 32))
    values[:, axis] += 5
    return values.astype(np.float32)


@pytest.fixture
def familiar() -> Familiar:
    manifest = pd.DataFrame({"width": [512] * len(SPLITS), "height": [400] * len(SPLITS)})
    images = noise(len(SPLITS), level=80, seed=0)
    view = ImageSet(COVID_CT, manifest, images, None, None, None)
    looked = Looked.of(RUN)
    features = directions(len(SPLITS), 0, seed=1)[looked.mask(len(SPLITS))]
    return learn_familiar(view, looked, features)


def test_the_share_that_passes_is_that_of_the_validation_images() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(200, 3)), rng.normal(size=(100, 3))
    unlike = Respect.fit(train, val).is_unlike(val)
    assert unlike.mean() == pytest.approx(1 - PASSING, abs=0.011)
    assert unlike.mean() <= 1 - PASSING


def test_the_distance_is_that_of_the_fifth_nearest() -> None:
    sample = np.array([[0.0], [1], [2], [3], [4], [100]])
    found = Respect.fit(sample, np.array([[0.0]]))
    assert found.threshold == 4
    assert found.is_unlike(np.array([[-1.0], [0.0]])).tolist() == [True, False]


def test_pictures_like_those_trained_on_pass_in_all_respects(familiar: Familiar) -> None:
    found = familiar.find_unlike(
        noise(200, level=80, seed=2), [(512, 400)] * 200, directions(200, 0, seed=3)
    )
    for respect in (SIZE, GREY, FEATURES):
        assert np.mean([respect in said for said in found]) < 0.15


def test_another_size_another_grey_and_other_features_are_told_apart(familiar: Familiar) -> None:
    usual = noise(1, level=80, seed=4), [(512, 400)], directions(1, 0, seed=5)
    assert SIZE in familiar.find_unlike(usual[0], [(1024, 400)], usual[2])[0]
    assert SIZE not in familiar.find_unlike(usual[0], [(500, 410)], usual[2])[0]
    assert GREY in familiar.find_unlike(noise(1, level=150, seed=4), *usual[1:])[0]
    assert FEATURES in familiar.find_unlike(*usual[:2], directions(1, 1, seed=5))[0]


def test_features_that_are_all_zero_have_no_direction(familiar: Familiar) -> None:
    none = np.zeros((1, 32), np.float32)
    assert FEATURES in familiar.find_unlike(noise(1, level=80, seed=4), [(512, 400)], none)[0]


def test_what_was_saved_says_the_same_and_is_small(familiar: Familiar, tmp_path: Path) -> None:
    familiar.save(tmp_path)
    loaded = load_familiar(tmp_path)
    pictures = noise(9, level=95, seed=6), [(512, 400)] * 9, directions(9, 0, seed=7)
    assert loaded.find_unlike(*pictures) == familiar.find_unlike(*pictures)
    assert (tmp_path / FAMILIAR).stat().st_size < 30_000  # 200 x 32 in half precision, and 2 x 4
    first = (tmp_path / FAMILIAR).read_bytes()
    familiar.save(tmp_path)
    assert (tmp_path / FAMILIAR).read_bytes() == first


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"familiar.safetensors: does not exist; .*dvc repro"):
        load_familiar(tmp_path)
    (tmp_path / FAMILIAR).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"is not a readable .safetensors file"):
        load_familiar(tmp_path)


def test_the_sample_is_of_training_images_and_the_seed_draws_it() -> None:
    looked = Looked.of(RUN)
    assert len(looked.train) == 200
    assert set(SPLITS[looked.train]) == {"train"}
    assert (looked.train == Looked.of(RUN).train).all()
    assert looked.mask(len(SPLITS)).sum() == 200 + N_VAL
