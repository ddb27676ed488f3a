import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.dataset.image_set import DatasetInfo, ImageSet
from stages.dataset.runs import Run, save_runs
from stages.modeling.checkpoint import load_classifier, save_model
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.outputs import Outputs
from stages.modeling.predict import (
    WHOLE,
    combine_runs,
    load_case,
    predict_case,
    predict_probabilities,
    predict_run,
)
from tests.dataset.sample import PREPARED

CPU = Hardware("cpu", "fp32")
OUTPUTS = Outputs(("normal", "covid"), 1, one_logit=True, implies={})
SHAPE: dict[str, Any] = {
    "model": "cnn3",
    "size": 80,
    "head": [],
    "dropout": 0.0,
    "mean": 0.5,
    "std": 0.25,
}


class Brightness(nn.Module):
    """One logit: the mean of the image, in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def brightness_classifier() -> Classifier:
    return Classifier(Brightness(), nn.Identity(), mean=0.0, std=1.0)


def manifest_of(labels: list[str]) -> pd.DataFrame:
    names = [f"i{number}" for number in range(len(labels))]
    sums = [f"sum of {name}" for name in names]
    columns = {
        "image_id": names,
        "sha256": sums,
        "group_id": names,
        "subgroup": "",
        "label": labels,
    }
    return pd.DataFrame(columns)


def view_of_grey(levels: list[int], lungs: list[bool]) -> ImageSet:
    """Flat images of 2 x 2 px, the lungs in the upper left pixel or nowhere."""
    images = np.stack([np.full((2, 2), level, np.uint8) for level in levels])
    masks = np.zeros_like(images)
    masks[lungs, 0, 0] = 1
    names = ["normal", "covid"]
    info = DatasetInfo(
        "d", "folder", False, "ct", names, "covid", len(levels), 0, 0, [], {}, {}, PREPARED
    )
    return ImageSet(info, manifest_of(["covid"] * len(levels)), images, None, masks, None)


def covid_probability(mean: float) -> float:
    """Of a mean grey level, 0 to 255."""
    return round(1 / (1 + math.exp(-mean / 255)), 6)


def test_of_no_image_there_is_no_probability() -> None:
    empty = np.empty((0, 4, 4), np.uint8)
    found = predict_probabilities(
        brightness_classifier(), OUTPUTS, empty, hardware=CPU, mirror=False
    )
    assert found.shape == (0, 2)


def test_batches_do_not_change_the_order_of_the_images() -> None:
    images = np.arange(130, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    found = predict_probabilities(
        brightness_classifier(), OUTPUTS, images, hardware=CPU, mirror=False
    )
    expected = [covid_probability(level) for level in range(130)]
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_network_predicts_in_the_precision_it_was_validated_in() -> None:
    torch.manual_seed(0)
    classifier = build_classifier(**SHAPE, outputs=1)
    seen = []
    classifier.backbone.register_forward_hook(lambda _, __, made: seen.append(made.dtype))
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 80), dtype=np.uint8)
    exact, rounded = (
        predict_probabilities(
            classifier, OUTPUTS, images, hardware=Hardware("cpu", precision), mirror=False
        )
        for precision in ("fp32", "bf16")
    )
    assert seen == [torch.float32, torch.bfloat16]
    np.testing.assert_allclose(rounded, exact, atol=0.01)
    np.testing.assert_allclose(rounded.sum(axis=1), 1, atol=1e-6)  # made in fp32


def test_whole_images_are_predicted_in_every_split_and_occluded_ones_in_test_with_lungs() -> None:
    view = view_of_grey([40, 80, 200, 120], lungs=[True, True, True, False])
    run = Run("", 2, 7, np.array(["train", "train", "test", "test"]))
    tables = predict_run(brightness_classifier(), OUTPUTS, view, run, hardware=CPU, mirror=False)
    assert tables.keys() == {WHOLE, "lungs_hidden", "lungs_only"}
    whole = tables[WHOLE]
    assert whole["image_id"].tolist() == ["i0", "i1", "i2", "i3"]
    assert whole["split"].tolist() == ["train", "train", "test", "test"]
    assert set(zip(whole["fold"], whole["seed"], strict=True)) == {(2, 7)}
    expected = [covid_probability(level) for level in (40, 80, 200, 120)]
    assert whole["prob_covid"].tolist() == expected
    # Grey is (40 + 80) / 2 = 60, the mean of the training images; one pixel of four is lung.
    for shown, mean in (("lungs_hidden", (3 * 200 + 60) / 4), ("lungs_only", (200 + 3 * 60) / 4)):
        table = tables[shown]
        assert (table["image_id"].tolist(), table["split"].tolist()) == (["i2"], ["test"])
        assert table["prob_covid"].tolist() == [covid_probability(mean)]


class LeftBrightness(nn.Module):
    """One logit: the mean of the left half of the image, in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : images.shape[-1] // 2].mean(dim=(2, 3))


