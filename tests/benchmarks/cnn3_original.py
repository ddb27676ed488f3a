"""The three-conv network as its public original trains it; nothing of `stages` is imported."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler
from torchvision.transforms import v2

from tests.benchmarks.measure import Cost, Stopwatch

SIZE_PX, CROP_PX = 512, 350
CHANGE = v2.Compose(
    [
        v2.Grayscale(),
        v2.CenterCrop(CROP_PX),
        v2.Resize(SIZE_PX),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomRotation(15),
    ]
)


def train_original(folder: Path, batch: int, epochs: int, *, dropout: float) -> Cost:
    """Load all files of class folders, train; the first batch, a warm-up, is not counted."""
    torch.manual_seed(0)
    images, targets = _load_all(folder)
    weights = (1.0 / torch.bincount(targets))[targets]
    sampler = WeightedRandomSampler(weights.tolist(), len(targets), replacement=True)
    loader = DataLoader(TensorDataset(images, targets), batch_size=batch, sampler=sampler)
    network = _network(dropout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    _learn(network, optimizer, *next(iter(loader)))
    watch = Stopwatch()
    for _ in range(epochs):
        for shown, wanted in loader:
            _learn(network, optimizer, shown, wanted)
    return watch.cost()


def _load_all(folder: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 512, 512) in [0, 1] and class indices (N,)."""
    files = sorted(folder.glob("*/*.png"))
    labels = sorted({file.parent.name for file in files})
    targets = torch.tensor([labels.index(file.parent.name) for file in files])
    return torch.stack([_load(file) for file in files]), targets


def _load(file: Path) -> Tensor:
    """(3, 512, 512) in [0, 1], the size that the files of its data set have."""
    with Image.open(file) as picture:
        square = picture.convert("RGB").resize((SIZE_PX, SIZE_PX))
    pixels = torch.from_numpy(np.array(square))
    return pixels.permute(2, 0, 1).float() / 255


def _network(dropout: float) -> nn.Sequential:
    """Convolutions 32@8 stride 4, 64@7 stride 4, 64@4 stride 3, FC 6400-512-1."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 8, stride=4), nn.Dropout(dropout), nn.ReLU()),
        *(nn.Conv2d(32, 64, 7, stride=4), nn.Dropout(dropout), nn.ReLU()),
        *(nn.Conv2d(64, 64, 4, stride=3), nn.Dropout(dropout), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(6400, 512), nn.Dropout(dropout), nn.ReLU(), nn.Linear(512, 1)),
    )


def _learn(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor
) -> None:
    optimizer.zero_grad()
    logits = network(CHANGE(images))[:, 0]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, targets.float())
    loss.backward()
    optimizer.step()
    loss.item()
