import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from stages.config.params import Augmentation
from stages.modeling.augment import Augmenter, Mixup

NOTHING: dict[str, Any] = {
    "flip": 0.0,
    "flip_vertical": 0.0,
    "crop_area": 1.0,
    "rotate_deg": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
}
EVERYTHING: dict[str, Any] = {
    "flip": 0.5,
    "flip_vertical": 0.5,
    "crop_area": 0.1,
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


def crop_windows(crop_area: float, count: int) -> Tensor:
    """(count, 4): x0, y0, x1, y1 of windows as shares of the sides, read off two ramps.

    A crop of a picture whose grey value is its own x shows the window's x0 at its left border and
    x1 at its right one; the same seed draws the same windows for the ramp of y.
    """
    ramp = torch.linspace(0, 1, 5).expand(count, 1, 5, 5)
    of_x = augment(ramp, crop_area=crop_area)[:, 0, 2]
    of_y = augment(ramp.mT, crop_area=crop_area)[:, 0, :, 2]
    return torch.stack((of_x[:, 0], of_y[:, 0], of_x[:, -1], of_y[:, -1]), dim=1)


def test_settings_that_are_all_off_change_nothing() -> None:
    images = random_images()
    torch.testing.assert_close(augment(images), images, atol=1e-5, rtol=0)


def test_images_given_are_left_as_they_are() -> None:
    images = random_images()
    before = images.clone()
    augment(images, **EVERYTHING)
    assert torch.equal(images, before)


def test_flip_of_probability_one_mirrors_left_and_right() -> None:
    images = random_images()
    torch.testing.assert_close(augment(images, flip=1), images.flip(-1), atol=1e-5, rtol=0)


def test_vertical_flip_of_probability_one_mirrors_top_and_bottom() -> None:
    images = random_images()
    torch.testing.assert_close(augment(images, flip_vertical=1), images.flip(-2), atol=1e-5, rtol=0)


def test_both_flips_and_no_other_change_turn_the_image_by_half() -> None:
    images = random_images()
    turned = augment(images, flip=1, flip_vertical=1)
    torch.testing.assert_close(turned, images.flip(-1, -2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("setting", "axis"), [("flip", 0), ("flip_vertical", 1)])
def test_flip_of_one_half_mirrors_some_images_of_a_batch(setting: str, axis: int) -> None:
    half: dict[str, Any] = {setting: 0.5}
    changed = augment(squares(x=10, y=10, half=2), **half)
    mirrored = int((centroids(changed)[:, axis] > 0).sum())
    assert 12 <= mirrored <= 52  # 64 draws of 1/2: 32, and five standard deviations of 4


@pytest.mark.parametrize("crop_area", [0.01, 0.3, 0.9])
def test_crop_takes_nothing_from_outside_the_image(crop_area: float) -> None:
    white = torch.ones(500, 1, 16, 16)
    torch.testing.assert_close(augment(white, crop_area=crop_area), white, atol=1e-5, rtol=0)


def test_crop_windows_have_their_areas_evenly_between_the_least_and_one() -> None:
    x0, y0, x1, y1 = crop_windows(0.25, count=2000).unbind(dim=1)
    area = (x1 - x0) * (y1 - y0)
    assert area.min() >= 0.25 - 1e-5
    assert area.max() <= 1 + 1e-5
    # Even between 1/4 and 1: mean 5/8, standard deviation 0.75 / sqrt(12 * 2000) = 0.0048.
    assert area.mean().item() == pytest.approx(0.625, abs=0.024)
    assert (area < 0.4375).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_crop_windows_have_log_uniform_aspects_of_at_most_four_to_three() -> None:
    x0, y0, x1, y1 = crop_windows(0.25, count=2000).unbind(dim=1)
    width, height = x1 - x0, y1 - y0
    log_aspect = (width / height).log() / math.log(4 / 3)
    assert log_aspect.abs().max() <= 1 + 1e-4
    free = log_aspect[width * height < 0.75]  # larger windows do not fit at every aspect
    assert free.mean().item() == pytest.approx(0, abs=0.08)  # 0.577 / sqrt(1300) = 0.016
    assert free.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.04)


@pytest.mark.parametrize("axis", [0, 1])
def test_crop_windows_lie_evenly_wherever_they_fit(axis: int) -> None:
    windows = crop_windows(0.25, count=2000)
    start, side = windows[:, axis], windows[:, axis + 2] - windows[:, axis]
    place = (start / (1 - side))[side < 0.9]  # 0 at one border, 1 at the other
    assert place.min() >= -1e-4
    assert place.max() <= 1 + 1e-4
    assert place.mean().item() == pytest.approx(0.5, abs=0.04)  # 0.289 / sqrt(1600) = 0.007
    assert place.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_crop_stretches_its_window_to_the_whole_image() -> None:
    images = random_images(count=1, side=5)
    x0, y0, x1, y1 = crop_windows(0.25, count=1)[0].tolist()
    x = torch.linspace(2 * x0 - 1, 2 * x1 - 1, 5).expand(5, 5)
    y = torch.linspace(2 * y0 - 1, 2 * y1 - 1, 5)[:, None].expand(5, 5)
    expected = grid_sample(images, torch.stack((x, y), dim=2)[None], align_corners=True)
    torch.testing.assert_close(augment(images, crop_area=0.25), expected, atol=1e-5, rtol=0)


def test_flips_mirror_what_was_cropped() -> None:
    images = random_images()
    torch.testing.assert_close(
        augment(images, crop_area=0.25, flip=1, flip_vertical=1),
        augment(images, crop_area=0.25).flip(-1, -2),
        atol=1e-5,
        rtol=0,
    )


def test_shift_after_a_crop_is_a_share_of_what_was_cropped() -> None:
    ramp = torch.linspace(0, 1, 5).expand(COUNT, 1, 5, 5)
    for images in (ramp, ramp.mT):
        cropped = augment(images, crop_area=0.25)[:, 0]
        shifted = augment(images, shift=0.1)[:, 0]
        both = augment(images, crop_area=0.25, shift=0.1)[:, 0]
        side = cropped[:, -1, -1] - cropped[:, 0, 0]
        expected = cropped[:, 2, 2] + side * (shifted[:, 2, 2] - 0.5)
        torch.testing.assert_close(both[:, 2, 2], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("setting", "amount"),
    [
        ("crop_area", 0.5),
        ("rotate_deg", 20),
        ("scale", 0.3),
        ("shift", 0.3),
        ("brightness", 0.3),
        ("contrast", 0.3),
        ("noise", 0.3),
    ],
)
def test_each_image_of_a_batch_is_changed_by_its_own_draw(setting: str, amount: float) -> None:
    images = random_images(count=1).expand(6, -1, -1, -1)
    only: dict[str, Any] = {setting: amount}
    changed = augment(images, **only)
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


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixed_images_have_their_share_and_the_rest_from_their_partners() -> None:
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(4, 1, 1, 1)
    mixed = Mixup(0.4, generator())(images)
    assert sorted(mixed.partners.tolist()) == [0, 1, 2, 3]
    for position, partner in enumerate(mixed.partners.tolist()):
        expected = mixed.share * images[position] + (1 - mixed.share) * images[partner]
        torch.testing.assert_close(mixed.images[position], expected)


def test_shares_are_those_of_a_beta_distribution_from_its_middle_up() -> None:
    image = torch.zeros(1, 1, 1, 1)
    for alpha, mean in ((1.0, 3 / 4), (1e-6, 1.0)):  # even in [0.5, 1]; nearly always 1
        mixup = Mixup(alpha, generator())
        shares = [mixup(image).share for _ in range(1000)]
        assert min(shares) >= 0.5
        assert sum(shares) / 1000 == pytest.approx(mean, abs=0.02)


def test_the_same_seed_mixes_alike_and_another_differently() -> None:
    images = torch.rand(16, 1, 2, 2)
    one, same, other = (Mixup(1.0, generator(seed))(images).images for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
