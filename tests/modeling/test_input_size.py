"""Networks at the size of a view, from weights for another one."""

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from stages.config.errors import UserError
from stages.modeling.classifier import build_backbone, count_features
from stages.modeling.input_size import fit_positions, size_arguments, usual_size
from stages.modeling.loading import load_backbone

VIT = "test_vit"  # patches of 16 px, a class token, usually 160 px: 10 x 10 patches


@pytest.mark.parametrize(
    ("model", "expected"), [(VIT, {"img_size": 80}), ("test_resnet", {}), ("vgg11_fc", {})]
)
def test_only_networks_of_a_fixed_size_are_told_the_size(
    model: str, expected: dict[str, int]
) -> None:
    assert size_arguments(model, 80) == expected


def test_without_a_size_a_network_has_its_usual_one() -> None:
    assert size_arguments(VIT, None) == {}
    backbone = build_backbone(VIT)
    assert usual_size(backbone) == 160
    assert backbone.get_parameter("pos_embed").shape[1] == 1 + 10 * 10


def test_position_embeddings_are_resampled_as_by_timm_and_nothing_else_changes() -> None:
    usual, small = build_backbone(VIT), build_backbone(VIT, 80)
    state = usual.state_dict()
    assert load_backbone(small, state, "x") == []
    expected = resample_abs_pos_embed(state["pos_embed"], [5, 5], num_prefix_tokens=1)
    loaded = small.state_dict()
    torch.testing.assert_close(loaded.pop("pos_embed"), expected, rtol=0, atol=1e-6)
    assert all(tensor.equal(state[name]) for name, tensor in loaded.items())


def test_the_class_token_keeps_its_position() -> None:
    usual = build_backbone(VIT).state_dict()
    fitted = fit_positions(usual, build_backbone(VIT, 80))
    assert fitted["pos_embed"][:, 0].equal(usual["pos_embed"][:, 0])


def test_a_constant_embedding_stays_constant() -> None:
    state = build_backbone(VIT).state_dict()
    state["pos_embed"] = torch.full_like(state["pos_embed"], 0.25)
    fitted = fit_positions(state, build_backbone(VIT, 48))
    torch.testing.assert_close(fitted["pos_embed"], torch.full((1, 1 + 3 * 3, 64), 0.25))


def test_weights_of_the_same_size_are_left_as_they_are() -> None:
    state = build_backbone(VIT, 80).state_dict()
    fitted = fit_positions(state, build_backbone(VIT, 80))
    assert all(fitted[name] is tensor for name, tensor in state.items())


def test_relative_positions_of_a_swin_are_fitted_to_its_smaller_windows() -> None:
    # At 96 px the third stage has 6 x 6 cells, one window instead of several of 7 x 7.
    table = "layers.2.blocks.0.attn.relative_position_bias_table"
    model = "swin_tiny_patch4_window7_224"
    with torch.device("meta"):
        small = build_backbone(model, 96)
        heads = small.state_dict()[table].shape[1]
    fitted = fit_positions({table: torch.full((13 * 13, heads), 0.5)}, small)
    torch.testing.assert_close(fitted[table], torch.full((11 * 11, heads), 0.5))


def test_kernels_of_another_patch_size_are_another_network() -> None:
    state = build_backbone(VIT).state_dict()
    kernel = state["patch_embed.proj.weight"]
    state["patch_embed.proj.weight"] = kernel[..., ::2, ::2]  # timm would resample this as well
    with pytest.raises(UserError, match=r"'patch_embed.proj.weight' is .*, 8, 8\)"):
        load_backbone(build_backbone(VIT, 80), state, "x")


def test_embeddings_of_another_width_are_refused_and_named() -> None:
    state = build_backbone(VIT).state_dict()
    state["pos_embed"] = torch.zeros(1, 101, 32)
    with pytest.raises(UserError, match=r"x: .*'pos_embed' is .*, 32\) and not .*, 64\)"):
        load_backbone(build_backbone(VIT, 80), state, "x")


def test_patches_that_would_leave_a_border_unseen_are_refused() -> None:
    # timm takes 88 px as 5 x 5 patches of 16 px and drops the last 8 rows and columns.
    dropping = build_backbone("vit_tiny_patch16_224", 88).eval()
    images = torch.rand(1, 1, 88, 88)
    blank = images.clone()
    blank[..., 80:, :] = 0
    with torch.inference_mode():
        assert dropping(images).equal(dropping(blank))
    with pytest.raises(UserError, match=r"88 px whole: .* of 16 px; allowed: 80 px, 96 px and"):
        count_features(dropping, "vit_tiny_patch16_224", 88)
