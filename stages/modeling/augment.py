"""Random changes of training images, drawn for each image of a batch by itself."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.config.params import Augmentation

# Width over height lies between 3/4 and 4/3, the range of torchvision's RandomResizedCrop.
MAX_LOG_ASPECT = math.log(4 / 3)


class _CropWindows(NamedTuple):
    """One window per image, each field (B,).

    Attributes:
        width: share of the image's width, in (0, 1].
        height: share of the image's height, in (0, 1].
        center_x: middle of the window between the left (-1) and the right (1) border.
        center_y: middle of the window between the upper (-1) and the lower (1) border.
    """

    width: Tensor
    height: Tensor
    center_x: Tensor
    center_y: Tensor


class Augmenter:
    """Crop, flips, rotation, zoom, shift in one resampling; then contrast, brightness and noise.

    Attributes:
        generator: that all is drawn from.
    """

    def __init__(self, settings: Augmentation, generator: torch.Generator) -> None:
        self._settings = settings
        self.generator = generator

    def __call__(self, images: Tensor) -> Tensor:
        """Change images (B, 1, H, W) in [0, 1], in fp32; the result stays in [0, 1]."""
        return self._change_intensity(self._move(images) if self._moves() else images)

    def _moves(self) -> bool:
        s = self._settings
        moves = (s.flip, s.flip_vertical, 1 - s.crop_area, s.rotate_deg, s.scale, s.shift)
        return any(moves)

    def _move(self, images: Tensor) -> Tensor:
        # Aligned corners: -1 and 1 are the centres of the border pixels, so a window that touches
        # the border takes no share of the black outside.
        matrices = _beside(self._matrices(len(images)), images)
        grid = functional.affine_grid(matrices, list(images.shape), align_corners=True)
        return functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=True
        )

    def _matrices(self, count: int) -> Tensor:
        """(B, 2, 3) maps from output to input coordinates, both in [-1, 1].

        The window is cut out and stretched to the whole square first; what it becomes is turned,
        zoomed, shifted and mirrored. Read from output to input, the window comes last.
        """
        s = self._settings
        window = self._crop_windows(count)
        angle = self._uniform(count, math.radians(s.rotate_deg))
        zoom = 1 / (1 + self._uniform(count, s.scale))
        shift_x, shift_y = self._uniform(count, 2 * s.shift), self._uniform(count, 2 * s.shift)
        x = window.width * self._mirror(count, s.flip)
        y = window.height * self._mirror(count, s.flip_vertical)
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        to_x = (x * cos, -x * sin, x * shift_x + window.center_x)
        to_y = (y * sin, y * cos, y * shift_y + window.center_y)
        return torch.stack((*to_x, *to_y), dim=1).view(count, 2, 3)

    def _crop_windows(self, count: int) -> _CropWindows:
        """Windows inside the image, their areas even in crop_area..1, their aspects log-uniform.

        A window of more than 3/4 of the area fits at a narrower range of aspects only. torchvision
        draws area and aspect again until they fit, which favours small areas.
        """
        log_area = (1 - self._random(count) * (1 - self._settings.crop_area)).log()
        log_aspect = self._uniform(count, (-log_area).clamp(max=MAX_LOG_ASPECT))
        width = ((log_area + log_aspect) / 2).exp()
        height = ((log_area - log_aspect) / 2).exp()
        center_x, center_y = self._uniform(count, 1 - width), self._uniform(count, 1 - height)
        return _CropWindows(width, height, center_x, center_y)

    def _change_intensity(self, images: Tensor) -> Tensor:
        s, count = self._settings, len(images)
        contrast = 1 + self._uniform(count, s.contrast)
        middle = 0.5 + self._uniform(count, s.brightness)
        factors = _beside(torch.stack((contrast, middle)), images).view(2, -1, 1, 1, 1)
        # Around mid-grey: the mean of an image would tie its brightness to its padding.
        changed = (images - 0.5).mul_(factors[0]).add_(factors[1])
        if s.noise:
            noise = torch.randn(images.shape, generator=self.generator)
            changed.add_(_beside(noise, images), alpha=s.noise)
        return changed.clamp_(0, 1)

    def _mirror(self, count: int, probability: float) -> Tensor:
        """(B,) of -1 with this probability, else 1."""
        return 1 - 2 * (self._random(count) < probability).float()

    def _uniform(self, count: int, half_width: float | Tensor) -> Tensor:
        """(B,) even between -half_width and half_width."""
        return (2 * self._random(count) - 1) * half_width

    def _random(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator)


class Mixed(NamedTuple):
    """A batch of mixed images.

    Attributes:
        images: (B, 1, H, W), each with its own share and the rest from its partner.
        partners: (B,) position of the partner of each image in the batch; some are their own.
        share: of every image in what it became, in [0.5, 1].
    """

    images: Tensor
    partners: Tensor
    share: float


class Mixup:
    """Images mixed in pairs.

    It is eq. 1 of Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization". A batch is mixed
    with a permutation of itself, by one share from Beta(alpha, alpha). A share under 1/2 is counted
    from the other side: over all permutations these are the same pairs, and the first of a pair is
    the one that there is more of.

    Attributes:
        generator: that all is drawn from.
    """

    def __init__(self, alpha: float, generator: torch.Generator) -> None:
        self._alpha = alpha
        self.generator = generator

    def __call__(self, images: Tensor) -> Mixed:
        """Mix images (B, 1, H, W)."""
        share = self._draw_share()
        partners = _beside(torch.randperm(len(images), generator=self.generator), images)
        return Mixed(share * images + (1 - share) * images[partners], partners, share)

    def _draw_share(self) -> float:
        # torch draws from this distribution with its global generator alone.
        seed = int(torch.randint(2**31, (), generator=self.generator))
        share = float(np.random.default_rng(seed).beta(self._alpha, self._alpha))
        return max(share, 1 - share)


def _beside(drawn: Tensor, images: Tensor) -> Tensor:
    """What was drawn on the CPU, so that a seed draws the same everywhere, where the images are.

    From pinned memory a GPU fetches it when it comes to it, and nobody waits.
    """
    if images.device.type == "cuda":
        return drawn.pin_memory().to(images.device, non_blocking=True)
    return drawn
