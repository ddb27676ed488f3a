"""Maps are checked on a network whose class activation map is known in closed form.

One convolution of 1 x 1 and a ReLU give maps A_k; the head reads their means, so that the score
of class c is sum_k w_ck mean(A_k), its gradient at every cell of A_k is w_ck / cells, and GradCAM
is relu(sum_k w_ck A_k) up to its scale (Selvaraju et al. 2017, section 3.1).
"""

from typing import Any

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.explain.layers import (
    arrange_as_maps,
    default_target_layer,
    find_layer,
    layers_with_maps,
)
from stages.explain.methods import (
    BATCH_SIZE,
    METHODS,
    Asked,
    Explainer,
    compute_cams,
    first_component,
    scale_maps,
)
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.outputs import Outputs

SIDE = 8
# Three maps: bright pixels, dark pixels, and all pixels a little. The scaling of the input is
# mean 0, std 1, so that A_0 = relu(x - 0.5), A_1 = relu(0.5 - x), A_2 = relu(0.1 x + 0.1).
CONV_WEIGHT, CONV_BIAS = (1.0, -1.0, 0.1), (-0.5, 0.5, 0.1)
# Class 0 is told by bright, class 1 by dark pixels.
HEAD_WEIGHT = ((2.0, -1.0, 0.5), (-1.5, 1.0, 0.2))


class Maps(nn.Module):
    """A backbone of three maps, in one of the layouts in which timm's networks keep theirs."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, kernel_size=1)
        self.arrange = Arrange(layout)
        self.feature_info = [{"module": "conv"}, {"module": "arrange"}]
        if layout == "NHWC":
            self.output_fmt = "NHWC"
        if layout == "tokens":
            self.num_prefix_tokens = 2
        self._over_cells = {"NCHW": (2, 3), "NHWC": (1, 2), "tokens": (1,)}[layout]

    def forward(self, images: Tensor) -> Tensor:
        arranged = self.arrange(self.conv(images).relu())
        return arranged.sum(dim=self._over_cells) / SIDE**2


class Arrange(nn.Module):
    """Maps as they are, channels last, or as tokens behind two tokens of zeros."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self._layout = layout

    def forward(self, maps: Tensor) -> Tensor:
        if self._layout == "NHWC":
            return maps.permute(0, 2, 3, 1)
        if self._layout == "tokens":
            tokens = maps.flatten(start_dim=2).transpose(1, 2)
            return torch.cat([torch.zeros_like(tokens[:, :2]), tokens], dim=1)
        return 1 * maps  # a tensor of its own, as a layer gives


def known_classifier(*, one_logit: bool = False, layout: str = "NCHW") -> Classifier:
    backbone = Maps(layout)
    head = nn.Linear(3, 1 if one_logit else 2)
    with torch.no_grad():
        backbone.conv.weight.copy_(torch.tensor(CONV_WEIGHT).view(3, 1, 1, 1))
        backbone.get_parameter("conv.bias").copy_(torch.tensor(CONV_BIAS))
        head.weight.copy_(torch.tensor(HEAD_WEIGHT)[: head.out_features])
    return Classifier(backbone, head, mean=0.0, std=1.0)


def random_images(count: int, side: int = SIDE) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def channel_maps(image: Tensor) -> NDArray[np.float32]:
    """(3, S, S) activations of the known network."""
    x = image[0].numpy()
    pairs = zip(CONV_WEIGHT, CONV_BIAS, strict=True)
    return np.stack([np.maximum(weight * x + bias, 0) for weight, bias in pairs])


def scaled(cam: NDArray[np.float32]) -> NDArray[np.float32]:
    """From its minimum to its maximum, which the library moves to 0 and 1."""
    shifted = cam - cam.min()
    return shifted / shifted.max()


def expected_gradcam(image: Tensor, weights: tuple[float, ...]) -> NDArray[np.float32]:
    return scaled(np.maximum(np.tensordot(weights, channel_maps(image), axes=1), 0))


def two_logits() -> Outputs:
    return Outputs(("bright", "dark"), positive=0, one_logit=False, implies={})


