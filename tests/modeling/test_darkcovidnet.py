import pytest
import torch
from torch import nn

from stages.modeling.classifier import build_backbone, build_classifier
from stages.modeling.darkcovidnet import DarkCovidNet
from stages.modeling.freeze import freeze


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "published"), [(3, 1_167_586), (2, 1_164_434)])
def test_with_colours_it_has_the_published_number_of_parameters(
    classes: int, published: int
) -> None:
    with torch.device("meta"):
        network = DarkCovidNet(maps=classes, colours=3)
        features = network(torch.zeros(2, 3, 256, 256))
        assert features.shape == (2, classes * 13 * 13)
        head = nn.Linear(features.shape[1], classes)
    assert count(network) + count(head) == published


@pytest.mark.parametrize(("model", "maps"), [("darkcovidnet", 3), ("darkcovidnet2", 2)])
def test_a_grey_case_lacks_two_colours_of_the_first_convolution(model: str, maps: int) -> None:
    with torch.device("meta"):
        classifier = build_classifier(
            model, size=256, head=[], outputs=maps, dropout=0.0, mean=0.5, std=0.25
        )
    published = {3: 1_167_586, 2: 1_164_434}[maps]
    assert count(classifier) == published - 2 * 8 * 3 * 3


def test_it_has_17_convolutions_of_which_the_narrow_ones_add_a_frame() -> None:
    with torch.device("meta"):
        convolutions = [m for m in DarkCovidNet(3).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 17
    assert {(conv.padding, conv.bias) for conv in convolutions} == {((1, 1), None)}
    assert [conv.kernel_size for conv in convolutions].count((1, 1)) == 5


def test_any_size_of_a_view_will_do() -> None:
    # 16 and 8 by pooling; then 8 + 2 = 10, 5 + 2 = 7, 3 + 2 = 5, 2 + 2 = 4, halved but the last;
    # the padded 1x1 convolution makes 6 x 6 of 4 x 4.
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert build_backbone("darkcovidnet")(images).shape == (2, 3 * 6 * 6)


def test_its_last_blocks_can_be_trained_alone() -> None:
    classifier = build_classifier(
        "darkcovidnet", size=32, head=[], outputs=3, dropout=0.0, mean=0.5, std=0.25
    )
    freeze(classifier, "last:2")
    backbone = classifier.backbone.named_parameters()
    trained = {name.split(".")[0] for name, p in backbone if p.requires_grad}
    assert trained == {"conv4", "conv5"}