def left_classifier() -> Classifier:
    return Classifier(LeftBrightness(), nn.Identity(), mean=0.0, std=1.0)


def test_the_mirror_averages_the_probabilities_of_both_sides() -> None:
    images = np.array([[[200, 40], [200, 40]]], np.uint8)
    found, alone = (
        predict_probabilities(left_classifier(), OUTPUTS, images, hardware=CPU, mirror=mirror)
        for mirror in (True, False)
    )
    assert alone[0, 1] == pytest.approx(covid_probability(200), abs=1e-6)
    mean = (covid_probability(200) + covid_probability(40)) / 2
    assert found[0].tolist() == pytest.approx([1 - mean, mean], abs=1e-6)


def test_occluded_images_are_mirrored_with_what_hides_them() -> None:
    view = view_of_grey([60, 200], lungs=[True, True])  # the lungs in the upper left pixel
    run = Run("", 1, 1, np.array(["train", "test"]))
    tables = predict_run(left_classifier(), OUTPUTS, view, run, hardware=CPU, mirror=True)
    # Left half with the lungs hidden by the grey of 60: (60 + 200) / 2; right half: 200.
    mean = (covid_probability(130) + covid_probability(200)) / 2
    assert tables["lungs_hidden"]["prob_covid"].tolist() == pytest.approx([mean], abs=2e-6)
    assert tables[WHOLE]["prob_covid"].tolist() == [covid_probability(60), covid_probability(200)]


def test_an_image_that_is_validated_on_too_has_a_row_for_each_and_is_hidden_once() -> None:
    view = view_of_grey([40, 80, 200], lungs=[True, True, True])
    run = Run("", 1, 0, np.array(["train", "both", "both"]))
    tables = predict_run(brightness_classifier(), OUTPUTS, view, run, hardware=CPU, mirror=False)
    whole = tables[WHOLE]
    assert whole["image_id"].tolist() == ["i0", "i1", "i2", "i1", "i2"]
    assert whole["split"].tolist() == ["train", "val", "val", "test", "test"]
    assert whole["prob_covid"].tolist()[1:3] == whole["prob_covid"].tolist()[3:]
    assert tables["lungs_hidden"]["image_id"].tolist() == ["i1", "i2"]
    assert set(tables["lungs_hidden"]["split"]) == {"test"}


def save_case(
    folder: Path, *, ensemble: bool, mirror: bool = False, seeds: tuple[int, ...] = (1, 2)
) -> None:
    """A case of two classes with a network of random weights for each seed."""
    known = manifest_of(["covid", "normal"])
    runs = [Run(f"fold1-seed{s}", 1, s, np.array(["train", "test"])) for s in seeds]
    save_runs(folder, known, runs)
    meta = {
        "class_names": ["normal", "covid"],
        "positive": 1,
        "one_logit": True,
        "implies": {},
        "precision": "fp32",
        "mirror": mirror,
    }
    for run in runs:
        torch.manual_seed(run.seed)
        state = build_classifier(**SHAPE, outputs=1).state_dict()
        save_model(folder / run.name, state, SHAPE | meta | {"ensemble": ensemble})


