"""`predict` on the files of a trained case, on odd files, and on cases that are not trained."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.image_set import load_manifest
from stages.dataset.predictions import load_predictions
from stages.evaluate import evaluate_case
from stages.evaluation.calibration import apply_temperature
from stages.predict import SOME_UNREADABLE, _parser, predict
from stages.prepare import prepare_dataset
from stages.sources.listing import open_source
from stages.train import train_case
from stages.weights import make_weights
from tests.conftest import write_params
from tests.deployment.cases import Untrained, make_case
from tests.imaging.dicom_files import ct_slice, nifti_bytes, to_bytes

REPOSITORY = Path(__file__).parents[1]
CASE = "lungs-bce"
Run = Callable[..., tuple[int, list[dict[str, str]]]]


class Trained(NamedTuple):
    root: Path
    files: dict[str, Path]  # image_id -> a file of it


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, shared_tiny_params: dict[str, Any]
) -> Trained:
    """One case of phantoms, and the phantoms as files."""
    root = tmp_path_factory.mktemp("trained")
    write_params(root / "params.yaml", shared_tiny_params)
    params, paths = parse_params(shared_tiny_params), Paths(root)
    prepare_dataset(params, "ct", paths)
    crop_view(params, "lungs", paths)
    make_weights(params, "cnn3-random", paths)
    train_case(params, CASE, paths)
    evaluate_case(params, CASE, paths)
    return Trained(root, _files(params, paths, root / "files"))


def _files(params: Params, paths: Paths, folder: Path) -> dict[str, Path]:
    folder.mkdir()
    manifest = load_manifest(paths.prepared("ct"))
    ids = dict(zip(manifest["source_path"], manifest["image_id"], strict=True))
    files = {}
    with open_source(params.dataset("ct"), seed=params.seed, scratch=folder) as listing:
        for item in listing.items:
            files[ids[item.source_path]] = folder / f"{ids[item.source_path]}.png"
            files[ids[item.source_path]].write_bytes(item.read().content)
    return files


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Predict in a root; returns the exit code and the rows on standard output."""

    def call(root: Path, *arguments: str) -> tuple[int, list[dict[str, str]]]:
        monkeypatch.chdir(root)
        capfd.readouterr()
        code = predict(_parser().parse_args(arguments))
        return code, list(csv.DictReader(capfd.readouterr().out.splitlines()))

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An untrained case, whose name is that of one in params.yaml."""
    make_case(tmp_path, Untrained())
    return tmp_path


def noise(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (160, 200), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def test_files_of_the_data_set_get_the_probabilities_that_the_case_was_evaluated_on(
    trained: Trained, run: Run
) -> None:
    said = load_predictions(Paths(trained.root).case_predictions(CASE) / "runs.csv")
    test = said[said["split"] == "test"]
    code, rows = run(trained.root, CASE, *(str(trained.files[i]) for i in test["image_id"]))
    report = json.loads(Paths(trained.root).case_report(CASE).read_text(encoding="utf-8"))
    (temperature,) = report["calibration"]["temperatures"]
    calibrated = apply_temperature(
        test[["prob_normal", "prob_covid"]].to_numpy(), temperature["temperature"]
    )
    (point,) = report["operating_points"]["youden"]["thresholds"]
    called = np.where(test["prob_covid"] >= point["threshold"], "covid", "normal")
    assert code == 0
    found = pd.DataFrame(rows)[["probability_normal", "probability_covid"]].astype(float)
    assert np.abs(found.to_numpy() - calibrated).max() < 1e-6
    assert [row["decision"] for row in rows] == called.tolist()
    assert [row["class"] for row in rows] == [
        "covid" if float(row["probability_covid"]) > float(row["probability_normal"]) else "normal"
        for row in rows
    ]


def test_most_validation_images_pass_and_photographs_of_another_size_do_not(
    trained: Trained, run: Run
) -> None:
    said = load_predictions(Paths(trained.root).case_predictions(CASE) / "runs.csv")
    val = said[said["split"] == "val"]["image_id"]
    _, rows = run(trained.root, CASE, *(str(trained.files[image]) for image in val))
    for respect in ("size", "grey levels", "features"):
        assert np.mean([respect not in _unlike(row) for row in rows]) >= 0.95
    _, (row,) = run(trained.root, CASE, str(noise(trained.root / "noise.png")))
    assert _unlike(row)[:2] == ["size", "grey levels"]


def _unlike(row: dict[str, str]) -> list[str]:
    """In what a picture is said to be unlike the training images."""
    said = [part for part in row["warnings"].split("; ") if part.startswith("unlike")]
    return said[0].partition(": ")[2].split(", ") if said else []


def test_a_file_that_cannot_be_read_has_a_row_with_its_reason(root: Path, run: Run) -> None:
    good, bad = noise(root / "a.png"), root / "b.png"
    bad.write_bytes(good.read_bytes()[:200])
    code, rows = run(root, "ct-cnn-full", str(bad), str(good), str(root / "none.png"))
    assert code == SOME_UNREADABLE
    assert [Path(row["file"]).name for row in rows] == ["b.png", "a.png", "none.png"]
    assert "damaged" in rows[0]["error"]
    assert rows[0]["class"] == rows[0]["probability_covid"] == rows[0]["decision"] == ""
    assert rows[1]["error"] == ""
    assert rows[1]["class"] in ("normal", "covid")
    assert rows[2]["error"] == "there is no such file or folder"


def test_every_slice_of_a_volume_has_a_row(root: Path, run: Run) -> None:
    folder = root / "scans"
    folder.mkdir()
    voxels = np.random.default_rng(0).integers(-1000, 400, (40, 40, 3)).astype(np.int16)
    (folder / "series.nii.gz").write_bytes(nifti_bytes(voxels, zipped=True))
    (folder / "IM0001").write_bytes(to_bytes(ct_slice((voxels[..., 0] + 1024).astype(np.uint16))))
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    code, rows = run(root, "ct-cnn-full", str(folder))
    names = [row["file"].rpartition("/")[2] for row in rows]
    assert names == ["IM0001", *(f"series.nii.gz#{number:03d}" for number in range(3))]
    assert (code, {row["error"] for row in rows}) == (0, {""})


def test_models_are_averaged_after_each_was_calibrated_and_decide_by_half_of_them(
    tmp_path: Path, run: Run
) -> None:
    picture = str(noise(tmp_path / "a.png"))
    single = []
    runs = ("fold1-seed1", "fold2-seed1")
    case = Untrained(runs=runs, temperatures=(2.0, 0.5), thresholds=(0.0, 1.1))
    both = tmp_path / "both"
    both.mkdir()
    make_case(both, case)
    for number in range(len(runs)):
        root = tmp_path / f"single{number}"
        shutil.copytree(both, root)
        _keep_run(root, case, number)
        single.append(float(run(root, case.name, picture)[1][0]["probability_covid"]))
    _, (row,) = run(both, case.name, picture)
    assert float(row["probability_covid"]) == pytest.approx(np.mean(single), abs=2e-6)
    assert row["decision"] == "covid"  # one of two calls it so


def _keep_run(root: Path, case: Untrained, number: int) -> None:
    """Make a case of several runs one of a single run."""
    paths, name = Paths(root), case.runs[number]
    folder = paths.weights(case.name)
    table = pd.read_csv(folder / "runs.csv")
    table[["image_id", "sha256", name]].to_csv(folder / "runs.csv", index=False)
    for file in (folder / name).iterdir():
        shutil.copy(file, folder / file.name)
    report = json.loads(paths.case_report(case.name).read_text(encoding="utf-8"))
    kept = [report["calibration"]["temperatures"][number] | {"name": ""}]
    report["calibration"]["temperatures"] = kept
    for point in report["operating_points"].values():
        point["thresholds"] = [point["thresholds"][number] | {"name": ""}]
    paths.case_report(case.name).write_text(json.dumps(report), encoding="utf-8")


def test_of_three_classes_the_decision_is_of_the_positive_one(tmp_path: Path, run: Run) -> None:
    case = Untrained(
        name="xray3-resnet18-ce", class_names=("normal", "pneumonia", "covid"), thresholds=(1.1,)
    )
    make_case(tmp_path, case)
    _, (row,) = run(tmp_path, case.name, str(noise(tmp_path / "a.png")))
    assert row["decision"] == "not covid"
    total = sum(float(row[f"probability_{name}"]) for name in case.class_names)
    assert total == pytest.approx(1, abs=2e-6)


def test_rows_can_be_json_with_names_as_they_are(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = os.fsencode(root) + b"/in/a\n\x1b[31m\xff,b.png"
    noise(Path(os.fsdecode(name)))
    monkeypatch.chdir(root)
    capfd.readouterr()
    assert predict(_parser().parse_args(["ct-cnn-full", "in", "--format", "json"])) == 0
    (line,) = capfd.readouterr().out.splitlines()
    said = json.loads(line)
    assert os.fsencode(said["file"]) == b"in/a\n\x1b[31m\xff,b.png"
    assert set(said["probabilities"]) == {"normal", "covid"}
    assert said["error"] is None
    predict(_parser().parse_args(["ct-cnn-full", "in"]))
    _, row = capfd.readouterr().out.splitlines()
    assert row.startswith('"in/a\\n\\x1b[31m\\udcff,b.png",')


def test_an_output_file_is_there_only_when_all_is_done(root: Path, run: Run) -> None:
    noise(root / "in" / "a.png")
    code, rows = run(root, "ct-cnn-full", "in", "--output", "out/said.csv")
    assert (code, rows) == (0, [])
    assert [row["file"] for row in csv.DictReader((root / "out/said.csv").open())] == ["in/a.png"]
    with pytest.raises(UserError, match=r"^--output: got 'out', a folder"):
        run(root, "ct-cnn-full", "in", "--output", "out")


def test_overlays_have_safe_names_that_differ(root: Path, run: Run) -> None:
    files = [noise(root / "in" / name, seed) for seed, name in enumerate(("a b.png", "a_b.png"))]
    _, rows = run(root, "ct-cnn-full", *map(str, files), "--overlay", "maps")
    assert [row["overlay"] for row in rows] == ["000001-a_b.png", "000002-a_b.png"]
    with Image.open(root / "maps" / "000002-a_b.png") as overlay:
        assert overlay.size == (96, 77)  # as prepared: 200 x 160, the longest side of 96 px
        assert overlay.mode == "RGB"


def test_a_case_that_is_not_trained_is_told_what_to_run(root: Path, run: Run) -> None:
    with pytest.raises(UserError, match=r"ct-cnn-lungs is in params.yaml, and not trained here"):
        run(root, "ct-cnn-lungs", "x.png")
    with pytest.raises(UserError, match=r"got 'ct-cnn-ful' \(did you mean 'ct-cnn-full'\?\)"):
        run(root, "ct-cnn-ful", "x.png")
    with pytest.raises(UserError, match=r"case: got '../x'; trained here: ct-cnn-full; "):
        run(root, "../x", "x.png")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("metrics/reports/ct-cnn-full.json", "dvc repro evaluate@ct-cnn-full"),
        ("data/weights/ct-cnn-full/runs.csv", "dvc repro train@ct-cnn-full"),
        ("data/weights/ct-cnn-full/meta.json", "dvc repro train@ct-cnn-full"),
        ("data/weights/ct-cnn-full/model.safetensors", "dvc repro train@ct-cnn-full"),
        ("data/weights/ct-cnn-full/familiar.safetensors", "dvc repro train@ct-cnn-full"),
    ],
)
def test_a_file_of_the_case_that_is_missing_is_named(
    root: Path, run: Run, missing: str, said: str
) -> None:
    (root / missing).unlink()
    with pytest.raises(UserError) as caught:
        run(root, "ct-cnn-full", str(noise(root / "a.png")))
    assert missing in str(caught.value)
    assert said in str(caught.value)


def test_a_report_of_other_runs_is_refused(root: Path, run: Run) -> None:
    path = Paths(root).case_report("ct-cnn-full")
    path.write_text(path.read_text().replace('"name": ""', '"name": "fold1-seed1"'))
    with pytest.raises(UserError, match=r"runs \['fold1-seed1'\], the models are of \['']"):
        run(root, "ct-cnn-full", str(noise(root / "a.png")))


def test_a_report_that_was_cut_short_is_named(root: Path, run: Run) -> None:
    path = Paths(root).case_report("ct-cnn-full")
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"ct-cnn-full.json: is not readable JSON"):
        run(root, "ct-cnn-full", str(noise(root / "a.png")))


def test_optimistic_figures_are_warned_of(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    make_case(tmp_path, Untrained(is_optimistic=True))
    run(tmp_path, "ct-cnn-full", str(noise(tmp_path / "a.png")))
    assert "optimistic" in caplog.text


def test_nothing_to_predict_is_an_error(root: Path, run: Run) -> None:
    (root / "empty").mkdir()
    with pytest.raises(UserError, match=r"^there is no image in what was given"):
        run(root, "ct-cnn-full", "empty")


@pytest.mark.slow
def test_exit_codes_tell_scripts_what_happened(root: Path) -> None:
    noise(root / "a.png")
    (root / "b.png").write_bytes(b"")

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages.predict", *arguments]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    assert start("ct-cnn-full", "a.png").returncode == 0
    refused = start("none", "a.png")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    assert start("ct-cnn-full").returncode == 2
    some = start("ct-cnn-full", "a.png", "b.png")
    assert some.returncode == 3
    assert len(some.stdout.splitlines()) == 3
    assert "1 could not be read" in some.stderr