def explain(
    classifier: Classifier,
    images: Tensor,
    classes: list[int],
    *,
    method: str = "gradcam",
    outputs: Outputs | None = None,
    layer: str = "arrange",
) -> NDArray[np.float32]:
    explainer = Explainer(classifier, outputs or two_logits(), [method], layer)
    return compute_cams(explainer, Asked(images, torch.tensor(classes)))[method]


def tiny_classifier(model: str = "test_resnet", size: int = 64) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(model, size=size, head=[], outputs=2, dropout=0.5, mean=0.5, std=0.25)


def blob(side: int = SIDE) -> Tensor:
    """A bright square in the upper left quarter of a dark image, (1, 1, S, S)."""
    image = torch.full((1, 1, side, side), 0.1)
    image[..., : side // 2, : side // 2] = 0.9
    return image


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_gradcam_of_two_logits_is_the_weighted_sum_of_the_maps(layout: str) -> None:
    images = random_images(2)
    cams = explain(known_classifier(layout=layout), images, [0, 1])
    for cam, image, weights in zip(cams, images, HEAD_WEIGHT, strict=True):
        np.testing.assert_allclose(cam, expected_gradcam(image, weights), atol=1e-5)


@pytest.mark.parametrize("positive", [0, 1])
def test_gradcam_of_one_logit_has_the_sign_of_the_class_explained(positive: int) -> None:
    images = random_images(2)
    outputs = Outputs(("a", "b"), positive, one_logit=True, implies={})
    cams = explain(
        known_classifier(one_logit=True), images, [positive, 1 - positive], outputs=outputs
    )
    negated = tuple(-weight for weight in HEAD_WEIGHT[0])
    np.testing.assert_allclose(cams[0], expected_gradcam(images[0], HEAD_WEIGHT[0]), atol=1e-5)
    np.testing.assert_allclose(cams[1], expected_gradcam(images[1], negated), atol=1e-5)


def test_gradcam_without_any_evidence_is_zero_and_not_nan() -> None:
    # On a dark image the sum for the bright class is -1 * 0.4 + 0.5 * 0.11 < 0 everywhere.
    cams = explain(known_classifier(), torch.full((1, 1, SIDE, SIDE), 0.1), [0])
    assert (cams == 0).all()


@pytest.mark.parametrize(("wanted", "is_in_blob"), [(0, True), (1, False)])
@pytest.mark.parametrize("method", METHODS)
def test_maps_point_at_what_speaks_for_the_class(
    method: str, wanted: int, is_in_blob: bool
) -> None:
    cam = explain(known_classifier(), blob(), [wanted], method=method)[0]
    inside = np.zeros((SIDE, SIDE), bool)
    inside[: SIDE // 2, : SIDE // 2] = True
    expected = inside if is_in_blob else ~inside
    np.testing.assert_allclose(cam, expected.astype(np.float32), atol=1e-5)


def test_eigencam_agrees_with_gradient_times_activation() -> None:
    images = random_images(6)
    for wanted, weights in enumerate(HEAD_WEIGHT):
        cams = explain(known_classifier(), images, [wanted] * 6, method="eigencam")
        for cam, image in zip(cams, images, strict=True):
            evidence = np.tensordot(weights, channel_maps(image), axes=1)
            assert np.corrcoef(cam.ravel(), evidence.ravel())[0, 1] > 0.5


LIBRARY = {
    "gradcam": pytorch_grad_cam.GradCAM,
    "gradcam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "layercam": pytorch_grad_cam.LayerCAM,
    "scorecam": pytorch_grad_cam.ScoreCAM,
    "xgradcam": pytorch_grad_cam.XGradCAM,
    "hirescam": pytorch_grad_cam.HiResCAM,
}


@pytest.mark.parametrize("method", LIBRARY)
def test_maps_are_those_of_the_library(method: str) -> None:
    classifier = tiny_classifier("resnet18").eval()
    images, layer = random_images(3, 64), find_layer(classifier, "layer2")
    targets = [ClassifierOutputTarget(wanted) for wanted in (0, 1, 1)]
    with LIBRARY[method](classifier, [layer]) as library:
        expected = library(images, targets)
    cams = explain(classifier, images, [0, 1, 1], method=method, layer="layer2")
    np.testing.assert_allclose(cams, expected, atol=2e-3)


@pytest.mark.parametrize("side", [3, 9])  # fewer and more cells than channels
def test_first_component_is_that_of_the_library_up_to_its_sign(side: int) -> None:
    activations = torch.randn(2, 20, side, side, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(
        first_component(activations).numpy(), get_2d_projection(activations.numpy()), strict=True
    ):
        sign = np.sign((found * expected).sum())
        np.testing.assert_allclose(sign * found, expected, atol=1e-4)


class InPlaceMaps(Maps):
    """The same backbone with a ReLU that overwrites what the convolution gave."""

    def __init__(self) -> None:
        super().__init__("NCHW")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.conv(images)).mean(dim=(2, 3))


@pytest.mark.parametrize("method", METHODS)
def test_relu_in_place_behind_the_layer_does_not_change_its_map(method: str) -> None:
    kept, overwritten = known_classifier(), known_classifier()
    overwritten.backbone = InPlaceMaps()
    overwritten.load_state_dict(kept.state_dict())
    images = random_images(3)
    np.testing.assert_allclose(
        explain(overwritten, images, [0, 1, 1], method=method, layer="conv"),
        explain(kept, images, [0, 1, 1], method=method, layer="conv"),
        atol=1e-6,
    )


def test_nothing_before_the_layer_is_differentiated() -> None:
    network = known_classifier()
    seen: list[bool] = []
    network.backbone.conv.register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.requires_grad)
    )
    explain(network, random_images(1), [0])
    assert seen == [False]


