from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from stages.config.errors import UserError
from stages.config.params import FileWeights
from stages.modeling.checkpoint import save_model
from stages.modeling.classifier import build_backbone, build_classifier
from stages.modeling.initial import InitialWeights, random_weights, timm_weights
from stages.modeling.initial import file_weights as weights_of_source

MODEL = "test_efficientnet"
# Means of timm's ImageNet scaling: (0.485 + 0.456 + 0.406) / 3 and (0.229 + 0.224 + 0.225) / 3.
IMAGENET_GREY = (0.449, 0.226)


def same_tensors(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def timm_file(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as timm gives it: three colours, 1000 classes."""
    state = timm.create_model(MODEL).state_dict()
    safetensors.torch.save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors", state


def file_weights(model: str, path: Path, kind: str = "imagenet", **values: Any) -> InitialWeights:
    """Of a file with a scaling of that kind."""
    source = {"kind": "file", "path": str(path), "scaling": {"kind": kind, **values}}
    return weights_of_source(model, FileWeights.model_validate(source))


def without_network(name: str, **kwargs: Any) -> nn.Module:
    raise ConnectionError("cannot reach\n  the hub")


def test_random_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (random_weights("cnn3", seed=seed) for seed in (1, 1, 2))
    assert same_tensors(first.backbone, again.backbone)
    assert not same_tensors(first.backbone, other.backbone)


def test_random_weights_bring_a_scaling_around_mid_grey() -> None:
    initial = random_weights("cnn3", seed=0)
    assert (initial.mean, initial.std) == (0.5, 0.25)
    assert initial.facts == {"scaling": "default 0.5/0.25"}


def test_file_of_this_project_comes_back_with_its_scaling(tmp_path: Path) -> None:
    backbone = random_weights(MODEL, seed=3).backbone
    state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    head = {"head.1.weight": torch.zeros(2, 256)}
    save_model(tmp_path, state | head, {"mean": 0.4, "std": 0.2, "model": MODEL})
    loaded = file_weights(MODEL, tmp_path, "meta")
    assert same_tensors(backbone, loaded.backbone)
    assert (loaded.mean, loaded.std) == (0.4, 0.2)
    left_out = ["head.1.weight"]
    assert loaded.facts == {
        "scaling": "meta.json",
        "knows": None,
        "licence": None,
        "origin": None,
        "tensors_left_out": left_out,
        "colours_summed": False,
    }


def test_what_weights_know_and_whose_they_are_comes_with_their_meta_json(tmp_path: Path) -> None:
    knows = {
        "task": "dogs",
        "n": 50,
        "accuracy": 0.8,
        "low": 0.66,
        "high": 0.9,
        "chance": 0.5,
        "better_than_chance": True,
    }
    said = {"knows": knows, "licence": "CC0-1.0", "origin": "kennel"}
    meta = {"mean": 0.4, "std": 0.2, **said}
    save_model(tmp_path, random_weights("cnn3", seed=0).backbone.state_dict(), meta)
    facts = file_weights("cnn3", tmp_path, "meta").facts
    assert {key: facts[key] for key in said} == said


def test_scaling_of_a_file_is_that_of_its_entry_alone(tmp_path: Path) -> None:
    state = random_weights("cnn3", seed=0).backbone.state_dict()
    save_model(tmp_path, state, {"mean": 0.1, "std": 0.9})  # not read, nor watched by DVC
    path = tmp_path / "model.safetensors"
    fixed = file_weights("cnn3", path, "fixed", mean=0.4, std=[0.1, 0.2, 0.3])
    assert (fixed.mean, fixed.std) == pytest.approx((0.4, 0.2))
    assert fixed.facts["scaling"] == "params.yaml 0.4/0.2"
    imagenet = file_weights("cnn3", path, "imagenet")
    assert (imagenet.mean, imagenet.std) == pytest.approx(IMAGENET_GREY, abs=1e-6)
    assert imagenet.facts["scaling"] == "imagenet"


def test_meta_json_without_a_scaling_is_named(tmp_path: Path) -> None:
    save_model(tmp_path, random_weights("cnn3", seed=0).backbone.state_dict(), {"mean": 0.5})
    with pytest.raises(UserError, match=r"meta\.json: std: is missing$"):
        file_weights("cnn3", tmp_path, "meta")


def test_model_of_a_case_gives_its_backbone_and_its_scaling_to_another_case(
    tmp_path: Path,
) -> None:
    case = build_classifier(MODEL, size=64, head=[8], outputs=3, dropout=0.5, mean=0.4, std=0.2)
    save_model(tmp_path, case.state_dict(), {"mean": 0.4, "std": 0.2})
    loaded = file_weights(MODEL, tmp_path, "meta")
    assert same_tensors(case.backbone, loaded.backbone)
    assert loaded.facts["tensors_left_out"] == [
        f"head.{number}.{kind}" for number in (1, 4) for kind in ("bias", "weight")
    ]


def test_model_of_a_case_with_another_network_names_the_case_and_both_networks(
    tmp_path: Path,
) -> None:
    case = build_classifier("cnn3", size=80, head=[], outputs=2, dropout=0.5, mean=0.4, std=0.2)
    folder = tmp_path / "cnn3-case"
    save_model(folder, case.state_dict(), {"mean": 0.4, "std": 0.2, "model": "cnn3"})
    expected = rf"cnn3-case/meta\.json: model: got 'cnn3'; allowed here: '{MODEL}'"
    with pytest.raises(UserError, match=expected):
        file_weights(MODEL, folder, "meta")
    with pytest.raises(UserError, match=r"model\.safetensors: is of another network: 0 of "):
        file_weights(MODEL, folder / "model.safetensors")


def test_colour_file_of_timm_is_summed_to_one_channel(tmp_path: Path) -> None:
    path, state = timm_file(tmp_path)
    loaded = file_weights(MODEL, path)
    first = loaded.backbone.state_dict()["conv_stem.weight"]
    torch.testing.assert_close(first, state["conv_stem.weight"].sum(dim=1, keepdim=True))
    assert torch.equal(loaded.backbone.state_dict()["conv_head.weight"], state["conv_head.weight"])
    assert loaded.facts["tensors_left_out"] == ["classifier.bias", "classifier.weight"]
    assert loaded.facts["colours_summed"]


def test_colours_are_summed_as_timm_does_it(tmp_path: Path) -> None:
    from timm.models import adapt_input_conv

    path, state = timm_file(tmp_path)
    first = file_weights(MODEL, path).backbone.state_dict()["conv_stem.weight"]
    assert torch.equal(first, adapt_input_conv(1, state["conv_stem.weight"]))


def torchvision_network(model: str) -> nn.Module:
    """As torchvision has it, in small: the old FC layers of a VGG are of one number each."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.get_model(model)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False)]:
            values = torch.zeros(1).expand(tensor.shape)  # stored as one number
            if not isinstance(module, nn.Linear):
                spread = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.1
                values = tensor.ndim % 2 + spread * torch.randn(tensor.shape, generator=generator)
            setattr(module, name, nn.Parameter(values))
        for name, tensor in [*module.named_buffers(recurse=False)]:
            setattr(module, name, torch.ones(tensor.shape, dtype=tensor.dtype))
    return network.eval()


@torch.inference_mode()
@pytest.mark.parametrize("model", ["resnet18", "resnet50", "vgg16"])
def test_a_file_of_torchvision_gives_the_features_of_its_network(
    model: str, tmp_path: Path
) -> None:
    network = torchvision_network(model)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    loaded = file_weights(model, tmp_path / "w.pth")
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    if model == "vgg16":
        expected = network.features(grey.expand(-1, 3, -1, -1)).mean((2, 3))  # type: ignore[operator]
    else:
        network.fc = nn.Identity()
        expected = network(grey.expand(-1, 3, -1, -1))
    assert expected.std() > 0
    torch.testing.assert_close(loaded.backbone.eval()(grey), expected, rtol=1e-4, atol=1e-4)
    heads = ("fc.", "classifier.")
    assert loaded.facts["colours_summed"]
    assert all(name.startswith(heads) for name in loaded.facts["tensors_left_out"])
    assert (loaded.mean, loaded.std) == pytest.approx(IMAGENET_GREY)  # as torchvision's are


def test_timm_weights_without_a_network_say_what_else_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timm, "create_model", without_network)
    expected = r"'test_resnet' cannot be had: cannot reach the hub; .*HF_HUB_OFFLINE=1.*pretext"
    with pytest.raises(UserError, match=expected):
        timm_weights("test_resnet")


def test_timm_weights_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UserError, match=r"timm's weights of 'test_resnet\.nobodys' cannot be had"):
        timm_weights("test_resnet.nobodys")


def test_timm_weights_are_asked_for_pretrained_in_grey_and_record_their_tag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def offline(name: str, **kwargs: Any) -> nn.Module:
        asked.append((name, kwargs))
        return untrained

    untrained = build_backbone(MODEL)
    monkeypatch.setattr(timm, "create_model", offline)
    initial = timm_weights(MODEL)
    assert asked == [(MODEL, {"pretrained": True, "in_chans": 1, "num_classes": 0})]
    assert initial.backbone is untrained
    assert (initial.mean, initial.std) == pytest.approx(IMAGENET_GREY)
    assert initial.facts == {
        "scaling": "timm",
        "tag": "r160_in1k",
        "licence": "apache-2.0",
        "origin": "timm's test_efficientnet.r160_in1k",
    }
