import timm
import torch
from torch import nn

from stages.modeling.classifier import build_classifier
from stages.modeling.unit_variance import scale_to_unit_variance


def images(size: int) -> torch.Tensor:
    return torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))


def layer_deviations(network: nn.Module, batch: torch.Tensor) -> list[float]:
    found: list[float] = []
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [
        m.register_forward_hook(lambda _m, _i, output: found.append(float(output.std())))
        for m in layers
    ]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    return found


def test_every_layer_of_a_vgg_gives_unit_variance() -> None:
    torch.manual_seed(0)
    shape = {"size": 32, "head": (), "outputs": 2, "dropout": 0.0, "mean": 0.5, "std": 0.25}
    classifier = build_classifier("vgg11", **shape)
    scale_to_unit_variance(classifier, images(32))
    scaled = (images(32) - 0.5) / 0.25
    deviations = layer_deviations(classifier.backbone, scaled)
    assert len(deviations) == 8  # VGG-11: eight convolutions
    torch.testing.assert_close(torch.tensor(deviations), torch.ones(8), atol=1e-3, rtol=0)


def test_a_network_that_normalises_stays_as_it_is() -> None:
    torch.manual_seed(0)
    shape = {"size": 32, "head": (), "outputs": 2, "dropout": 0.0, "mean": 0.5, "std": 0.25}
    classifier = build_classifier("test_resnet", **shape)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    scale_to_unit_variance(classifier, images(32))
    after = classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "test_resnet" in timm.list_models("test_*")
