"""`python -m stages.export`, on cases that the stages have trained."""

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import safetensors
import safetensors.torch
from numpy.typing import NDArray
from PIL import Image

from stages.audit import audit_view
from stages.cam import explain_case
from stages.compare import compare_all
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.deployment import parity
from stages.deployment.onnx_file import open_onnx, run_onnx
from stages.evaluate import evaluate_case
from stages.evaluation.calibration import apply_temperature
from stages.export import export_case
from stages.imaging.cropping import crop_image
from stages.imaging.square import fit_square
from stages.modeling.checkpoint import load_classifier, outputs_of
from stages.modeling.compute import Hardware
from stages.modeling.loading import load_backbone
from stages.modeling.predict import predict_probabilities
from stages.modeling.weights_meta import read_weights_meta
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights

REPOSITORY = Path(__file__).parents[1]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


class Chain(NamedTuple):
    params: Params
    paths: Paths


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, shared_tiny_params: dict[str, Any]) -> Chain:
    """Three cases: of whole pictures, of lungs, and two folds of the middle with mirrors."""
    raw = json.loads(json.dumps(shared_tiny_params))
    raw["views"]["middle"] = raw["views"]["full"] | {"crop": {"kind": "center", "fraction": 0.8}}
    raw["protocols"]["folds"] = raw["protocols"]["once"] | {"folds": 2, "mirror": True}
    raw["cases"]["folds"] = raw["cases"]["full-ce"] | {"view": "middle", "protocol": "folds"}
    raw["study"]["intended_use"] = "none; a <b>test</b> | of *cards*"
    params, paths = parse_params(raw), Paths(tmp_path_factory.mktemp("chain"))
    prepare_dataset(params, "ct", paths)
    make_weights(params, "cnn3-random", paths)
    for view in params.views:
        crop_view(params, view, paths)
        audit_view(params, view, paths)
    for case in params.cases:
        train_case(params, case, paths)
        evaluate_case(params, case, paths)
        explain_case(params, case, paths)
    compare_all(params, paths)
    return Chain(params, paths)


@pytest.fixture(scope="module")
def exported(chain: Chain) -> Path:
    """All three, exported."""
    folder = chain.paths.export("x").parent
    for case in chain.params.cases:
        export_case(chain.params, case, folder / case, chain.paths)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def texts_of(folder: Path) -> dict[str, str]:
    model = onnx.load(folder / "model.onnx")
    return {entry.key: entry.value for entry in model.metadata_props}


def metadata_of(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, "pt") as file:
        found: dict[str, str] = file.metadata()
    return found


def test_an_export_has_its_files_and_no_others(exported: Path) -> None:
    weights = ["weights/meta.json", "weights/model.safetensors"]
    assert [*contents(exported / "full-ce")] == ["model.onnx", "model_card.md", *weights]
    assert [*contents(exported / "folds")] == [
        *("model.onnx", "model_card.md"),
        *(
            f"weights/fold{fold}-seed1/{name}"
            for fold in (1, 2)
            for name in ("meta.json", "model.safetensors")
        ),
    ]
    assert {path.name for path in exported.iterdir()} == {"full-ce", "lungs-bce", "folds"}


@pytest.mark.parametrize("case", ["full-ce", "folds"])
def test_whole_pictures_of_any_size_get_what_the_stages_would_say_of_them(
    chain: Chain, exported: Path, case: str
) -> None:
    session, texts = open_onnx(exported / case), texts_of(exported / case)
    names = json.loads(texts["class_names"])
    for height, width in [(96, 96), (300, 210), (40, 61)]:
        picture = np.random.default_rng(height).integers(0, 256, (height, width), dtype=np.uint8)
        found, _ = run_onnx(session, picture[None])
        expected = say(chain, case, picture, json.loads(texts["temperatures"]))
        assert found.shape == (1, len(names))
        np.testing.assert_allclose(found[0], expected, atol=1e-5)


