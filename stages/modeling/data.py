"""Batches of a view for torch: uint8 from the memory map, drawn by a seeded sampler."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)


class Batch(NamedTuple):
    """Images (B, S, S) uint8 and their class indices (B,) int64."""

    images: Tensor
    targets: Tensor


EVAL_BATCH_SIZE = 64  # without gradients there is room for more than a recipe's batch


class Rows(Dataset[Batch]):
    """Images, or what stands for them; indexed by a list of positions, they give a whole batch.

    Attributes:
        targets: class index of each image, (N,).
    """

    def __init__(self, targets: NDArray[np.int64]) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)


class ImageRows(Rows):
    """Some rows of an image array."""

    def __init__(
        self, images: NDArray[np.uint8], targets: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        super().__init__(targets[rows])
        self._images = images
        self._rows = rows

    def __getitem__(self, positions: list[int]) -> Batch:
        images = self._images[self._rows[positions]]
        return Batch(torch.from_numpy(images), torch.from_numpy(self.targets[positions]))


class DrawnViews(Sampler[int]):
    """One of the views of each image, drawn evenly: position `view * N + image` of N images."""

    def __init__(
        self, order: Sampler[int], *, images: int, views: int, generator: torch.Generator
    ) -> None:
        self._order = order
        self._images = images
        self._views = views
        self._generator = generator

    def __len__(self) -> int:
        return self._images

    def __iter__(self) -> Iterator[int]:
        for image in self._order:
            view = int(torch.randint(self._views, (), generator=self._generator))
            yield view * self._images + image


def train_loader(
    images: Rows, *, batch_size: int, sampler: str, seed: int, views: int = 1
) -> DataLoader[Batch]:
    """Shuffled batches; the rest that fills no batch is left out, other images each epoch.

    Batch normalisation cannot learn from a rest of one image.

    Args:
        images: N of them.
        batch_size: images per step.
        sampler: `weighted` draws the classes equally often, `none` each image once.
        seed: of the order.
        views: how often the images stand one after the other in `images`, differently augmented;
            which one is taken is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    order: Sampler[int]
    if sampler == "weighted":
        weights = class_balancing_weights(images.targets)
        order = WeightedRandomSampler(weights, len(images), generator=generator)
    else:
        order = RandomSampler(images, generator=generator)
    if views > 1:
        order = DrawnViews(order, images=len(images), views=views, generator=generator)
    batches = BatchSampler(order, batch_size, drop_last=len(images) > batch_size)
    return DataLoader(images, sampler=batches, batch_size=None)


def ordered_loader(images: Rows, *, batch_size: int) -> DataLoader[Batch]:
    """Every image once, in order."""
    batches = BatchSampler(SequentialSampler(images), batch_size, drop_last=False)
    return DataLoader(images, sampler=batches, batch_size=None)


def class_balancing_weights(targets: NDArray[np.int64]) -> Sequence[float]:
    """Per image one over the size of its class, so that classes are drawn equally often."""
    weights: list[float] = (1.0 / np.bincount(targets)[targets]).tolist()
    return weights


def class_counts(targets: NDArray[np.int64], n_classes: int) -> list[int]:
    """Images per class, in class order, of class indices (N,); 0 for a class that has none."""
    counts: list[int] = np.bincount(targets, minlength=n_classes).tolist()
    return counts


def as_channels_last(values: Tensor) -> Tensor:
    """Pictures or maps (B, C, H, W) in the memory format that convolutions are fast in.

    Values of other shapes have no pixels and come back as they are.
    """
    if values.ndim != 4:
        return values
    return values.contiguous(memory_format=torch.channels_last)


def to_unit_range(images: Tensor) -> Tensor:
    """(B, S, S) uint8 to (B, 1, S, S) float in [0, 1], the input of a Classifier."""
    return images.unsqueeze(1).float() / 255