def test_weights_are_not_changed_by_a_bit() -> None:
    classifier = tiny_classifier()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    for method in METHODS:
        explain(classifier.train(), random_images(2, 64), [0, 1], method=method, layer="layer3")
    after = classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_several_methods_share_one_pass_through_the_network() -> None:
    network = known_classifier()
    passes: list[int] = []
    network.register_forward_hook(lambda *_: passes.append(1))
    methods = [name for name in METHODS if name != "scorecam"]
    explainer = Explainer(network, two_logits(), methods, "arrange")
    maps = compute_cams(explainer, Asked(random_images(2), torch.tensor([0, 1])))
    assert list(maps) == methods
    assert len(passes) == 1


def test_network_never_sees_more_than_a_batch() -> None:
    network = known_classifier()
    sizes: list[int] = []
    network.register_forward_hook(lambda _module, _inputs, logits: sizes.append(len(logits)))
    maps = explain(network, random_images(2 * BATCH_SIZE + 1), [0] * (2 * BATCH_SIZE + 1))
    assert len(maps) == 2 * BATCH_SIZE + 1
    assert sizes == [BATCH_SIZE, BATCH_SIZE, 1]


class Twice(Maps):
    """A backbone that runs one of its layers two times."""

    def forward(self, images: Tensor) -> Tensor:
        return self.arrange(self.arrange(self.conv(images))).mean(dim=(2, 3))


def test_layer_that_runs_twice_is_refused() -> None:
    network = known_classifier()
    network.backbone = Twice("NCHW")
    with pytest.raises(UserError, match=r"'arrange' runs 2 times per image; allowed: .* once$"):
        explain(network, random_images(1), [0])


def test_map_of_tiny_values_is_scaled_like_any_other() -> None:
    cams = np.random.default_rng(0).random((2, 4, 4), np.float32)
    np.testing.assert_allclose(scale_maps(1e-12 * cams, 8), scale_maps(cams, 8), atol=1e-5)


def test_map_that_varies_by_rounding_alone_is_empty() -> None:
    cams = np.full((1, 4, 4), 0.3, np.float32)
    cams[0, 1, 1] = np.nextafter(np.float32(0.3), np.float32(1))
    assert (scale_maps(cams, 8) == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["test_resnet", "test_mambaout", "test_vit"])
