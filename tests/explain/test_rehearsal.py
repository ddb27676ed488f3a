"""A network on `meta` is told from one that would fail later; what is refused is in test_check."""

import pytest
import timm
import torch

from stages.config.errors import UserError
from stages.explain.layers import target_layer
from stages.explain.methods import Asked, Explainer, compute_cams
from stages.explain.rehearsal import (
    OUTPUTS,
    rehearse,
    require_fitting_weights,
    require_trainable,
)
from stages.modeling.classifier import build_backbone, build_classifier
from stages.modeling.loading import load_backbone

TEST_MODELS = timm.list_models("test_*")


def test_nothing_has_a_value() -> None:
    classifier = rehearse("test_vit", 96, {})
    assert {tensor.device.type for tensor in classifier.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("model", TEST_MODELS)
def test_what_is_accepted_has_a_map(model: str) -> None:
    """Refused or accepted, each of timm's small networks is the same thing when it has values."""
    size = 96
    try:
        require_fitting_weights(rehearse(model, size, {}), model, size, None)
    except UserError:
        with pytest.raises(UserError):
            make_map(model, size)
        return
    assert make_map(model, size) == (2, size, size)


def make_map(model: str, size: int) -> tuple[int, ...]:
    torch.manual_seed(0)
    classifier = build_classifier(
        model, size=size, head=[], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )
    load_backbone(classifier.backbone, build_backbone(model).state_dict(), "weights")
    layer = target_layer(classifier, model, {})
    asked = Asked(torch.rand(2, 1, size, size), torch.tensor([0, 1]))
    return compute_cams(Explainer(classifier, OUTPUTS, ["gradcam"], layer), asked)["gradcam"].shape


def test_blocks_are_counted_for_each_level_anew() -> None:
    classifier = rehearse("test_resnet", 64, {})
    require_trainable(classifier, [], 2, "head")
    require_trainable(classifier, [], 2, "last:1")
    with pytest.raises(UserError, match=r"^train: got 'last:99' for a backbone of"):
        require_trainable(classifier, [], 2, "last:99")


def test_training_that_fails_where_evaluation_does_not_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = timm.models.ResNet.forward

    def forward(network: timm.models.ResNet, images: torch.Tensor) -> torch.Tensor:
        if network.training:
            raise TypeError("a tuple, while training")
        return plain(network, images)

    monkeypatch.setattr(timm.models.ResNet, "forward", forward)
    expected = r"^model: test_resnet cannot train on views of 64 px: a tuple, while training$"
    with pytest.raises(UserError, match=expected):
        rehearse("test_resnet", 64, {})
