"""The other side: how notebooks on this subject train a torchvision network.

ImageFolder of PNG files, decoded by PIL in every epoch; Resize, ToTensor, Normalize; fp32, NCHW;
no workers; torch as it comes. Nothing of `stages` is imported here, so none of its settings hold.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tests.benchmarks.measure import Cost, Stopwatch

# The project's name -> torchvision's. vgg16 loses its FC layers, vgg16_fc keeps two of the three.
NETWORKS = {"resnet18": "resnet18", "resnet50": "resnet50", "vgg16": "vgg16", "vgg16_fc": "vgg16"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def train_notebook(
    folder: Path, model: str, *, train: str, size_px: int, batch: int, epochs: int, adam: bool
) -> tuple[Cost, int]:
    """Train for some epochs; the first batch, a warm-up, is not counted.

    Returns:
        The cost of the epochs, and the number of scalars of the network.
    """
    torch.manual_seed(0)
    network = build_notebook_network(model)
    freeze_notebook_network(network, train)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, lr=1e-4)
        if adam
        else torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)
    )
    loader = DataLoader(_pictures(folder, size_px), batch_size=batch, shuffle=True, drop_last=True)
    network.train()
    _learn(network, optimizer, [next(iter(loader))])
    watch = Stopwatch()
    for _ in range(epochs):
        _learn(network, optimizer, loader)
    return watch.cost(), sum(p.numel() for p in network.parameters())


def build_notebook_network(model: str) -> nn.Module:
    """A torchvision network of random weights with a new last part for two classes.

    ResNets get another last layer. VGG-16 gets another last FC layer (vgg16_fc), or one head behind
    its pooled features instead of all three (vgg16).
    """
    network: nn.Module = torchvision.models.get_model(NETWORKS[model], weights=None)
    if model == "vgg16":
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Sequential(nn.Linear(512, 2))
    elif model == "vgg16_fc":
        assert isinstance(network.classifier, nn.Sequential)
        network.classifier[-1] = nn.Linear(4096, 2)
    else:
        network.fc = nn.Linear(network.get_submodule("fc").in_features, 2)  # type: ignore[arg-type]
    return network


def freeze_notebook_network(network: nn.Module, train: str) -> None:
    """Leave gradients to all, to the last layer (head), or to it and the last stage (last:1)."""
    if train == "all":
        return
    last = [name for name, _ in network.named_parameters()][-1].rpartition(".")[0]
    blocks = ("layer4", last) if train == "last:1" else (last,)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(blocks))


def _pictures(folder: Path, size_px: int) -> ImageFolder:
    steps = [
        transforms.Resize((size_px, size_px)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return ImageFolder(str(folder / "train"), transforms.Compose(steps))


def _learn(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
) -> None:
    """Learn, with the running loss and accuracy that notebooks print."""
    running_loss, correct = 0.0, 0
    for images, targets in batches:
        optimizer.zero_grad()
        logits = network(images)
        loss = nn.functional.cross_entropy(logits, targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        correct += int((logits.argmax(dim=1) == targets).sum().item())
