import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.config.params import Augmentation
from stages.modeling.augment import Augmenter

NOTHING: dict[str, Any] = {
    "flip": 0.0,
    "rotate_deg": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
}
EVERYTHING: dict[str, Any] = {
    "flip": 0.5,
    "rotate_deg": 180,
    "scale": 0.9,
    "shift": 0.9,
    "brightness": 1.0,
    "contrast": 0.9,
    "noise": 1.0,
}
COUNT, SIDE = 64, 65


def augment(images: Tensor, *, seed: int = 0, **settings: Any) -> Tensor:
    augmentation = Augmentation.model_validate(NOTHING | settings)
    return Augmenter(augmentation, torch.Generator().manual_seed(seed))(images)


def random_images(count: int = 4, side: int = 32) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


def squares(x: int, y: int, half: int) -> Tensor:
    """COUNT equal images (COUNT, 1, SIDE, SIDE): a white square around (x, y) on black."""
    images = torch.zeros(COUNT, 1, SIDE, SIDE)
    images[..., y - half : y + half + 1, x - half : x + half + 1] = 1
    return images


def centroids(images: Tensor) -> Tensor:
    """(COUNT, 2): x and y of the centre of brightness, in pixels from the middle of the image."""
    grid = torch.arange(SIDE) - (SIDE - 1) / 2
    mass = images.sum(dim=(1, 2, 3))
    x, y = (images * grid).sum(dim=(1, 2, 3)), (images * grid[:, None]).sum(dim=(1, 2, 3))
    return torch.stack((x / mass, y / mass), dim=1)


def test_settings_of_zero_change_nothing() -> None:
    images = random_images()
    torch.testing.assert_close(augment(images), images, atol=1e-5, rtol=0)


def test_flip_of_probability_one_mirrors_left_and_right() -> None:
    images = random_images()
    torch.testing.assert_close(augment(images, flip=1), images.flip(-1), atol=1e-5, rtol=0)


def test_flip_of_one_half_mirrors_some_images_of_a_batch() -> None:
    images = squares(x=10, y=32, half=2)
    mirrored = int((centroids(augment(images, flip=0.5))[:, 0] > 0).sum())
    assert 12 <= mirrored <= 52  # 64 draws of 1/2: 32, and five standard deviations of 4


@pytest.mark.parametrize(
    "setting", ["rotate_deg", "scale", "shift", "brightness", "contrast", "noise"]
)
def test_each_image_of_a_batch_is_changed_by_its_own_draw(setting: str) -> None:
    images = random_images(count=1).expand(6, -1, -1, -1)
    amount: dict[str, Any] = {setting: 20 if setting == "rotate_deg" else 0.3}
    changed = augment(images, **amount)
    pairs = [(changed[i], changed[j]) for i in range(6) for j in range(i)]
    assert all((one - other).abs().max() > 1e-4 for one, other in pairs)


def test_shift_is_a_share_of_the_side() -> None:
    moved = centroids(augment(squares(x=32, y=32, half=2), shift=0.2)).abs()
    assert moved.max() <= 0.2 * SIDE + 0.1
    assert (moved.max(dim=0).values > 0.16 * SIDE).all()  # 64 draws come near the limit


def test_scale_zooms_between_one_minus_and_one_plus_it() -> None:
    square = squares(x=32, y=32, half=8)
    area = augment(square, scale=0.3).sum(dim=(1, 2, 3)) / square[0].sum()
    zoom = area.sqrt()
    assert zoom.min() == pytest.approx(0.7, abs=0.05)
    assert zoom.max() == pytest.approx(1.3, abs=0.05)


def test_rotation_turns_up_to_the_angle_both_ways_about_the_middle() -> None:
    x, y = centroids(augment(squares(x=52, y=32, half=2), rotate_deg=30)).unbind(dim=1)
    angle = torch.atan2(y, x) * 180 / math.pi
    torch.testing.assert_close(torch.hypot(x, y), torch.full((COUNT,), 20.0), atol=0.2, rtol=0)
    assert angle.abs().max() <= 30.5
    assert angle.min() < -25
    assert angle.max() > 25


def test_brightness_moves_mid_grey_within_its_limits() -> None:
    grey = augment(torch.full((COUNT, 1, 4, 4), 0.5), brightness=0.2)
    assert grey.min() >= 0.3 - 1e-6
    assert grey.max() <= 0.7 + 1e-6
    assert grey.max() - grey.min() > 0.3


def test_contrast_leaves_mid_grey_as_it_is_and_spreads_the_rest_around_it() -> None:
    images = torch.tensor([0.3, 0.5, 0.7]).expand(COUNT, 1, 3, 3)
    changed = augment(images, contrast=0.5)[:, 0, 1]
    torch.testing.assert_close(changed[:, 1], torch.full((COUNT,), 0.5))
    torch.testing.assert_close(changed[:, 0] + changed[:, 2], torch.ones(COUNT))
    factor = (changed[:, 2] - 0.5) / 0.2
    assert factor.min() == pytest.approx(0.5, abs=0.1)
    assert factor.max() == pytest.approx(1.5, abs=0.1)


def test_noise_has_the_standard_deviation_asked_for() -> None:
    noisy = augment(torch.full((4, 1, 64, 64), 0.5), noise=0.05)
    assert noisy.std().item() == pytest.approx(0.05, rel=0.05)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.005)


def test_strongest_settings_keep_the_grey_values_between_zero_and_one() -> None:
    changed = augment(random_images(count=32), **EVERYTHING)
    assert changed.shape == (32, 1, 32, 32)
    assert changed.isfinite().all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    images = random_images()
    first = augment(images, seed=5, **EVERYTHING)
    assert torch.equal(first, augment(images, seed=5, **EVERYTHING))
    assert not torch.equal(first, augment(images, seed=6, **EVERYTHING))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    augment(random_images(), **EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before)
