import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import Tensor

from stages.explain.imputation import FastImputer

SIDE = 24


def random_image(channels: int = 1) -> Tensor:
    return torch.rand(channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def mask_without(share: float, seed: int = 0) -> Tensor:
    """1 where a pixel is known; whole regions are missing, at the border too."""
    blocks = np.random.default_rng(seed).random((SIDE // 4, SIDE // 4)) >= share
    return torch.from_numpy(blocks.repeat(4, axis=0).repeat(4, axis=1).astype(np.float32))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_pixels_are_those_of_the_library(share: float, noise: float) -> None:
    image, mask = random_image(channels=2), mask_without(share)
    filled = []
    for imputer in (NoisyLinearImputer(noise), FastImputer(noise)):
        torch.manual_seed(5)
        filled.append(imputer(image, mask))
    torch.testing.assert_close(filled[1], filled[0], rtol=0, atol=1e-6)


def test_known_pixels_stay_and_the_image_given_too() -> None:
    image, mask = random_image(), mask_without(0.5)
    before = image.clone()
    filled = FastImputer()(image, mask)
    assert torch.equal(filled[:, mask == 1], image[:, mask == 1])
    assert torch.equal(image, before)


def test_a_grey_that_is_even_stays_even() -> None:
    filled = FastImputer(noise=0)(torch.full((1, SIDE, SIDE), 0.3), mask_without(0.7))
    torch.testing.assert_close(filled, torch.full((1, SIDE, SIDE), 0.3))


def test_each_mask_has_its_own_equations_whatever_came_before() -> None:
    image, imputer = random_image(), FastImputer(noise=0)
    masks = [mask_without(0.5, seed) for seed in (1, 1, 2, 1)]
    for mask in masks:
        assert torch.equal(imputer(image, mask), FastImputer(noise=0)(image, mask))
