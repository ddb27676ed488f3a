"""Results of a few cases on made-up test images, without any stage having run.

Data set `ct`, drawn: `full-ce`, which guesses, and `lungs-bce`, which is nearly always right, are
one run each; `lungs-folds` has five folds, so it is tested on every image. Data set `labels`, not
drawn: classes imply others; one case.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.config.load import parse_params
from stages.config.params import Params
from stages.evaluation.split_report import build_curves, build_split_report
from stages.imaging.image_set import DatasetInfo
from stages.report.results import CaseResults, DatasetResults, Results

CLASSES = ["normal", "covid"]
LABEL_CLASSES = ["normal", "pneumonia", "covid"]
FIGURES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")
PATIENTS = 30
FOLDS = 5


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Of the two data sets above."""
    sheet = tmp_path / "sheet.png"
    Image.new("RGB", (4, 4)).save(sheet)
    ct, labels = make_manifest(), make_label_manifest()
    return Results(
        params=make_params(),
        cases={
            "full-ce": make_case(ct, CLASSES, sheet, skill=0.0),
            "lungs-bce": make_case(ct, CLASSES, sheet, skill=0.9),
            "lungs-folds": make_fold_case(ct, sheet, skill=0.6),
            "labels-bce": make_label_case(labels, sheet),
        },
        datasets={
            "ct": DatasetResults(make_info(), ct),
            "labels": DatasetResults(make_label_info(), labels),
        },
        audits={
            view: {"probes": {"file": {"auroc": 0.51, "auroc_low": 0.42, "auroc_high": 0.6}}}
            for view in ("full", "lungs", "labels-full")
        },
    )


@pytest.fixture
def ct_results(results: Results) -> Results:
    """The single runs of the data set `ct` alone."""
    return Results(
        params=results.params,
        cases={case: results.cases[case] for case in ("full-ce", "lungs-bce")},
        datasets={"ct": results.datasets["ct"]},
        audits=results.audits,
    )


def make_params() -> Params:
    case = {
        "view": "full",
        "model": "cnn3",
        "weights": "cnn3-random",
        "train": "all",
        "head": [8],
        "dropout": 0.2,
        "loss": {"name": "ce", "label_smoothing": 0.0},
        "sampler": "none",
        "augment": "light",
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "epochs": 2,
        "patience": 2,
        "keep": "best",
        "ema": 0.0,
        "batch_size": 8,
        "folds": 1,
        "held_out": "test",
        "seeds": [1],
        "ensemble": False,
    }
    bce = {"loss": {"name": "bce", "label_smoothing": 0.0}}
    lungs = {"mode": "lungs", "margin": 0.05, "fallback_fraction": 0.8}
    cohort = {"patients": {"covid": 16, "normal": 16}, "images_per_patient": 2, "marker_share": {}}
    augmentation = dict.fromkeys(
        ("flip", "flip_vertical", "rotate_deg", "scale", "shift", "brightness", "contrast"), 0.0
    )
    return parse_params(
        {
            "seed": 42,
            "compute": {"accelerator": "cpu", "precision": "fp32"},
            "phantoms": dict.fromkeys(("ct", "xray", "xray3"), cohort),
            "datasets": {
                "ct": make_dataset("phantom:ct", CLASSES, {}),
                "labels": make_dataset("data/raw", LABEL_CLASSES, {"covid": ["pneumonia"]}),
            },
            "views": {
                "full": make_view("ct", {"mode": "none"}),
                "lungs": make_view("ct", lungs),
                "labels-full": make_view("labels", {"mode": "none"}),
            },
            "pretext": {
                "images": 60,
                "size": 32,
                "epochs": 1,
                "batch_size": 8,
                "lr": 1e-3,
                "augment": "light",
            },
            "weights": {"cnn3-random": {"source": "random", "track": "stages", "model": "cnn3"}},
            "augmentations": {"light": augmentation | {"noise": 0.0, "crop_area": 1.0}},
            "cases": {
                "full-ce": case,
                "lungs-bce": case | bce | {"view": "lungs"},
                "lungs-folds": case | {"view": "lungs", "folds": FOLDS},
                "labels-bce": case | bce | {"view": "labels-full"},
            },
            "comparisons": {"crop": ["lungs-bce", "full-ce"]},
            "audit": {"folds": 2},
            "evaluate": {"bootstrap_draws": 200},
            "cam": {
                "methods": ["gradcam", "eigencam"],
                "positive": 3,
                "negative": 3,
                "target_layers": {},
            },
        }
    )


def make_dataset(source: str, classes: list[str], implies: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "source": source,
        "track": "stages",
        "modality": "ct",
        "classes": {name: [name] for name in classes},
        "implies": implies,
        "positive": "covid",
        "ignore": [],
        "group_pattern": None,
        "allow_leakage": False,
        "size": 64,
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "max_rejected": 0.0,
    }


def make_view(dataset: str, crop: dict[str, Any]) -> dict[str, Any]:
    return {"dataset": dataset, "crop": crop, "size": 64, "fit": "letterbox"}


def make_info() -> DatasetInfo:
    return DatasetInfo(
        dataset="ct",
        source="phantom:ct",
        is_phantom=True,
        modality="ct",
        class_names=CLASSES,
        positive="covid",
        n_files=64,
        n_rejected=3,
        n_left_out=2,
        leakage=[],
        implies={},
    )


