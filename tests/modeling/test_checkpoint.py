import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from stages.config.errors import UserError
from stages.modeling.checkpoint import (
    count_parameters,
    describe_parameters,
    load_classifier,
    load_meta,
    load_state,
    outputs_of,
    run_folder,
    save_model,
)
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.freeze import freeze

SHAPE: dict[str, Any] = {
    "model": "test_resnet",
    "size": 64,
    "head": [8],
    "dropout": 0.5,
    "mean": 0.4,
    "std": 0.2,
}
MEANING = {"class_names": ["covid", "normal"], "positive": 0, "one_logit": True, "implies": {}}


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
    assert versions.keys() == {"torch", "torchvision", "timm", "lightning-fabric", "numpy"}


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


def test_counts_of_parameters_are_of_scalars_and_of_tensors() -> None:
    # cnn3 at 80 px: 32*64 + 32, 64*32*49 + 64, 64*64*16 + 64; head: 64*8 + 8, 8*1 + 1.
    classifier = build_classifier(**(SHAPE | {"model": "cnn3", "size": 80}), outputs=1)
    for name in ("conv1.weight", "conv1.bias"):
        classifier.get_parameter(f"backbone.{name}").requires_grad_(False)
    assert count_parameters(classifier) == {
        "trained": 100416 + 65600 + 520 + 9,
        "frozen": 2080,
        "trained_tensors": 8,
        "frozen_tensors": 2,
    }


def test_counts_and_descriptions_of_parameters_tell_the_same() -> None:
    classifier, _ = trained_classifier()
    freeze(classifier, "last:1")
    counts, described = count_parameters(classifier), describe_parameters(classifier)
    total = sum(parameter.numel() for parameter in classifier.parameters())
    assert counts["trained"] + counts["frozen"] == total
    for kind, trained in (("trained", True), ("frozen", False)):
        shapes = [facts["shape"] for facts in described.values() if facts["trained"] == trained]
        assert sum(math.prod(shape) for shape in shapes) == counts[kind] > 0
        assert len(shapes) == counts[f"{kind}_tensors"]


def test_meaning_of_the_logits_is_read_from_the_meta() -> None:
    outputs = outputs_of(MEANING)
    assert outputs.class_names == ("covid", "normal")
    assert (outputs.positive, outputs.one_logit, outputs.count) == (0, True, 1)


def test_labels_that_imply_others_are_read_from_the_meta() -> None:
    names = ["covid", "pneumonia", "normal"]
    implies = {"covid": ["pneumonia"]}
    outputs = outputs_of(MEANING | {"class_names": names, "one_logit": False, "implies": implies})
    assert (outputs.implies, outputs.count) == (implies, 3)


def test_each_of_several_runs_has_a_folder_and_a_single_one_has_that_of_its_case(
    tmp_path: Path,
) -> None:
    assert run_folder(tmp_path / "case", "") == tmp_path / "case"
    assert run_folder(tmp_path / "case", "fold2-seed1") == tmp_path / "case" / "fold2-seed1"


def test_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold1-seed0/meta\.json: does not exist; .*dvc repro"):
        load_classifier(run_folder(tmp_path, "fold1-seed0"))


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


def test_a_disk_that_is_full_is_told_of_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", fill)
    said = r"model\.safetensors: cannot be written \(No space left on device\); make room"
    with pytest.raises(UserError, match=said):
        save_model(tmp_path, {}, {})
    assert list(tmp_path.iterdir()) == []
