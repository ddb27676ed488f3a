"""Maps against known lesions: which images, which model, which figures beside the centre's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run, column_name, save_runs
from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.evaluation.statistics.records import Bootstrap
from stages.explain.explanation import map_classes
from stages.explain.methods import Asked, Explainer, compute_cams
from stages.explain.pointing import compare_with_centre, find_known, score_pointing
from stages.modeling.checkpoint import load_classifier, outputs_of, save_model
from stages.modeling.classifier import build_classifier
from stages.modeling.data import to_unit_range
from tests.dataset.sample import info_of

SIDE, COUNT = 64, 6
DRAWS = Bootstrap(200, 0)
BUILD = {"size": SIDE, "head": [], "dropout": 0.0, "mean": 0.5, "std": 0.25}
META = BUILD | {
    "model": "test_resnet.r160_in1k",
    "class_names": ["normal", "covid"],
    "positive": 1,
    "one_logit": True,
    "implies": {},
    "precision": "fp32",
}
LABELS = ["covid", "covid", "normal", "covid", "covid", "normal"]
SPLITS = (
    np.array(["test", "test", "train", "train", "val", "train"]),
    np.array(["train", "val", "test", "test", "test", "test"]),
)
# i0: a lesion; i1: known, but outside of the view; i2: none known; i3, i4: lesions; i5 is of no
# interest, since it is healthy.
KNOWN = [LESION_BIT | LUNG_BIT, LESION_BIT, LUNG_BIT, LESION_BIT, LESION_BIT, 0]


def view_of(known: list[int] | None = KNOWN) -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
    truth = np.zeros_like(images)
    truth[[0, 3, 4], :32, :32] = LESION_BIT
    ids = [f"i{n}" for n in range(COUNT)]
    manifest = pd.DataFrame(
        {"image_id": ids, "sha256": ids, "group_id": ["a", "b", "c", "d", "d", "e"]}
        | {"label": LABELS}
    )
    bits = None if known is None else np.array(known, np.uint8)
    return ImageSet(info_of(), manifest, images, truth, None, None, known_truth=bits)


def predictions_of(*image_ids: str) -> pd.DataFrame:
    return pd.DataFrame({"prediction": "normal"}, index=list(image_ids))


ALL = predictions_of(*(f"i{n}" for n in range(COUNT)))


def cam_of(lesion_images: int) -> Cam:
    return Cam(
        methods=["gradcam", "hirescam"],
        positive=1,
        negative=1,
        errors=0,
        uncertain=0,
        road_images=0,
        lesion_images=lesion_images,
        target_layers={},
    )


@pytest.fixture(scope="module")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, runs = tmp_path_factory.mktemp("case"), []
    for fold, splits in enumerate(SPLITS, start=1):
        torch.manual_seed(fold)
        name = column_name(fold, 1)
        model = build_classifier("test_resnet", outputs=1, **BUILD)  # type: ignore[arg-type]
        save_model(folder / name, model.state_dict(), META)
        runs.append(Run(name, fold, 1, splits))
    save_runs(folder, view_of().manifest, runs)
    return folder


def test_images_are_tested_ones_whose_lesions_are_known_and_in_the_view() -> None:
    found = find_known(view_of(), ALL, 10, seed=0)
    assert (found.rows.tolist(), found.n_known, found.n_out_of_view) == ([0, 3, 4], 4, 1)
    found = find_known(view_of(), predictions_of("i1", "i2", "i4"), 10, seed=0)
    assert (found.rows.tolist(), found.n_known, found.n_out_of_view) == ([4], 2, 1)


def test_of_phantoms_all_is_known_and_images_without_a_lesion_are_healthy() -> None:
    found = find_known(view_of(None), ALL, 10, seed=0)
    assert (found.rows.tolist(), found.n_known, found.n_out_of_view) == ([0, 3, 4], 3, 0)


def test_no_more_images_are_drawn_than_asked_for() -> None:
    drawn = {tuple(find_known(view_of(), ALL, 2, seed).rows.tolist()) for seed in range(20)}
    assert drawn == {(0, 3), (0, 4), (3, 4)}


def test_each_map_is_of_the_class_given_and_by_the_model_that_tests_the_image(
    case_folder: Path,
) -> None:
    view, rows, classes = view_of(), np.array([0, 3, 4]), np.array([1, 1, 0])
    found = map_classes(view, rows, classes, case_folder, cam_of(3))
    for at, run in enumerate([1, 2, 2]):
        classifier, meta = load_classifier(case_folder / column_name(run, 1))
        explainer = Explainer(classifier, outputs_of(meta), ["gradcam"], "layer4")
        images = to_unit_range(torch.from_numpy(view.images[rows[at : at + 1]]))
        alone = compute_cams(explainer, Asked(images, torch.from_numpy(classes[at : at + 1])))
        np.testing.assert_allclose(found["gradcam"][at], alone["gradcam"][0], atol=1e-5)


def test_a_case_is_scored_on_the_true_class_whatever_it_predicted(case_folder: Path) -> None:
    found = score_pointing(view_of(), ALL, case_folder, cam_of(10), DRAWS)
    assert found is not None
    content = found.to_json()
    assert (content["n"], content["n_groups"]) == (3, 2)
    assert (content["n_known"], content["n_out_of_view"]) == (4, 1)
    assert list(content["methods"]) == ["gradcam", "hirescam"]
    maps = map_classes(view_of(), np.array([0, 3, 4]), np.ones(3, int), case_folder, cam_of(3))
    inside = [cam[:32, :32].sum() / cam.sum() for cam in maps["gradcam"] if cam.any()]
    assert content["methods"]["gradcam"]["in_lesions"]["first"] == pytest.approx(
        np.mean(inside), abs=1e-5
    )


def test_nothing_known_or_nothing_asked_for_is_no_score(case_folder: Path) -> None:
    unknown = view_of([LUNG_BIT] * COUNT)
    assert score_pointing(unknown, ALL, case_folder, cam_of(10), DRAWS) is None
    assert score_pointing(view_of(), ALL, case_folder, cam_of(0), DRAWS) is None


def test_lesions_that_are_all_out_of_view_are_counted_and_score_nothing(case_folder: Path) -> None:
    found = score_pointing(view_of(), predictions_of("i1"), case_folder, cam_of(10), DRAWS)
    assert found is not None
    assert (found.n, found.n_known, found.n_out_of_view, found.methods) == (0, 1, 1, {})


def corner_map(row: int, column: int) -> NDArray[np.float32]:
    cam = np.zeros((4, 4), np.float32)
    cam[row, column] = 1
    return cam


LESIONS = np.zeros((4, 4, 4), dtype=bool)
LESIONS[:, :2, :2] = True  # a quarter; one of the four middle pixels
GROUPS = np.array(["a", "b", "c", "d"])


def test_hits_and_shares_stand_beside_those_of_the_centre_worked_by_hand() -> None:
    maps = {"m": np.stack([corner_map(0, 0)] * 3 + [corner_map(3, 3)])}
    found = compare_with_centre(maps, LESIONS, GROUPS, DRAWS)["m"]
    hits = found["peak_in_lesions"]
    # Four middle pixels are the Gaussian's highest, and one of them lies in the lesion.
    assert (hits.first.value, hits.second.value, hits.difference.value) == (0.75, 0.25, 0.5)
    share = found["in_lesions"]
    assert (share.first.value, share.second.value) == (0.75, 0.25)  # a quarter by symmetry
    assert hits.difference.low is not None
    assert hits.difference.high is not None
    # An image that one of the two hits is added to the four (Bonett and Price 2012): 0.5 * 4 / 5.
    assert (hits.difference.low + hits.difference.high) / 2 == pytest.approx(0.4)
    assert not hits.difference.excludes_zero  # four images settle little


def test_an_empty_map_hits_nothing_and_has_no_share() -> None:
    empty = np.zeros((4, 4), np.float32)
    maps = {
        "m": np.stack([corner_map(0, 0), empty, empty, empty]),
        "none": np.zeros((4, 4, 4), "f4"),
    }
    found = compare_with_centre(maps, LESIONS, GROUPS, DRAWS)
    assert found["m"]["peak_in_lesions"].first.value == 0.25
    assert found["m"]["in_lesions"].first.value == 1
    assert found["none"]["in_lesions"].first.value is None
    assert found["none"]["peak_in_lesions"].first.value == 0


def test_one_patient_has_figures_and_no_interval() -> None:
    maps = {"m": np.stack([corner_map(0, 0)] * 4)}
    found = compare_with_centre(maps, LESIONS, np.array(["a"] * 4), DRAWS)["m"]["peak_in_lesions"]
    assert (found.difference.value, found.difference.has_interval) == (0.75, False)


def test_maps_that_never_hit_leave_room_for_hits() -> None:
    n = 20
    maps = {"m": np.stack([corner_map(3, 3)] * n)}
    lesions = np.repeat(LESIONS[:1], n, axis=0)
    groups = np.array([f"g{number}" for number in range(n)])
    hits = compare_with_centre(maps, lesions, groups, DRAWS)["m"]["peak_in_lesions"].first
    # Wilson's interval of 0 of 20 ends at z^2 / (20 + z^2).
    assert hits[:3] == pytest.approx((0.0, 0.0, 0.161125), abs=1e-5)