def make_label_info() -> DatasetInfo:
    return DatasetInfo(
        dataset="labels",
        source="data/raw",
        is_phantom=False,
        modality="xray",
        class_names=LABEL_CLASSES,
        positive="covid",
        n_files=30,
        n_rejected=0,
        n_left_out=0,
        leakage=[],
        implies={"covid": ["pneumonia"]},
    )


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


def make_label_manifest() -> pd.DataFrame:
    """Ten images of each of three classes, each of a patient of its own; five test images."""
    rows = [
        {
            "image_id": f"{label}-{number}",
            "group_id": f"{label}-{number}",
            "label": label,
            "split": "test" if number > 4 else "val" if number > 2 else "train",
            "subgroup": "",
        }
        for label in LABEL_CLASSES
        for number in range(10)
    ]
    return pd.DataFrame(rows)


def make_predictions(manifest: pd.DataFrame, classes: list[str], skill: float) -> pd.DataFrame:
    """One row per image of a single run: the truth, mixed with noise."""
    noise = np.random.default_rng(1).dirichlet(np.ones(len(classes)), len(manifest))
    truth = np.eye(len(classes))[[classes.index(label) for label in manifest["label"]]]
    probabilities = skill * truth + (1 - skill) * noise
    decided = np.array(classes)[probabilities.argmax(axis=1)]
    columns = {f"prob_{name}": probabilities[:, n] for n, name in enumerate(classes)}
    return manifest.assign(fold="1", seed="1", prediction=decided, **columns)


def make_report(predictions: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    test = predictions[predictions["split"] == "test"]
    truth, decided = (_indices(test[column], classes) for column in ("label", "prediction"))
    probabilities = test[[f"prob_{name}" for name in classes]].to_numpy()
    report = build_split_report(truth, decided, classes)
    return {"test": report | {"curves": build_curves(truth, probabilities, classes)}}


def _indices(labels: "pd.Series[str]", classes: list[str]) -> NDArray[np.int64]:
    return np.array([classes.index(label) for label in labels], dtype=np.int64)


def make_case(
    manifest: pd.DataFrame, classes: list[str], sheet: Path, *, skill: float
) -> CaseResults:
    predictions = make_predictions(manifest, classes, skill)
    epochs = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1],
            "split": ["train", "val", "train", "val"],
            "loss": [0.7, 0.6, 0.5, 0.55],
        }
    )
    epochs = epochs.assign(fold=1, seed=1)
    return CaseResults(
        metrics=make_metrics(skill),
        report=make_report(predictions, classes),
        cam=make_cam(manifest[manifest["split"] == "test"].head(6), skill),
        training=make_training(classes),
        predictions=predictions,
        epochs=epochs.assign(accuracy=0.5),
        steps=epochs.rename(columns={"epoch": "step"}),
        cam_sheet=sheet,
    )


def make_fold_case(manifest: pd.DataFrame, sheet: Path, *, skill: float) -> CaseResults:
    """Every image is test in the run of its fold, and train in the other four."""
    groups = {group: number for number, group in enumerate(manifest["group_id"].unique())}
    fold_of_image = manifest["group_id"].map(groups) % FOLDS + 1
    one = make_case(manifest, CLASSES, sheet, skill=skill)
    numbers = range(1, FOLDS + 1)
    predictions = pd.concat(
        [
            one.predictions.assign(
                fold=str(fold), split=np.where(fold_of_image == fold, "test", "train")
            )
            for fold in numbers
        ],
        ignore_index=True,
    )
    spread = {
        f"{name}_run_{what}": value
        for name in FIGURES
        for what, value in (("mean", 0.873), ("sd", 0.021))
    }
    report = make_report(predictions, CLASSES) | {
        "runs": [
            {
                "name": f"fold{fold}-seed1",
                "fold": fold,
                "seed": 1,
                "n_test": int((fold_of_image == fold).sum()),
                "metrics": make_metrics(skill + fold / 100),
            }
            for fold in numbers
        ]
    }
    return CaseResults(
        metrics=one.metrics | spread | {"n_runs": FOLDS, "n_test": len(manifest)},
        report=report,
        cam=one.cam,
        training=one.training,
        predictions=predictions,
        epochs=pd.concat([one.epochs.assign(fold=fold) for fold in numbers]),
        steps=pd.concat([one.steps.assign(fold=fold) for fold in numbers]),
        cam_sheet=sheet,
    )


def make_label_case(manifest: pd.DataFrame, sheet: Path) -> CaseResults:
    one = make_case(manifest, LABEL_CLASSES, sheet, skill=0.5)
    figures = {"sensitivity": 0.625, "specificity": 0.875, "auroc": None}
    one.report["labels"] = {
        "normal": {"n_positive": 5} | figures,
        "pneumonia": {"n_positive": 10} | figures,
        "covid": {"n_positive": 5} | figures,
    }
    return one


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
    counts = {"n_test": 2 * PATIENTS, "n_runs": 1}
    return flat | counts | {"train_accuracy": 0.75, "val_accuracy": 0.625}


def make_training(classes: list[str]) -> dict[str, Any]:
    return {
        "parameters": {"trained": 1234, "frozen": 98765},
        "blocks_trained": ["layer4"],
        "class_counts": {
            "train": {name: 40 - number for number, name in enumerate(classes)},
            "drawn_per_epoch": dict.fromkeys(classes, 31.25),
        },
        "best_epoch": 7,
        "epochs_run": 19,
        "started_from": "cnn3-random",
    }


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
