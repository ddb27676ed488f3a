"""Two runs of one case: each image is explained by the first model that tests it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stages.explain.explanation import Explanation, explain_rows
from stages.explain.methods import compute_cams
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run, column_name, save_runs
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
    "model": "test_resnet",
    "class_names": ["normal", "covid"],
    "positive": 1,
    "one_logit": True,
    "implies": {},
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
    manifest = pd.DataFrame({"image_id": [f"i{n}" for n in range(COUNT)]})
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
    save_runs(folder, view.manifest["image_id"], runs)
    return folder


def explain(
    view: ImageSet, case_folder: Path, *, randomised: list[int], removed: list[int]
) -> Explanation:
    return explain_rows(
        view,
        ROWS,
        CLASSES,
        case_folder,
        methods=["gradcam", "layercam"],
        target_layer="layer3",
        randomised=np.array(randomised, np.int64),
        removed=np.array(removed, np.int64),
        seed=0,
    )


def has_value(values: NDArray[np.float64]) -> list[bool]:
    return (~np.isnan(values)).tolist()


def test_each_image_has_the_map_of_the_model_that_tests_it(
    view: ImageSet, case_folder: Path
) -> None:
    found = explain(view, case_folder, randomised=[], removed=[])
    assert found.target_layer == "layer3"
    for place, (row, wanted, run) in enumerate(zip(ROWS, CLASSES, TESTED_IN, strict=True)):
        classifier, meta = load_classifier(case_folder / column_name(run + 1, 1))
        alone = compute_cams(
            classifier,
            outputs_of(meta),
            to_unit_range(torch.from_numpy(view.images[[row]])),
            torch.tensor([wanted]),
            methods=["gradcam", "layercam"],
            target_layer="layer3",
        )
        for method, cams in found.maps.items():
            np.testing.assert_allclose(cams[place], alone[method][0], atol=1e-3)


def test_checks_are_made_of_the_images_asked_for(view: ImageSet, case_folder: Path) -> None:
    found = explain(view, case_folder, randomised=[0, 1, 2], removed=[1])
    assert {method for method, _ in found.randomisation} == {"gradcam", "layercam"}
    assert {what for _, what in found.randomisation} == {"head", "all"}
    made = ~np.isnan(list(found.randomisation.values()))  # none where a map is empty
    assert made.any(axis=0).tolist() == [True, True, True, False]
    assert {name for name, _ in found.road} == {"gradcam", "layercam", "gaussian"}
    for values in found.road.values():
        assert has_value(values) == [False, True, False, False]


def test_checks_that_nobody_asked_for_are_not_made(view: ImageSet, case_folder: Path) -> None:
    found = explain(view, case_folder, randomised=[], removed=[])
    assert found.randomisation == found.road == {}


def test_the_same_seed_gives_the_same_checks(view: ImageSet, case_folder: Path) -> None:
    first, again = (explain(view, case_folder, randomised=[0, 1], removed=[1]) for _ in range(2))
    for checks, others in ((first.randomisation, again.randomisation), (first.road, again.road)):
        for key, values in checks.items():
            np.testing.assert_array_equal(values, others[key])
