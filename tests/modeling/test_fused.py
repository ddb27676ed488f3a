import pytest
import torch
from torch import Tensor, nn

from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.fused import fuse

SIZE = 64


def trained_classifier(model: str, size: int = SIZE) -> Classifier:
    """A network whose normalisations have statistics and weights like those of a trained one."""
    torch.manual_seed(3)
    network = build_classifier(
        model, size=size, head=[8], outputs=2, dropout=0.5, mean=0.5, std=0.25
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        network(images(size))  # in training mode: the statistics take in what they see
    return network.eval()


def images(size: int = SIZE) -> Tensor:
    return torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


# In test_efficientnet and mobilenetv3 normalisation and activation are one module.
@pytest.mark.parametrize(
    "model", ["resnet18", "test_resnet", "test_efficientnet", "mobilenetv3_small_050"]
)
def test_all_normalisations_are_fused_and_the_logits_stay(model: str) -> None:
    network = trained_classifier(model)
    fused = fuse(network)
    assert count_norms(network) > count_norms(fused) == 0
    with torch.inference_mode():
        torch.testing.assert_close(fused(images()), network(images()), rtol=1e-3, atol=1e-4)


def test_a_normalisation_behind_an_activation_is_not_fused() -> None:
    network = trained_classifier("darkcovidnet")
    fused = fuse(network)
    assert (count_norms(network), count_norms(fused)) == (17, 1)
    with torch.inference_mode():
        torch.testing.assert_close(fused(images()), network(images()), rtol=1e-3, atol=1e-4)


def test_a_network_without_normalisation_is_copied() -> None:
    network = trained_classifier("cnn3", size=80)
    fused = fuse(network)
    with torch.inference_mode():
        assert torch.equal(fused(images(80)), network(images(80)))


def test_the_network_is_left_as_it_was() -> None:
    network = trained_classifier("resnet10t").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = fuse(network)
    assert network.training
    assert not fused.training
    assert count_norms(network) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def around(backbone: nn.Module) -> Classifier:
    """A network with a normalisation that shifts and scales."""
    norm = backbone.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean, norm.running_var = torch.full((3,), 0.4), torch.full((3,), 2.0)
    return Classifier(backbone, nn.Linear(3, 2), mean=0.5, std=0.25).eval()


class ReadTwice(nn.Module):
    """The output of the convolution goes into the normalisation, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, kernel_size=3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return (maps + self.norm(maps)).mean(dim=(2, 3))


class NormFirst(ReadTwice):
    """The normalisation comes before the convolution, whatever the order of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 3, kernel_size=3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(self.norm(images.expand(-1, 3, -1, -1)))
        return maps.mean(dim=(2, 3))


@pytest.mark.parametrize("backbone", [ReadTwice, NormFirst])
def test_a_normalisation_of_anything_else_stays(backbone: type[nn.Module]) -> None:
    network = around(backbone())
    fused = fuse(network)
    assert count_norms(fused) == 1
    with torch.inference_mode():
        assert torch.equal(fused(images()), network(images()))


class Branching(nn.Module):
    """Cannot be traced as a whole, like timm's VGG; its stem can."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, kernel_size=3), nn.BatchNorm2d(3))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stem(images)
        return maps.mean(dim=(2, 3)) if maps.shape[2] > 1 else maps[:, :, 0, 0]


def test_where_the_whole_cannot_be_traced_its_parts_are() -> None:
    network = Classifier(Branching(), nn.Linear(3, 2), mean=0.5, std=0.25).eval()
    fused = fuse(network)
    assert count_norms(fused) == 0
    with torch.inference_mode():
        torch.testing.assert_close(fused(images()), network(images()))