def test_every_model_of_a_case_speaks_of_other_images_as_of_test_images(tmp_path: Path) -> None:
    save_case(tmp_path, ensemble=False)
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 80), dtype=np.uint8)
    manifest = manifest_of(["normal", "covid", "covid"]).assign(image_id=["x", "y", "z"])
    case = load_case(tmp_path)
    table = predict_case(case, images, manifest, device="cpu")
    assert table["image_id"].tolist() == ["x", "y", "z"] * 2
    assert table["label"].tolist() == ["normal", "covid", "covid"] * 2
    assert table["seed"].tolist() == [1, 1, 1, 2, 2, 2]
    assert set(table["split"]) == {"test"}
    for seed in (1, 2):
        classifier, _ = load_classifier(tmp_path / f"fold1-seed{seed}")
        expected = predict_probabilities(classifier, OUTPUTS, images, hardware=CPU, mirror=False)
        own = table[table["seed"] == seed]
        assert own[["prob_normal", "prob_covid"]].to_numpy().tolist() == expected.round(6).tolist()


def test_a_case_that_predicts_mirrors_does_so_of_other_images_too(tmp_path: Path) -> None:
    save_case(tmp_path / "plain", ensemble=False)
    save_case(tmp_path / "mirrored", ensemble=False, mirror=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 80), dtype=np.uint8)
    manifest = manifest_of(["normal", "covid", "covid"])
    plain, flipped, mirrored = (
        predict_case(load_case(tmp_path / name), shown, manifest, device="cpu")["prob_covid"]
        for name, shown in (
            ("plain", images),
            ("plain", images[..., ::-1]),
            ("mirrored", images),
        )
    )
    np.testing.assert_allclose(mirrored, (plain + flipped) / 2, atol=2e-6)
    assert (plain - flipped).abs().min() > 1e-5


def test_a_case_is_described_without_its_models(tmp_path: Path) -> None:
    save_case(tmp_path, ensemble=True)
    for model in tmp_path.rglob("*.safetensors"):
        model.unlink()
    case = load_case(tmp_path)
    assert case.ensemble
    assert (case.outputs.class_names, case.outputs.positive) == (("normal", "covid"), 1)
    assert case.table.images["sha256"].tolist() == ["sum of i0", "sum of i1"]


def test_a_case_whose_model_has_no_description_is_named(tmp_path: Path) -> None:
    save_case(tmp_path, ensemble=True)
    (tmp_path / "fold1-seed1" / "meta.json").unlink()
    with pytest.raises(UserError, match=r"fold1-seed1/meta\.json: does not exist"):
        load_case(tmp_path)


def test_an_ensemble_says_of_a_test_image_the_mean_of_its_models() -> None:
    view = view_of_grey([100, 200], lungs=[True, True])
    rows = pd.concat(
        predict_run(
            Classifier(Brightness(), nn.Identity(), mean=mean, std=1.0),
            OUTPUTS,
            view,
            Run(f"fold1-seed{seed}", 1, seed, np.array(["train", "test"])),
            hardware=CPU,
            mirror=False,
        )[WHOLE]
        for seed, mean in ((1, 0.0), (2, 0.5))
    )
    apart = combine_runs(rows, ["normal", "covid"], ensemble=False)
    assert apart["image_id"].tolist() == ["i0", "i1", "i0", "i1"]
    together = combine_runs(rows, ["normal", "covid"], ensemble=True)
    assert together["image_id"].tolist() == ["i0", "i0", "i1"]  # training rows stay apart
    mean = (covid_probability(200) + covid_probability(200 - 127.5)) / 2
    assert together["prob_covid"].iloc[-1] == pytest.approx(mean, abs=1e-6)
