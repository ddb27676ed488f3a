from collections.abc import Sequence

import pytest
import timm
import torch
import torchvision
from timm.layers import DropPath
from torch import nn

from stages.config.errors import UserError
from stages.modeling.classifier import (
    Classifier,
    build_backbone,
    build_classifier,
    build_head,
    count_features,
    frozen_modules,
)
from stages.modeling.cnn3 import Cnn3

TEST_MODELS = timm.list_models("test_*")


def classifier(model: str, size: int, head: Sequence[int] = ()) -> Classifier:
    return build_classifier(model, size=size, head=head, outputs=2, dropout=0.1, mean=0.5, std=0.25)


def test_cnn3_has_the_convolutions_of_the_student_projects() -> None:
    shapes = {name: tuple(p.shape) for name, p in Cnn3().named_parameters()}
    assert shapes == {
        "conv1.weight": (32, 1, 8, 8),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 7, 7),
        "conv2.bias": (64,),
        "conv3.weight": (64, 64, 4, 4),
        "conv3.bias": (64,),
    }


def layer_list(module: nn.Module) -> list[str]:
    """Convolutions, linear layers, ReLUs and max pooling in order, with their sizes."""
    kinds = (nn.Conv2d, nn.Linear, nn.ReLU, nn.MaxPool2d)
    return [
        f"{type(layer).__name__}{tuple(layer.weight.shape[:2]) if hasattr(layer, 'weight') else ''}"
        for layer in module.modules()
        if isinstance(layer, kinds)
    ]


@pytest.mark.parametrize("model", ["vgg16", "vgg11_bn"])
def test_a_vgg_is_the_convolutions_and_pooling_of_torchvision(model: str) -> None:
    with torch.device("meta"):
        ours, theirs = build_backbone(model), getattr(torchvision.models, model)()
    expected = layer_list(theirs.features)
    expected[0] = "Conv2d(64, 1)"  # one grey channel
    assert layer_list(ours) == expected


def test_vgg16_without_its_old_fc_layers_has_an_eighth_of_the_parameters() -> None:
    # torchvision's 14,714,688 of `features`, less two colours of 3 x 3 weights of 64 filters.
    backbone = build_backbone("vgg16")
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688 - 2 * 9 * 64
    assert count_features(backbone, "vgg16", 64) == 512


@pytest.mark.parametrize("head", [(), (4300,)])
def test_vgg16_fc_keeps_all_layers_of_torchvision_but_the_last(head: tuple[int, ...]) -> None:
    """As in one student project: the last FC layer goes; with a hidden layer, two are added."""
    with torch.device("meta"):
        backbone = build_backbone("vgg16_fc")
        theirs = torchvision.models.vgg16()
        new_head = build_head(4096, head, 2, 0.0)
    kept = [layer for layer in layer_list(theirs) if layer != "Linear(1000, 4096)"]
    kept[0] = "Conv2d(64, 1)"
    # timm has the FC layers as convolutions; the first of 7 x 7 x 512 inputs.
    ours = [
        layer.replace("Conv2d(4096, 512)", "Linear(4096, 25088)").replace(
            "Conv2d(4096", "Linear(4096"
        )
        for layer in layer_list(backbone)
    ]
    assert ours == kept
    widths = [layer.out_features for layer in new_head if isinstance(layer, nn.Linear)]
    assert widths == [*head, 2]


def test_only_a_vgg_has_old_fc_layers_to_keep() -> None:
    with pytest.raises(UserError, match="resnet18_fc"):
        build_backbone("resnet18_fc")


@pytest.mark.parametrize(("size", "features"), [(512, 6400), (80, 64), (128, 256)])
def test_cnn3_gives_64_features_per_cell_of_its_last_map(size: int, features: int) -> None:
    # By (n - kernel) // stride + 1: 512, 127, 31, 10; 80, 19, 4, 1; 128, 31, 7, 2.
    assert count_features(Cnn3(), "cnn3", size) == features


def test_cnn3_features_are_after_a_relu_and_are_not_all_zero() -> None:
    features = Cnn3()(torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)))
    assert features.min() >= 0
    assert features.max() > 0


def test_cnn3_below_80_px_is_refused() -> None:
    with pytest.raises(UserError, match=r"cnn3 got views of 79 px; allowed: at least 80 px"):
        classifier("cnn3", size=79)


@pytest.mark.parametrize("model", TEST_MODELS)
def test_every_kind_of_timm_network_takes_one_grey_channel(model: str) -> None:
    network = classifier(model, size=160).eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, 1, 160, 160))
    assert logits.shape == (2, 2)
    assert logits.isfinite().all()


def test_network_of_a_fixed_size_is_built_for_that_of_the_images() -> None:
    network = classifier("test_vit3", size=80)  # patches of 16 px; usually 160 px
    assert network.backbone.get_submodule("patch_embed").grid_size == (5, 5)
    assert network(torch.rand(2, 1, 80, 80)).shape == (2, 2)


def test_size_that_a_network_cannot_take_is_refused_with_its_usual_one() -> None:
    with pytest.raises(UserError, match=r"inception_v3 cannot take views of 32 px: .*usual size.*"):
        classifier("inception_v3", size=32)


