"""Activations of images at the freeze boundary, computed once per image and augmented view."""

import math
import shutil
import tempfile
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.progress import progress
from stages.modeling.compute import Hardware
from stages.modeling.data import (
    EVAL_BATCH_SIZE,
    Batch,
    Rows,
    as_channels_last,
    ordered_loader,
    to_unit_range,
)
from stages.modeling.distributed import Team

DISK_SHARE = 0.5  # of what is free, at most

View = Callable[[Tensor], Tensor]


class FeatureRows(Rows):
    """Activations of N images in V views; position `view * N + image` is one view of one image.

    They lie in a file without a name, which is gone with the process, however that ends.
    """

    def __init__(self, store: "_Store", targets: NDArray[np.int64]) -> None:
        super().__init__(targets)
        self._store = store

    def __getitem__(self, positions: list[int]) -> Batch:
        images = [position % len(self) for position in positions]
        return Batch(self._store.read(positions), torch.from_numpy(self.targets[images]))


def compute_features(
    frozen: nn.Module,
    rows: Rows,
    *,
    augment: View,
    views: int,
    hardware: Hardware,
    scratch: Path,
    team: Team,
) -> FeatureRows:
    """What the frozen part of a network makes of each image, in each of some views.

    Args:
        frozen: images (B, 1, S, S) in [0, 1] to activations; comes back on the CPU.
        rows: the images, bytes (B, S, S).
        augment: of images (B, 1, S, S) in [0, 1]; called once per batch and view.
        views: how often each image is augmented and kept.
        hardware: device and precision; the activations are kept as they come out of it.
        scratch: folder for the file.
        team: the processes that share the work; each has a file of its own of all images.

    Raises:
        UserError: the file would take more than `DISK_SHARE` of the free disk.
    """
    store = _Store(scratch, count=views * len(rows))
    frozen = frozen.to(hardware.device).to(memory_format=torch.channels_last).eval()
    with torch.inference_mode():
        batches = ordered_loader(rows, batch_size=EVAL_BATCH_SIZE)
        shown = chain.from_iterable(repeat(batches, views))
        for batch in progress(shown, "activations to keep", views * len(batches)):
            images = augment(to_unit_range(batch.images.to(hardware.device)))
            with hardware.autocast():
                store.append(team.apply(frozen, as_channels_last(images)))
    frozen.cpu()
    return FeatureRows(store, rows.targets)


class _Store:
    """Rows of one shape and type on disk, mapped into memory."""

    def __init__(self, scratch: Path, *, count: int) -> None:
        self._scratch = scratch
        self._count = count
        self._filled = 0

    def append(self, activations: Tensor) -> None:
        """Add activations (B, ...); 4-dimensional ones lie there channels last."""
        values = _channels_to_end(activations).cpu()
        if not self._filled:
            self._dtype, self._shape = values.dtype, values.shape[1:]
            self._bytes = self._map(math.prod(self._shape) * values.element_size())
        end = self._filled + len(values)
        self._bytes[self._filled : end] = values.view(len(values), -1).view(torch.uint8).numpy()
        self._filled = end

    def read(self, positions: list[int]) -> Tensor:
        """Activations (B, ...) of these rows, as they were added."""
        rows = torch.from_numpy(self._bytes[positions])
        return _channels_from_end(rows.view(self._dtype).view(-1, *self._shape))

    def _map(self, row_bytes: int) -> NDArray[np.uint8]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        needed, free = self._count * row_bytes, shutil.disk_usage(self._scratch).free
        if needed > DISK_SHARE * free:
            raise UserError(
                f"cache_views: {self._count} views take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB "
                f"are free in {self._scratch}; allowed: {DISK_SHARE:.0%} of it; take fewer views, "
                "or 0"
            )
        shape = (self._count, row_bytes)
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)


def _channels_to_end(activations: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C), contiguous: no copy of what is channels last in memory."""
    moved = activations.movedim(1, -1) if activations.ndim == 4 else activations
    return moved.contiguous()


def _channels_from_end(rows: Tensor) -> Tensor:
    """(B, H, W, C) to (B, C, H, W), channels last in memory; other shapes as they are."""
    return rows.movedim(-1, 1) if rows.ndim == 4 else rows
