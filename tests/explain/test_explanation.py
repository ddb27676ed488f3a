"""Two runs of one case: each image is explained by the first model that tests it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run, column_name, save_runs
from stages.explain.explanation import Explanation, explain_images
from stages.explain.methods import Asked, Explainer, compute_cams
from stages.explain.selection import Selection
from stages.modeling.checkpoint import load_classifier, outputs_of, save_model
from stages.modeling.classifier import build_classifier
from stages.modeling.data import to_unit_range

SIDE, COUNT = 64, 6
BUILD: dict[str, Any] = {
    "size": SIDE,
    "head": [],
    "dropout": 0.0,
    "mean": 0.5,
    "std": 0.25,
}
META = BUILD | {
    "model": "test_resnet.r160_in1k",
    "class_names": ["normal", "covid"],
    "positive": 1,
    "one_logit": True,
    "implies": {},
    "precision": "fp32",
}
SPLITS = (
    np.array(["test", "test", "train", "train", "val", "train"]),
    np.array(["train", "val", "test", "test", "test", "test"]),
)
ROWS = np.array([3, 0, 5, 1])
CLASSES = np.array([1, 0, 0, 1])
TESTED_IN = [1, 0, 1, 0]  # the run of each of ROWS


@pytest.fixture(scope="module")
def view() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
    ids = [f"i{n}" for n in range(COUNT)]
    manifest = pd.DataFrame({"image_id": ids, "sha256": [f"sum of {name}" for name in ids]})
    info: Any = None
    return ImageSet(info, manifest, images, None, None, None)


@pytest.fixture(scope="module")
def case_folder(view: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    runs = []
    for fold, splits in enumerate(SPLITS, start=1):
        torch.manual_seed(fold)
        name = column_name(fold, 1)
        model = build_classifier("test_resnet", outputs=1, **BUILD)
        save_model(folder / name, model.state_dict(), META)
        runs.append(Run(name, fold, 1, splits))
    save_runs(folder, view.manifest, runs)
    return folder


def explain(
    view: ImageSet, case_folder: Path, *, drawn: int = 0, road_images: int = 0
) -> Explanation:
    """Maps of ROWS, the first of which are drawn and the others are errors."""
    reasons = [["drawn"] if place < drawn else ["error"] for place in range(len(ROWS))]
    selected = Selection(ROWS, CLASSES, np.full(len(ROWS), 0.5), reasons)
    return explain_images(view, selected, case_folder, cam_of(road_images), seed=0)


def cam_of(road_images: int, target_layers: dict[str, str] | None = None) -> Cam:
    return Cam(
        methods=["gradcam", "layercam"],
        positive=1,
        negative=1,
        errors=0,
        uncertain=0,
        road_images=road_images,
        lesion_images=0,
        target_layers={"test_resnet": "layer3"} if target_layers is None else target_layers,
    )


def has_value(values: NDArray[np.float64]) -> list[bool]:
    return (~np.isnan(values)).tolist()


def test_each_image_has_the_map_of_the_model_that_tests_it(
    view: ImageSet, case_folder: Path
) -> None:
    found = explain(view, case_folder)
    assert found.target_layer == "layer3"
    for place, (row, wanted, run) in enumerate(zip(ROWS, CLASSES, TESTED_IN, strict=True)):
        classifier, meta = load_classifier(case_folder / column_name(run + 1, 1))
        explainer = Explainer(classifier, outputs_of(meta), ["gradcam", "layercam"], "layer3")
        image = to_unit_range(torch.from_numpy(view.images[[row]]))
        alone = compute_cams(explainer, Asked(image, torch.tensor([wanted])))
        for method, cams in found.maps.items():
            np.testing.assert_allclose(cams[place], alone[method][0], atol=1e-3)


def test_random_weights_are_for_images_drawn_and_road_for_some_of_them(
    view: ImageSet, case_folder: Path
) -> None:
    found = explain(view, case_folder, drawn=3, road_images=1)
    assert {method for method, _ in found.randomisation} == {"gradcam", "layercam"}
    assert {what for _, what in found.randomisation} == {"head", "all"}
    made = ~np.isnan(list(found.randomisation.values()))  # none where a map is empty
    assert made.any(axis=0).tolist() == [True, True, True, False]
    assert {name for name, _ in found.road} == {"gradcam", "layercam", "gaussian"}
    for values in found.road.values():
        assert has_value(values) == [True, False, False, False]


def test_the_layer_is_that_of_the_architecture_else_the_last_feature_stage(
    view: ImageSet, case_folder: Path
) -> None:
    selected = Selection(ROWS, CLASSES, np.full(len(ROWS), 0.5), [["error"]] * len(ROWS))
    for named, layer in (({"resnet18": "layer1"}, "layer4"), ({"test_resnet": "layer2"}, "layer2")):
        found = explain_images(view, selected, case_folder, cam_of(0, named), seed=0)
        assert found.target_layer == layer


def test_checks_that_nobody_asked_for_are_not_made(view: ImageSet, case_folder: Path) -> None:
    found = explain(view, case_folder)
    assert found.randomisation == found.road == {}


def test_the_same_seed_gives_the_same_checks(view: ImageSet, case_folder: Path) -> None:
    first, again = (explain(view, case_folder, drawn=2, road_images=1) for _ in range(2))
    for checks, others in ((first.randomisation, again.randomisation), (first.road, again.road)):
        for key, values in checks.items():
            np.testing.assert_array_equal(values, others[key])
