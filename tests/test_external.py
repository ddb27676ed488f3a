"""The stage `external`: a trained case on images of another data set."""

import copy
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.image_set import (
    FINGERPRINTS,
    load_image_set,
    load_manifest,
    without_padding,
)
from stages.dataset.predictions import load_predictions
from stages.evaluate import evaluate_case
from stages.external import score_elsewhere
from stages.imaging.fingerprint import fingerprint, open_fingerprints
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights

RawParams = dict[str, Any]
Json = dict[str, Any]
Change = Callable[[Image.Image], Image.Image]
CASE = "lungs-bce"


class Abroad(NamedTuple):
    """A trained case and a prepared view of another data set."""

    raw: RawParams
    paths: Paths
    pictures: list[Image.Image]  # the first of the case's own data set

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
    own = load_image_set(paths.prepared("ct"))
    pictures = [
        Image.fromarray(without_padding(own.images[row], own.manifest.iloc[row].to_dict()))
        for row in range(3)
    ]
    # An external test needs the model's folder and the other view, and nothing of these.
    for folder in (paths.prepared("ct"), paths.prepared("ct-b"), paths.view("lungs")):
        shutil.rmtree(folder)
    return Abroad(raw, paths, pictures)


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


@contextmanager
def with_own_pictures(abroad: Abroad, changes: Sequence[Change]) -> Iterator[list[str]]:
    """Changed pictures of the case in place of the first ones of the other set; their files."""
    own, there = abroad.paths.case_predictions(CASE), abroad.paths.view("there")
    path = there / FINGERPRINTS
    before = path.read_bytes()
    records = np.array(open_fingerprints(path))
    for row, change in enumerate(changes):
        records[row] = fingerprint(np.asarray(change(abroad.pictures[row])))
    path.unlink()  # it is a link to a file that others have
    records.tofile(path)
    try:
        yield load_manifest(own)["source_path"].tolist()
    finally:
        path.write_bytes(before)


def as_jpeg(picture: Image.Image) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=60)
    return Image.open(content)


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def test_changed_copies_of_the_cases_own_images_are_left_out_and_listed(abroad: Abroad) -> None:
    with with_own_pictures(abroad, [as_jpeg, ImageOps.mirror, half]) as own_files:
        report, predictions = abroad.score()
    assert (report["n"], report["n_left_out"], report["n_shared_with_training"]) == (29, 0, 3)
    assert report["bytes_alone_of"] == []
    files = load_manifest(abroad.paths.view("there"))["source_path"].tolist()
    assert [(one["file"], one["own_file"], one["kind"]) for one in report["shared"]] == [
        (there, own, "near") for there, own in zip(files[:3], own_files, strict=False)
    ]
    assert [one["change"] for one in report["shared"]] == ["same", "flipped", "same"]
    assert not set(predictions["image_id"]) & {one["image_id"] for one in report["shared"]}


def test_sets_without_a_picture_in_common_share_none(abroad: Abroad) -> None:
    report, _ = abroad.score()
    assert (report["shared"], report["bytes_alone_of"]) == ([], [])


def test_without_fingerprints_bytes_alone_are_compared_which_is_said(abroad: Abroad) -> None:
    path = abroad.paths.case_predictions(CASE) / FINGERPRINTS
    aside = path.with_suffix(".aside")
    with with_own_pictures(abroad, [as_jpeg]):
        path.rename(aside)
        try:
            report, _ = abroad.score()
        finally:
            aside.rename(path)
    assert (report["n"], report["shared"], report["bytes_alone_of"]) == (32, [], ["ct"])


def test_copies_of_classes_that_are_not_mapped_are_not_counted_twice(abroad: Abroad) -> None:
    there = abroad.paths.view("there") / "manifest.csv"
    table = pd.read_csv(there)
    table.loc[0, "label"] = "other"
    with with_own_pictures(abroad, [as_jpeg, as_jpeg]), changed(there, table.to_csv(index=False)):
        report, _ = abroad.score()
    assert (report["n"], report["n_left_out"], report["n_shared_with_training"]) == (30, 1, 1)


def test_without_an_image_left_it_stops_and_says_why(abroad: Abroad) -> None:
    there = abroad.paths.view("there") / "manifest.csv"
    others = pd.read_csv(there).assign(label="other").to_csv(index=False)
    said = r"external\.there: no image is left: 32 are of classes"
    with changed(there, others), pytest.raises(UserError, match=said):
        abroad.score()
