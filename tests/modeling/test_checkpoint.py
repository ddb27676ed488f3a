import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.config.errors import UserError
from stages.modeling.checkpoint import (
    describe_parameters,
    load_classifier,
    load_meta,
    load_state,
    outputs_of,
    save_model,
)
from stages.modeling.classifier import Classifier, build_classifier

SHAPE: dict[str, Any] = {
    "model": "test_resnet",
    "size": 64,
    "head": [8],
    "dropout": 0.5,
    "mean": 0.4,
    "std": 0.2,
}
MEANING = {"class_names": ["covid", "normal"], "positive": 0, "one_logit": True}


def trained_classifier() -> tuple[Classifier, torch.Tensor]:
    """A network whose batch normalisation has seen images, and those images."""
    torch.manual_seed(0)
    classifier = build_classifier(**SHAPE, outputs=1)
    images = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    classifier(images)
    return classifier.to(memory_format=torch.channels_last).eval(), images


def test_saved_model_gives_the_same_logits_when_loaded(tmp_path: Path) -> None:
    classifier, images = trained_classifier()
    save_model(tmp_path / "case", classifier.state_dict(), SHAPE | MEANING)
    loaded, _ = load_classifier(tmp_path / "case")
    loaded = loaded.to(memory_format=torch.channels_last)
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(images), classifier(images))


def test_meta_holds_what_was_given_and_the_versions_of_the_libraries(tmp_path: Path) -> None:
    classifier, _ = trained_classifier()
    meta = SHAPE | MEANING | {"parameters": describe_parameters(classifier)}
    save_model(tmp_path, classifier.state_dict(), meta)
    loaded = load_meta(tmp_path)
    versions = loaded.pop("versions")
    assert loaded == meta
    assert versions["torch"] == version("torch")
    assert versions.keys() == {"torch", "torchvision", "timm", "lightning", "numpy"}


def test_meta_is_readable_text_that_ends_in_a_newline(tmp_path: Path) -> None:
    save_model(tmp_path, {"a": torch.zeros(1)}, {"model": "cnn3"})
    text = (tmp_path / "meta.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["model"] == "cnn3"


def test_parameters_are_described_by_shape_and_by_whether_they_are_trained() -> None:
    classifier = build_classifier(**(SHAPE | {"model": "cnn3", "size": 80}), outputs=1)
    classifier.get_parameter("backbone.conv1.weight").requires_grad_(False)
    described = describe_parameters(classifier)
    assert described["backbone.conv1.weight"] == {"shape": [32, 1, 8, 8], "trained": False}
    assert described["head.1.weight"] == {"shape": [8, 64], "trained": True}
    assert len(described) == 10


def test_meaning_of_the_logits_is_read_from_the_meta() -> None:
    outputs = outputs_of(MEANING)
    assert outputs.class_names == ("covid", "normal")
    assert (outputs.positive, outputs.one_logit, outputs.count) == (0, True, 1)


def test_file_that_is_no_safetensors_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not tensors at all")
    with pytest.raises(
        UserError, match=r"model\.safetensors: is not a readable \.safetensors file"
    ):
        load_state(path)


def test_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    save_model(tmp_path, {"a": torch.zeros(100)}, {})
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        UserError, match=r"model\.safetensors: is not a readable \.safetensors file"
    ):
        load_state(path)


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.safetensors: is not a readable"):
        load_state(tmp_path / "gone.safetensors")