def say(
    chain: Chain, case: str, picture: NDArray[np.uint8], temperatures: dict[str, float]
) -> NDArray[np.float64]:
    """By the steps of `prepare`, `crop`, `train` and `evaluate`."""
    dataset, settings = chain.params.dataset("ct"), chain.params.view(chain.params.case(case).view)
    pixels, (x0, y0, x1, y1) = fit_square(picture, dataset.size_px, "smooth")
    cropped = crop_image(
        pixels[y0:y1, x0:x1],
        None,
        0,
        crop=settings.crop,
        modality=dataset.modality,
        size_px=settings.size_px,
        fit=settings.fit,
    )
    said = []
    for run, temperature in temperatures.items():
        classifier, meta = load_classifier(chain.paths.weights(case) / run)
        probabilities = predict_probabilities(
            classifier,
            outputs_of(meta),
            cropped.image[None],
            hardware=Hardware("cpu", "fp32"),
            mirror=meta["mirror"],
        )
        said.append(apply_temperature(probabilities.round(6), temperature)[0])
    return np.mean(said, axis=0)


def test_the_file_says_how_it_is_to_be_used(chain: Chain, exported: Path) -> None:
    texts = texts_of(exported / "lungs-bce")
    assert "crops around the lungs" in texts["inputs"]
    assert "whole pictures" in texts_of(exported / "folds")["inputs"]
    report = json.loads(chain.paths.case_report("lungs-bce").read_text(encoding="utf-8"))
    (temperature,) = report["calibration"]["temperatures"]
    assert json.loads(texts["temperatures"]) == {"": temperature["temperature"]}
    assert json.loads(texts["thresholds"]) == {
        "": {
            point: found["thresholds"][0]["threshold"]
            for point, found in report["operating_points"].items()
        }
    }
    assert (texts["positive"], texts["images"]) == ("covid", "phantoms: drawings, no patients")
    preprocessing = json.loads(texts["preprocessing"])
    assert preprocessing["view"] == chain.params.view("lungs").model_dump()


def test_the_code_of_the_card_runs_beside_the_file(
    chain: Chain, exported: Path, tmp_path: Path
) -> None:
    card = (exported / "full-ce" / "model_card.md").read_text(encoding="utf-8")
    (code,) = CODE.findall(card)
    shutil.copyfile(exported / "full-ce" / "model.onnx", tmp_path / "model.onnx")
    picture = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    said = ast.literal_eval(done.stdout)
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    temperatures = json.loads(texts_of(exported / "full-ce")["temperatures"])
    expected = say(chain, "full-ce", grey, temperatures)
    assert list(said) == list(chain.params.dataset("ct").classes)
    np.testing.assert_allclose(list(said.values()), expected, atol=1e-5)


def test_every_figure_of_the_card_is_that_of_the_files(chain: Chain, exported: Path) -> None:
    card = (exported / "lungs-bce" / "model_card.md").read_text(encoding="utf-8")
    figures = json.loads(chain.paths.case_metrics("lungs-bce").read_text(encoding="utf-8"))
    for name, shown in [("auroc", "AUROC"), ("balanced_accuracy", "balanced accuracy")]:
        value, low, high = (figures[f"{name}{end}"] for end in ("", "_low", "_high"))
        assert f"| {shown} | {value:.3f} | {low:.3f} to {high:.3f}" in card
    headline = json.loads(chain.paths.headlines.read_text(encoding="utf-8"))["lungs-bce"]
    assert f"the best shortcut ({headline['shortcut'].replace('_', ' ')})" in card
    assert f"{headline['shortcut_auroc']:.3f}" in card
    assert "phantoms, which are drawings" in card
    assert "not to be used for a diagnosis" in card


def test_what_people_write_is_no_markup_of_the_card(exported: Path) -> None:
    card = (exported / "folds" / "model_card.md").read_text(encoding="utf-8")
    assert r"none; a \<b\>test\</b\> \| of \*cards\*" in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    heads = [n for n, line in enumerate(rows) if set(line) == set("| -")]
    assert heads
    for head, end in zip(heads, [*heads[1:], len(rows) + 1], strict=True):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in rows[head - 1 : end - 1]}
        assert len(widths) == 1