def test_maps_of_real_networks_are_square_finite_and_between_zero_and_one(
    model: str, method: str
) -> None:
    classifier = tiny_classifier(model)
    layer = default_target_layer(classifier)
    cams = explain(classifier, random_images(3, 64), [0, 1, 0], method=method, layer=layer)
    assert cams.shape == (3, 64, 64)
    assert np.isfinite(cams).all()
    assert cams.min() >= 0
    assert cams.max() <= 1
    peaks = cams.max(axis=(1, 2))
    assert peaks.max() > 0.99
    assert ((peaks > 0.99) | (peaks == 0)).all()  # 0: nothing speaks for the class


@pytest.mark.parametrize("method", METHODS)
def test_map_of_an_image_does_not_depend_on_its_batch(method: str) -> None:
    classifier = tiny_classifier()
    images = random_images(BATCH_SIZE + 2, 64)
    classes = [number % 2 for number in range(BATCH_SIZE + 2)]
    together = explain(classifier, images, classes, method=method, layer="layer3")
    alone = [
        explain(classifier, images[[n]], classes[n : n + 1], method=method, layer="layer3")[0]
        for n in range(len(images))
    ]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_frozen_network_has_the_same_maps(method: str) -> None:
    free, frozen = known_classifier(), known_classifier().requires_grad_(False)
    images = random_images(2)
    maps = [explain(network, images, [0, 1], method=method) for network in (free, frozen)]
    np.testing.assert_allclose(*maps, atol=1e-6)


def test_maps_are_the_same_inside_no_grad() -> None:
    images = random_images(1)
    with torch.no_grad():
        inside = explain(known_classifier(), images, [0])
    np.testing.assert_array_equal(inside, explain(known_classifier(), images, [0]))


def test_dropout_plays_no_part_in_a_map() -> None:
    network = known_classifier()
    network.head = nn.Sequential(nn.Dropout(0.9), network.head)
    cam = explain(network.train(), random_images(1), [0])[0]
    expected = expected_gradcam(random_images(1)[0], HEAD_WEIGHT[0])
    np.testing.assert_allclose(cam, expected, atol=1e-5)


def state_of(classifier: Classifier) -> dict[str, Any]:
    return {
        "modes": [module.training for module in classifier.modules()],
        "flags": [p.requires_grad for p in classifier.parameters()],
        "gradients": [p.grad for p in classifier.parameters()],
        "hooks": [len(module._forward_hooks) for module in classifier.modules()],
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_classifier_is_left_as_it_was_found(method: str, training: bool) -> None:
    classifier = known_classifier().train(training)
    classifier.backbone.requires_grad_(False)
    gradient = torch.ones(2, 3)
    classifier.get_parameter("head.weight").grad = gradient
    before = state_of(classifier)
    explain(classifier, random_images(2), [0, 1], method=method)
    after = state_of(classifier)
    gradients = zip(before.pop("gradients"), after.pop("gradients"), strict=True)
    assert all(found is left for found, left in gradients)
    assert after == before
    assert set(after["hooks"]) == {0}
    assert torch.equal(gradient, torch.ones(2, 3))


def test_classifier_is_put_back_when_a_layer_cannot_be_explained() -> None:
    classifier = tiny_classifier("test_vit")
    before = state_of(classifier)
    with pytest.raises(UserError, match="fc_norm"):
        explain(classifier, random_images(1, 64), [0], layer="fc_norm")
    assert state_of(classifier) == before


def test_images_are_left_as_they_are() -> None:
    images = random_images(2)
    explain(known_classifier(), images, [0, 1])
    assert torch.equal(images, random_images(2))
    assert not images.requires_grad


def test_layer_is_found_by_its_dotted_name() -> None:
    classifier = tiny_classifier()
    assert find_layer(classifier, "layer4.0") is classifier.backbone.get_submodule("layer4.0")


@pytest.mark.parametrize("name", ["layer9", ""])
def test_unknown_layer_lists_those_there_are(name: str) -> None:
    expected = rf"target_layers: got the layer '{name}', .*lacks; .*outermost are: conv, arrange$"
    with pytest.raises(UserError, match=expected):
        find_layer(known_classifier(), name)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("darkcovidnet", "conv4"),
        ("test_resnet", "layer4"),
        ("test_mambaout", "stages.3"),
        ("test_vit", "blocks.5.norm1"),  # behind it the patches of a class-token head have no say
    ],
)
def test_default_layer_is_the_last_one_with_evidence_in_it(model: str, layer: str) -> None:
    assert default_target_layer(tiny_classifier(model)) == layer