def test_network_that_gives_maps_instead_of_features_is_refused() -> None:
    with pytest.raises(UserError, match=r"own gives \(1, 8, 8\) per image; allowed: .* one vector"):
        count_features(nn.Conv2d(1, 1, 1), "own", 8)


def drop_rates(model: str, drop_path: float) -> list[float]:
    """Of each residual branch that a network drops, from the input to the output."""
    modules = build_backbone(model, drop_path=drop_path).modules()
    return [module.drop_prob for module in modules if isinstance(module, DropPath)]


def test_branches_are_dropped_the_more_often_the_farther_from_the_input() -> None:
    # The first of four blocks is never dropped.
    assert drop_rates("resnet10t", 0.3) == pytest.approx([0.1, 0.2, 0.3])
    assert drop_rates("resnet10t", 0.0) == []


@pytest.mark.parametrize("model", ["cnn3", "vgg11", "densenet121"])
def test_network_without_branches_to_drop_is_named(model: str) -> None:
    expected = rf"^model: got '{model}' with a recipe of drop_path 0\.2, .* or a recipe with drop_"
    with torch.device("meta"), pytest.raises(UserError, match=expected):
        build_backbone(model, drop_path=0.2)


def test_branches_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("resnet10t", 64, 0.9)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm's branches begin at 0
    images = torch.rand(8, 1, 64, 64)
    backbone.eval()
    assert torch.equal(backbone(images), backbone(images))
    backbone.train()
    assert not torch.equal(backbone(images), backbone(images))


def test_unknown_model_is_named() -> None:
    with pytest.raises(UserError, match=r"timm cannot build 'resnet_of_nobody'"):
        build_backbone("resnet_of_nobody")


def test_tag_of_a_model_name_does_not_change_the_architecture() -> None:
    tagged, plain = build_backbone("test_resnet.r160_in1k"), build_backbone("test_resnet")
    assert tagged.state_dict().keys() == plain.state_dict().keys()


def test_head_has_the_widths_asked_for() -> None:
    head = build_head(features=100, hidden=[64, 16], outputs=3, dropout=0.25)
    linears = [(m.in_features, m.out_features) for m in head if isinstance(m, nn.Linear)]
    assert linears == [(100, 64), (64, 16), (16, 3)]
    assert [m.p for m in head if isinstance(m, nn.Dropout)] == [0.25, 0.25, 0.25]
    assert isinstance(head[-1], nn.Linear)  # logits are not rectified


def test_head_without_hidden_layers_is_one_linear_layer() -> None:
    network = classifier("cnn3", size=80)
    assert [type(m) for m in network.head.children()] == [nn.Dropout, nn.Linear]


def test_images_are_scaled_before_the_backbone_sees_them() -> None:
    network = Classifier(nn.Flatten(), nn.Identity(), mean=0.5, std=0.25)
    images = torch.tensor([0.0, 0.5, 1.0, 0.75]).view(1, 1, 2, 2)
    assert network(images).tolist() == [[-2.0, 0.0, 2.0, 1.0]]


def test_state_dict_holds_learned_tensors_only() -> None:
    names = classifier("cnn3", size=80).state_dict().keys()
    assert {name.partition(".")[0] for name in names} == {"backbone", "head"}


def test_building_a_classifier_leaves_it_ready_to_train() -> None:
    network = classifier("test_resnet", size=64)
    assert all(module.training for module in network.modules())


def small_network() -> Classifier:
    """For 8 x 8 px: two convolutions with normalisation, that of the first without weights."""
    backbone = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False), nn.Dropout(0.5)),
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Flatten()),
    )
    return Classifier(backbone, nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 2)), mean=0, std=1)


def freeze_only(network: Classifier, *prefixes: str) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        (["nothing"], []),
        (["backbone.0."], ["backbone.0"]),
        (["backbone."], ["backbone"]),
        (["backbone.1.1."], ["backbone.1.1"]),
        (["backbone.1.0.weight"], []),  # its bias trains
    ],
)
def test_frozen_modules_are_the_outermost_of_which_nothing_trains(
    prefixes: list[str], expected: list[str]
) -> None:
    network = small_network()
    freeze_only(network, *prefixes)
    assert [name for name, _ in frozen_modules(network)] == expected


def test_what_has_no_parameters_goes_with_the_module_that_it_is_in() -> None:
    network = small_network()
    freeze_only(network, "backbone.0.")
    network.train()
    assert not any(module.training for module in network.backbone.get_submodule("0").modules())
    freeze_only(network, "backbone.1.")
    network.train()
    assert all(module.training for module in network.backbone.get_submodule("0").modules())


def test_statistics_of_frozen_normalisation_do_not_move_whoever_asks_for_training() -> None:
    network = small_network()
    freeze_only(network, "backbone.0.")
    before = {name: buffer.clone() for name, buffer in network.backbone.named_buffers()}
    nn.ModuleList([network]).eval().train()  # as the module of a training loop does
    network(torch.rand(4, 1, 8, 8))
    moved = {n for n, buffer in network.backbone.named_buffers() if not buffer.equal(before[n])}
    assert moved == {"1.1.running_mean", "1.1.running_var", "1.1.num_batches_tracked"}


def test_prediction_of_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    network = classifier("test_resnet", size=64)
    images = torch.rand(6, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network(images)  # a training pass, so that batch normalisation has figures of its own
    network.eval()
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert together.std(dim=0).min() > 1e-4  # the images do differ
