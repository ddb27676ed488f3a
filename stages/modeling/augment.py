"""Random changes of training images, drawn for each image of a batch by itself."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from stages.config.params import Augmentation


class Augmenter:
    """Flip, rotation, zoom, shift in one resampling, then contrast, brightness and noise."""

    def __init__(self, settings: Augmentation, generator: torch.Generator) -> None:
        self._settings = settings
        self._generator = generator

    def __call__(self, images: Tensor) -> Tensor:
        """Change images (B, 1, H, W) in [0, 1]; the result stays in [0, 1]."""
        moved = functional.grid_sample(
            images,
            functional.affine_grid(
                self._matrices(len(images)).to(images), list(images.shape), align_corners=False
            ),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        return self._change_intensity(moved)

    def _matrices(self, count: int) -> Tensor:
        """(B, 2, 3) maps from output to input coordinates, both in [-1, 1]."""
        s = self._settings
        angle = self._uniform(count, math.radians(s.rotate_deg))
        zoom = 1 / (1 + self._uniform(count, s.scale))
        flip = 1 - 2 * (self._random(count) < s.flip).float()
        shift_x, shift_y = self._uniform(count, 2 * s.shift), self._uniform(count, 2 * s.shift)
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        rows = (flip * cos, -flip * sin, shift_x, sin, cos, shift_y)
        return torch.stack(rows, dim=1).view(count, 2, 3)

    def _change_intensity(self, images: Tensor) -> Tensor:
        s, count = self._settings, len(images)
        contrast = (1 + self._uniform(count, s.contrast)).view(-1, 1, 1, 1).to(images)
        brightness = self._uniform(count, s.brightness).view(-1, 1, 1, 1).to(images)
        noise = torch.randn(images.shape, generator=self._generator).to(images) * s.noise
        # Around mid-grey: the mean of an image would tie its brightness to its padding.
        return ((images - 0.5) * contrast + 0.5 + brightness + noise).clamp(0, 1)

    def _random(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)

    def _uniform(self, count: int, half_width: float) -> Tensor:
        return (2 * self._random(count) - 1) * half_width