def test_network_without_a_default_layer_lists_its_own() -> None:
    with pytest.raises(UserError, match=r"no default layer; name one of: conv1, conv2, conv3$"):
        default_target_layer(tiny_classifier("cnn3", size=80))


def test_tokens_become_maps_in_the_order_of_their_patches() -> None:
    backbone = nn.Module()
    backbone.num_prefix_tokens = 1  # type: ignore[assignment]
    tokens = torch.tensor([9.0, 0, 1, 2, 3]).view(1, 5, 1)
    maps = arrange_as_maps(tokens, backbone=backbone, layer="blocks.5")
    assert maps.tolist() == [[[[0.0, 1.0], [2.0, 3.0]]]]


@pytest.mark.parametrize("shape", [(1, 7), (1, 7, 3), (1, 3, 4, 5)])
def test_output_that_is_no_square_map_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    got = ", ".join(str(side) for side in shape[1:])
    with pytest.raises(UserError, match=rf"'norm' gives \({got},?\) per image; allowed: square"):
        arrange_as_maps(torch.zeros(shape), backbone=nn.Module(), layer="norm")


def lists_resolutions() -> Classifier:
    """A backbone whose stages give two resolutions as a list, and one layer that gives maps."""

    class Pyramid(nn.Module):
        def forward(self, maps: Tensor) -> list[Tensor]:
            return [maps, maps[..., ::2, ::2]]

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, kernel_size=1)
            self.stage = Pyramid()

        def forward(self, images: Tensor) -> Tensor:
            return self.stage(self.conv(images))[0].mean(dim=(2, 3))

    return Classifier(Backbone(), nn.Linear(3, 2), mean=0.0, std=1.0)


def test_layer_that_gives_a_list_is_refused_and_others_are_found() -> None:
    classifier = lists_resolutions()
    with pytest.raises(UserError, match=r"'stage' gives a list of 2 per image; allowed: a layer"):
        explain(classifier, random_images(1), [0], layer="stage")
    assert layers_with_maps(classifier, random_images(1)) == ["conv"]


def test_layer_that_the_logits_do_not_depend_on_is_refused() -> None:
    classifier = known_classifier()
    classifier.backbone.add_module("arrange", Zeroed())
    with pytest.raises(UserError, match=r"the logits do not depend on the layer 'conv'"):
        explain(classifier, random_images(1), [0], layer="conv")


class Zeroed(nn.Module):
    """Zeros whatever it is given."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.zeros(maps.shape)


def test_map_of_one_cell_is_refused() -> None:
    with pytest.raises(UserError, match=r"'arrange' gives maps of 1 x 1 cells; allowed: at"):
        explain(known_classifier(), random_images(1, side=1), [0])


def test_tokens_of_a_layer_before_the_prefix_is_added_are_all_patches() -> None:
    """As in CaiT and XCiT, whose class token comes in late: 2 x 2 patches, and no token more."""
    backbone = nn.Module()
    backbone.num_prefix_tokens = 1
    backbone.patch_embed = nn.Module()
    backbone.patch_embed.num_patches = 4
    tokens = torch.arange(4.0).view(1, 4, 1)
    maps = arrange_as_maps(tokens, backbone=backbone, layer="norm")
    assert maps.tolist() == [[[[0, 1], [2, 3]]]]


def test_maps_with_channels_last_are_known_by_their_square() -> None:
    """As in VOLO, of which timm does not say so."""
    maps = torch.rand(1, 3, 3, 5)
    assert arrange_as_maps(maps, backbone=nn.Module(), layer="x").equal(maps.permute(0, 3, 1, 2))