def test_the_weights_are_those_of_the_case_and_say_what_they_are(
    chain: Chain, exported: Path
) -> None:
    for case, run in [("full-ce", ""), ("folds", "fold2-seed1")]:
        folder = exported / case / "weights" / run
        own = safetensors.torch.load_file(chain.paths.weights(case) / run / "model.safetensors")
        given = safetensors.torch.load_file(folder / "model.safetensors")
        assert {name: tensor.tolist() for name, tensor in given.items()} == {
            name: tensor.tolist() for name, tensor in own.items()
        }
        texts = metadata_of(folder / "model.safetensors")
        assert (texts["case"], texts["run"]) == (case, run)
        assert "not to be used for a diagnosis" in texts["warning"]
        figures = json.loads(chain.paths.case_metrics(case).read_text(encoding="utf-8"))
        assert json.loads(texts["test_figures"])["auroc"][0] == figures["auroc"]


def test_another_case_can_start_from_the_exported_weights(exported: Path) -> None:
    folder = exported / "full-ce" / "weights"
    meta = read_weights_meta(folder, "cnn3")
    assert meta.knows is not None
    classifier, _ = load_classifier(folder)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    assert load_backbone(classifier.backbone, state, str(folder)) is not None


def test_the_same_case_is_exported_to_the_same_bytes(
    chain: Chain, exported: Path, tmp_path: Path
) -> None:
    export_case(chain.params, "folds", tmp_path / "again", chain.paths)
    assert contents(tmp_path / "again") == contents(exported / "folds")


def test_no_path_of_the_machine_is_in_any_file(chain: Chain, exported: Path) -> None:
    for content in contents(exported).values():
        for path in (chain.paths.root, REPOSITORY, Path.home()):
            assert str(path).encode() not in content or path == Path("/")


def test_a_file_that_says_something_else_is_refused_and_nothing_is_left_behind(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match=r"differ by .* in a probability of 64 pictures"):
        export_case(chain.params, "full-ce", tmp_path / "export", chain.paths)
    assert not list(tmp_path.iterdir())


def test_an_earlier_export_is_replaced_as_a_whole_and_anything_else_stays(
    chain: Chain, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported / "folds", folder)
    (folder / "model.onnx.data").touch()
    export_case(chain.params, "full-ce", folder, chain.paths)
    assert contents(folder) == contents(exported / "full-ce")
    (folder / "notes.txt").touch()
    before = contents(folder)
    with pytest.raises(UserError, match=r"holds 'notes.txt' and would be replaced as a whole"):
        export_case(chain.params, "full-ce", folder, chain.paths)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_report_of_other_runs_is_refused(chain: Chain, tmp_path: Path) -> None:
    shutil.copytree(chain.paths.root, tmp_path / "root", symlinks=True)
    paths = Paths(tmp_path / "root")
    shutil.copyfile(paths.case_report("full-ce"), paths.case_report("folds"))
    with pytest.raises(UserError, match="dvc repro evaluate@folds"):
        export_case(chain.params, "folds", tmp_path / "export", paths)


def test_a_view_that_the_case_was_not_trained_on_is_refused(chain: Chain, tmp_path: Path) -> None:
    case = chain.params.case("full-ce").model_copy(update={"view": "middle"})
    params = chain.params.model_copy(update={"cases": {"full-ce": case}})
    with pytest.raises(UserError, match=r"middle: its images .* run: dvc repro train@full-ce"):
        export_case(params, "full-ce", tmp_path / "export", chain.paths)


def test_a_case_without_results_is_an_error_that_says_what_to_run(
    chain: Chain, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="run: dvc repro"):
        export_case(chain.params, "full-ce", tmp_path / "export", Paths(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no entry named 'nothing'"):
        export_case(chain.params, "nothing", tmp_path / "export", chain.paths)
    assert not (tmp_path / "export").exists()


def test_the_command_prints_where_the_export_is(
    chain: Chain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from stages import export

    monkeypatch.chdir(chain.paths.root)
    monkeypatch.setattr(export, "load_params", lambda: chain.params)
    folder = tmp_path / "deep" / "er"
    arguments = argparse.Namespace(case="full-ce", output=folder)
    assert export.export(arguments) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert (folder / "model.onnx").exists()
