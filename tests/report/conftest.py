"""Results of two cases on sixty made-up test images, without any stage having run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.config.load import parse_params
from stages.evaluation.split_report import build_curves, build_split_report
from stages.imaging.image_set import DatasetInfo
from stages.report.results import CaseResults, DatasetResults, Results

CLASSES = ["normal", "covid"]
FIGURES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")
PATIENTS = 30


@pytest.fixture
def results(tmp_path: Path, tiny_params: dict[str, Any]) -> Results:
    """Of `lungs-bce`, which is nearly always right, and `full-ce`, which guesses."""
    sheet = tmp_path / "sheet.png"
    Image.new("RGB", (4, 4)).save(sheet)
    manifest = make_manifest()
    return Results(
        params=parse_params(tiny_params),
        cases={
            "full-ce": make_case(manifest, sheet, skill=0.0),
            "lungs-bce": make_case(manifest, sheet, skill=0.9),
        },
        datasets={"ct": DatasetResults(make_info(), manifest)},
        audits={
            view: {"probes": {"file": {"auroc": 0.51, "auroc_low": 0.42, "auroc_high": 0.6}}}
            for view in ("full", "lungs")
        },
    )


def make_info() -> DatasetInfo:
    return DatasetInfo("ct", "phantom:ct", True, "ct", CLASSES, "covid", 64, 3, 2, [])


def make_manifest() -> pd.DataFrame:
    """Two test images of each patient, and one image of each class in the other splits."""
    patients = np.repeat(np.arange(PATIENTS), 2)
    test = pd.DataFrame(
        {
            "image_id": [f"i{number:03d}" for number in range(len(patients))],
            "group_id": [f"g{patient:06d}" for patient in patients],
            "label": np.where(patients % 2 == 1, "covid", "normal"),
            "split": "test",
            "subgroup": np.where(patients % 3 == 0, "marker", "no-marker"),
        }
    )
    others = [
        {"image_id": f"{s}-{c}", "group_id": f"{s}-{c}", "label": c, "split": s, "subgroup": ""}
        for s in ("train", "val")
        for c in CLASSES
    ]
    return pd.concat([test, pd.DataFrame(others)], ignore_index=True)


def make_case(manifest: pd.DataFrame, sheet: Path, *, skill: float) -> CaseResults:
    rng = np.random.default_rng(1)
    truth: NDArray[np.int64] = (manifest["label"] == "covid").to_numpy().astype(np.int64)
    of_covid = skill * truth + (1 - skill) * rng.random(len(truth))
    probabilities = np.column_stack((1 - of_covid, of_covid)).round(6)
    decided: NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
    predictions = manifest.assign(
        prediction=np.array(CLASSES)[decided],
        **{f"prob_{name}": probabilities[:, n] for n, name in enumerate(CLASSES)},
    )
    test = (manifest["split"] == "test").to_numpy()
    report = build_split_report(truth[test], decided[test], CLASSES)
    curves = build_curves(truth[test], probabilities[test], CLASSES)
    epochs = pd.DataFrame({"epoch": [0, 0], "split": ["train", "val"], "loss": [0.7, 0.6]})
    return CaseResults(
        metrics=make_metrics(skill),
        report={"test": report | {"curves": curves}},
        cam=make_cam(manifest[test].head(6), skill),
        predictions=predictions,
        epochs=epochs.assign(accuracy=0.5),
        steps=epochs.rename(columns={"epoch": "step"}),
        cam_sheet=sheet,
    )


def make_metrics(skill: float) -> dict[str, Any]:
    """Figures that say which case they are of."""
    ends = {"": 0.5, "_low": 0.4, "_high": 0.6}
    strata = ("", "_marker", "_no-marker")
    flat: dict[str, Any] = {
        f"{figure}{stratum}{end}": round(value + skill / 3, 6)
        for figure in FIGURES
        for stratum in strata
        for end, value in ends.items()
    }
    return flat | {"n_test": 2 * PATIENTS, "train_accuracy": 0.75, "val_accuracy": 0.625}


def make_cam(images: pd.DataFrame, skill: float) -> dict[str, Any]:
    """Maps of six images of three patients, the more in the lungs the better the case."""
    scores = [
        {"in_lungs": round(0.3 + skill / 2 + number / 100, 6), "lungs_area": 0.25}
        for number in range(len(images))
    ]
    rows = images[["image_id", "group_id"]].to_dict("records")
    return {
        "images": [
            row | {"gradcam": score, "eigencam": score}
            for row, score in zip(rows, scores, strict=True)
        ]
    }
