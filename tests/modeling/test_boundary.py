import pytest
import torch

from stages.config.errors import UserError
from stages.modeling.boundary import split_at_boundary
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.freeze import freeze

SIDE = 64
# Plain, with branches, with dense connections, with a tensor that goes round a block.
NETWORKS = [
    "cnn3",
    "darkcovidnet",
    "resnet10t",
    "resnet50",
    "vgg11",
    "densenet121",
    "mobilenetv3_small_050",
    "tf_efficientnet_lite0",
    "convnext_atto",
]


def frozen_network(model: str, level: str) -> Classifier:
    torch.manual_seed(0)
    side = 80 if model == "cnn3" else SIDE
    classifier = build_classifier(
        model, size=side, head=[8], outputs=2, dropout=0.5, mean=0.4, std=0.2
    )
    freeze(classifier.train(), level)
    return classifier


def pictures(model: str) -> torch.Tensor:
    side = 80 if model == "cnn3" else SIDE
    return torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", ["head", "last:1", "last:2"])
@pytest.mark.parametrize("model", NETWORKS)
def test_the_halves_one_after_the_other_are_the_network(model: str, level: str) -> None:
    classifier = frozen_network(model, level)
    halves = split_at_boundary(classifier)
    images = pictures(model)
    for mode in (False, True):
        for network in (classifier, halves.frozen, halves.trained):
            network.train(mode)
        halves.frozen.eval()
        torch.manual_seed(1)  # dropout of the head
        wanted = classifier(images)
        torch.manual_seed(1)
        torch.testing.assert_close(halves.trained(halves.frozen(images)), wanted)


@pytest.mark.parametrize("level", ["head", "last:1"])
@pytest.mark.parametrize("model", NETWORKS)
def test_all_that_trains_and_nothing_else_lies_behind_the_boundary(model: str, level: str) -> None:
    classifier = frozen_network(model, level)
    halves = split_at_boundary(classifier)
    wanted = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    behind = dict(halves.trained.named_parameters())
    assert behind.keys() == wanted.keys()
    assert all(behind[name] is wanted[name] for name in wanted)
    assert not any(p.requires_grad for p in halves.frozen.parameters())


def test_training_mode_leaves_frozen_modules_behind_the_boundary_in_evaluation() -> None:
    classifier = frozen_network("resnet10t", "last:1")
    norm = classifier.backbone.get_submodule("layer4.0.bn1")
    for parameter in norm.parameters():
        parameter.requires_grad_(False)
    trained = split_at_boundary(classifier).trained.train()
    assert not norm.training
    assert trained.get_submodule("backbone.layer4.0.bn1") is norm
    assert classifier.backbone.get_submodule("layer4.0.bn2").training


def test_a_network_of_which_nothing_is_frozen_is_refused() -> None:
    with pytest.raises(UserError, match=r"recipe: .* set cache_views: 0"):
        split_at_boundary(frozen_network("resnet10t", "all"))


def test_a_forward_pass_that_branches_on_values_is_refused() -> None:
    class Branching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.second(x) if x.sum() > 0 else x

    network = Classifier(Branching(), torch.nn.Linear(4, 2), mean=0.0, std=1.0)
    for parameter in network.backbone.get_submodule("first").parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match=r"cannot be followed: .*control flow"):
        split_at_boundary(network)


def test_two_tensors_that_cross_the_boundary_are_refused_by_name() -> None:
    class Around(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x.sigmoid() + self.second(x.relu())

    network = Classifier(Around(), torch.nn.Linear(4, 2), mean=0.0, std=1.0)
    for parameter in network.backbone.get_submodule("first").parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match=r"2 tensors .*: (sigmoid, relu|relu, sigmoid)"):
        split_at_boundary(network)
