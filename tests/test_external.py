"""The stage `external`: a trained case on images of another data set."""

import copy
import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.predictions import load_predictions
from stages.evaluate import evaluate_case
from stages.external import score_elsewhere
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights

RawParams = dict[str, Any]
Json = dict[str, Any]
CASE = "lungs-bce"


class Abroad(NamedTuple):
    """A trained case and a prepared view of another data set."""

    raw: RawParams
    paths: Paths

    def score(self, **changes: object) -> tuple[Json, pd.DataFrame]:
        """The figures and the predictions of an external test with some changes."""
        raw = copy.deepcopy(self.raw)
        raw["external"]["there"] |= changes
        score_elsewhere(parse_params(raw), "there", self.paths)
        report = json.loads(self.paths.external("there").read_text())
        return report, load_predictions(self.paths.external_predictions("there"))


@pytest.fixture(scope="module")
def abroad(shared_tiny_params: RawParams, tmp_path_factory: pytest.TempPathFactory) -> Abroad:
    raw, paths = copy.deepcopy(shared_tiny_params), Paths(tmp_path_factory.mktemp("abroad"))
    raw["phantoms"]["ct_b"] |= {"patients": {"covid": 7, "normal": 9}}
    raw["datasets"]["ct-b"] = raw["datasets"]["ct"] | {
        "source": "phantom:ct_b",
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
    }
    raw["views"]["there"] = raw["views"]["lungs"] | {"dataset": "ct-b"}
    raw["cases"][CASE] |= {"seeds": [1, 2]}
    raw["external"] = {
        "there": {"case": CASE, "view": "there", "classes": {"covid": "covid", "normal": "normal"}}
    }
    params = parse_params(raw)
    for dataset, view in (("ct", "lungs"), ("ct-b", "there")):
        prepare_dataset(params, dataset, paths)
        crop_view(params, view, paths)
    make_weights(params, "cnn3-random", paths)
    train_case(params, CASE, paths)
    evaluate_case(params, CASE, paths)
    return Abroad(raw, paths)


def test_every_image_of_every_split_is_scored_by_every_model(abroad: Abroad) -> None:
    report, predictions = abroad.score()
    assert (report["n"], report["n_groups"]) == (32, 16)
    assert (report["n_left_out"], report["n_shared_with_training"]) == (0, 0)
    assert predictions.groupby("image_id")["seed"].nunique().eq(2).all()
    assert predictions["image_id"].nunique() == 32
    assert np.sum(report["confusion_matrix"]) == 64


def test_a_mapping_renames_the_classes_and_leaves_others_out(abroad: Abroad) -> None:
    report, predictions = abroad.score(classes={"covid": "normal", "normal": "covid"})
    assert (report["n"], report["n_left_out"]) == (32, 0)
    labels = predictions.drop_duplicates("image_id").set_index("image_id")["label"]
    assert (labels[labels.index.str.startswith("covid-")] == "normal").all()
    straight, _ = abroad.score()
    flipped = report["metrics"]["auroc"]
    assert flipped == pytest.approx(1 - straight["metrics"]["auroc"], abs=2e-6)


def test_the_drop_is_external_minus_own(abroad: Abroad) -> None:
    report, _ = abroad.score()
    own = json.loads(abroad.paths.case_metrics(CASE).read_text())
    drop = report["drop"]["auroc"]
    assert drop["own"] == own["auroc"]
    assert drop["external"] == report["metrics"]["auroc"]
    assert drop["difference"] == pytest.approx(drop["external"] - drop["own"], abs=2e-6)
    assert drop["low"] <= drop["difference"] <= drop["high"]


def test_thresholds_are_those_of_the_case_and_not_chosen_anew(abroad: Abroad) -> None:
    before, _ = abroad.score()
    path = abroad.paths.case_report(CASE)
    own = json.loads(path.read_text())
    changed = copy.deepcopy(own)
    for entry in changed["operating_points"]["youden"]["thresholds"]:
        entry["threshold"] = 0.0
    path.write_text(json.dumps(changed))
    try:
        after, _ = abroad.score()
    finally:
        path.write_text(json.dumps(own))
    assert after["operating_points"]["youden"]["test"]["sensitivity"] == 1.0
    assert after["operating_points"]["youden"]["test"]["specificity"] == 0.0
    points = [report["operating_points"]["specificity_95"] for report in (before, after)]
    assert points[0] == points[1]


def test_an_ensemble_is_averaged_there_too(abroad: Abroad) -> None:
    raw = copy.deepcopy(abroad.raw)
    raw["cases"][CASE]["ensemble"] = True
    _, single = abroad.score()
    _, averaged = Abroad(raw, abroad.paths).score()
    assert len(averaged) == 32
    means = single.groupby("image_id")["prob_covid"].mean()
    found = averaged.set_index("image_id")["prob_covid"]
    np.testing.assert_allclose(found, means[found.index], atol=1e-6)


def test_images_that_the_case_has_in_its_own_data_set_are_left_out(abroad: Abroad) -> None:
    there, home = (abroad.paths.view("there") / "manifest.csv", abroad.paths.prepared("ct"))
    table = pd.read_csv(there)
    table.loc[[0, 1, 2], "sha256"] = pd.read_csv(home / "manifest.csv")["sha256"].iloc[:3].tolist()
    text = there.read_text()
    table.to_csv(there, index=False)
    try:
        report, _ = abroad.score()
    finally:
        there.write_text(text)
    assert (report["n"], report["n_shared_with_training"]) == (29, 3)


def test_without_an_image_left_it_stops_and_says_why(abroad: Abroad) -> None:
    there = abroad.paths.view("there") / "manifest.csv"
    text = there.read_text()
    pd.read_csv(there).assign(label="other").to_csv(there, index=False)
    try:
        with pytest.raises(
            UserError, match=r"external\.there: no image is left: 32 are of classes"
        ):
            abroad.score()
    finally:
        there.write_text(text)
