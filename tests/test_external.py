"""The stage `external`: a trained case on images of another data set."""

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    ct = raw["datasets"]["ct"]
    raw["datasets"]["ct-b"] = ct | {
        "cohort": ct["cohort"] | {"kind": "ct_b", "patients": {"covid": 7, "normal": 9}},
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
    }
    raw["views"]["there"] = raw["views"]["lungs"] | {"dataset": "ct-b"}
    raw["protocols"]["once"] |= {"seeds": [1, 2]}
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
    # An external test needs the model's folder and the other view, and nothing of these.
    for folder in (paths.prepared("ct"), paths.prepared("ct-b"), paths.view("lungs")):
        shutil.rmtree(folder)
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


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Give a file another content for a while."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def test_thresholds_are_those_of_the_case_and_not_chosen_anew(abroad: Abroad) -> None:
    before, _ = abroad.score()
    path = abroad.paths.case_report(CASE)
    own = json.loads(path.read_text())
    for entry in own["operating_points"]["youden"]["thresholds"]:
        entry["threshold"] = 0.0
    with changed(path, json.dumps(own)):
        after, _ = abroad.score()
    assert after["operating_points"]["youden"]["test"]["sensitivity"] == 1.0
    assert after["operating_points"]["youden"]["test"]["specificity"] == 0.0
    points = [report["operating_points"]["specificity_95"] for report in (before, after)]
    assert points[0] == points[1]


def test_an_ensemble_is_averaged_there_too(abroad: Abroad) -> None:
    _, single = abroad.score()
    path = abroad.paths.weights(CASE) / "fold1-seed1" / "meta.json"
    meta = json.loads(path.read_text())
    assert meta["ensemble"] is False
    with changed(path, json.dumps(meta | {"ensemble": True})):
        _, averaged = abroad.score()
    assert len(averaged) == 32
    means = single.groupby("image_id")["prob_covid"].mean()
    found = averaged.set_index("image_id")["prob_covid"]
    np.testing.assert_allclose(found, means[found.index], atol=1e-6)


def test_images_that_the_case_has_in_its_own_data_set_are_left_out(abroad: Abroad) -> None:
    there = abroad.paths.view("there") / "manifest.csv"
    own = pd.read_csv(abroad.paths.weights(CASE) / "runs.csv")["sha256"]
    table = pd.read_csv(there)
    table.loc[[0, 1, 2], "sha256"] = own.iloc[:3].tolist()
    with changed(there, table.to_csv(index=False)):
        report, _ = abroad.score()
    assert (report["n"], report["n_shared_with_training"]) == (29, 3)


def test_without_an_image_left_it_stops_and_says_why(abroad: Abroad) -> None:
    there = abroad.paths.view("there") / "manifest.csv"
    others = pd.read_csv(there).assign(label="other").to_csv(index=False)
    said = r"external\.there: no image is left: 32 are of classes"
    with changed(there, others), pytest.raises(UserError, match=said):
        abroad.score()
