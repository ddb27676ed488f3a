import pytest
import torch

from stages.modeling.blocks import backbone_blocks, block_depths
from stages.modeling.classifier import build_backbone, build_classifier
from stages.modeling.cnn3 import Cnn3
from stages.modeling.darkcovidnet import DarkCovidNet


def test_blocks_of_a_resnet_are_its_stem_and_its_layers() -> None:
    blocks = backbone_blocks(build_backbone("test_resnet"))
    assert list(blocks) == ["conv1+bn1", "layer1", "layer2", "layer3", "layer4"]
    assert blocks["layer1"][0] == "layer1.0.conv1.weight"


def test_depths_are_counted_from_the_head_and_leave_it_out() -> None:
    classifier = build_classifier(
        "test_resnet", size=64, head=[8], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )
    depths = block_depths(classifier)
    assert depths["backbone.layer4.0.conv1.weight"] == 1
    assert depths["backbone.layer1.0.conv1.weight"] == 4
    assert depths["backbone.conv1.0.weight"] == depths["backbone.bn1.bias"] == 5
    parameters = dict(classifier.named_parameters())
    assert depths.keys() == {name for name in parameters if name.startswith("backbone.")}


@pytest.mark.parametrize(("model", "fc"), [("vgg16", []), ("vgg16_fc", ["pre_logits"])])
def test_blocks_of_a_vgg_are_its_convolutions_and_the_old_fc_layers_that_it_keeps(
    model: str, fc: list[str]
) -> None:
    with torch.device("meta"):  # without memory for 134 million weights
        names = list(backbone_blocks(build_backbone(model)))
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert names == [*[f"features.{number}" for number in convolutions], *fc]


def test_blocks_of_a_densenet_have_names_of_their_own() -> None:
    with torch.device("meta"):
        names = list(backbone_blocks(build_backbone("densenet121")))
    assert names == [
        "features.conv0+features.norm0",
        "features.denseblock1+features.transition1",
        "features.denseblock2+features.transition2",
        "features.denseblock3+features.transition3",
        "features.denseblock4+features.norm5",
    ]


def test_blocks_of_darkcovidnet_are_what_lies_between_its_poolings() -> None:
    triples = [f"triple{number}" for number in range(1, 5)]
    assert [*backbone_blocks(DarkCovidNet(3))] == [
        *("conv1", "conv2", *triples, "conv3", "conv4", "conv5")
    ]


def test_blocks_of_cnn3_are_its_convolutions() -> None:
    assert backbone_blocks(Cnn3()) == {
        f"conv{number}": [f"conv{number}.weight", f"conv{number}.bias"] for number in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("rdnet_tiny", ["stem", *[f"dense_stages.{n}" for n in range(6)], "dense_stages.6+head"]),
        ("caformer_s18", ["stem", "stages.0", "stages.1", "stages.2", "stages.3+head"]),
        # Grouped, but all of its transformers into one.
        (
            "pit_ti_224",
            [
                "pos_embed+cls_token+patch_embed",
                *[f"transformers.{n}" for n in (0, 1)],
                "transformers.2+norm",
            ],
        ),
    ],
    ids=["refuses", "has no groups", "is one group"],
)
def test_container_of_nearly_all_is_taken_apart(model: str, names: list[str]) -> None:
    with torch.device("meta"):
        blocks = backbone_blocks(build_backbone(model))
    assert list(blocks) == names


@pytest.mark.parametrize(
    ("model", "last"),
    [
        ("convnext_atto", "stages.3+head"),
        ("swin_tiny_patch4_window7_224", "layers.3+norm"),
        ("resnetv2_50", "stages.3+norm"),
        ("beit_base_patch16_224", "blocks.11+fc_norm"),
        ("vgg11_bn", "features.25+features.26"),
        ("nextvit_small", "stages.3+norm"),
        # Layers of their own behind the last stage are a block.
        ("fasternet_t0", "conv_head"),
        ("samvit_base_patch16", "neck"),
    ],
)
def test_last_block_has_layers_and_takes_the_normalisation_behind_it(model: str, last: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(model)
    name, block = list(backbone_blocks(backbone).items())[-1]
    assert name == last
    assert any(backbone.get_parameter(weight).ndim > 1 for weight in block)


def test_parameters_before_the_first_layer_are_in_its_block() -> None:
    with torch.device("meta"):
        blocks = backbone_blocks(build_backbone("test_vit"))
    first, *_ = blocks.values()
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(first)


@pytest.mark.parametrize("model", ["cnn3", "test_resnet", "test_vit", "test_convnext"])
def test_every_parameter_of_a_backbone_is_in_one_block(model: str) -> None:
    backbone = build_backbone(model)
    in_blocks = [name for block in backbone_blocks(backbone).values() for name in block]
    assert sorted(in_blocks) == sorted(name for name, _ in backbone.named_parameters())
