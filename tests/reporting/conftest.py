"""The files of a few cases on made-up test images, without any stage having run.

Data set `ct`, drawn: `full-ce`, which guesses, and `lungs-bce`, which is nearly always right, are
one run each; `lungs-folds` has five folds, so it is tested on every image. Data set `labels`, not
drawn: classes imply others; one case. `elsewhere` is an external test of `lungs-bce` on `labels`,
`crop` a comparison of `lungs-bce` with `full-ce`.
"""

import functools
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.config.load import parse_params
from stages.config.params import Params, Study
from stages.config.paths import Paths
from stages.config.writing import write_csv
from stages.dataset.image_set import DatasetInfo
from stages.dataset.metadata import Column, Metadata, tabulate_metadata
from stages.evaluation.operating_points import OPERATING_POINTS
from stages.explain.overlay import Caption, draw_tile
from stages.reporting import coverage
from stages.reporting.results import Results, load_results
from tests.dataset.sample import PREPARED

Json = dict[str, Any]

CLASSES = ["normal", "covid"]
LABEL_CLASSES = ["normal", "pneumonia", "covid"]
FIGURES = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")
ENDS = {"": 0.0, "_low": -0.1, "_high": 0.1}
PREVALENCES = (0.01, 0.5)
PROBES = {"file": "shortcut", "geometry": "shortcut", "thumbnail": "shortcut"}
PROBES |= {"no_lungs": "shortcut", "border": "shortcut"}
PROBES |= {"lungs_only": "reference", "whole": "reference"}
METHODS = ("gradcam", "eigencam")
PLACE = {"x0": 0, "y0": 1, "x1": 8, "y1": 7}  # of a picture in its square
PATIENTS = 30
FOLDS = 5


@dataclass
class CaseFiles:
    """What the stages write of one case."""

    metrics: Json
    report: Json
    cam: Json
    training: Json
    headline: Json | None
    epochs: pd.DataFrame


@dataclass
class DatasetFiles:
    """What `prepare` writes, as far as the pages read it."""

    info: DatasetInfo
    manifest: pd.DataFrame
    rejected: pd.DataFrame
    suspicious: pd.DataFrame
    grouping: Json
    metadata: Metadata
    reconciliation: pd.DataFrame | None = None


@dataclass
class Files:
    """What all stages write, for a test to change before it is read."""

    root: Path
    params: Params
    cases: dict[str, CaseFiles]
    datasets: dict[str, DatasetFiles]
    audits: dict[str, Json]
    external: dict[str, Json]
    comparisons: dict[str, Json]
    searches: dict[str, Json]

    def update_params(self, **sections: Any) -> None:
        """Give sections of params.yaml another content."""
        self.params = self.params.model_copy(update=sections)

    def update_info(self, dataset: str, **fields: Any) -> None:
        """Give dataset.json other values."""
        self.datasets[dataset].info = replace(self.datasets[dataset].info, **fields)

    def make_optimistic(self, case: str) -> None:
        """As if its epoch had been chosen on the images that it is scored on."""
        protocol = self.params.protocol("once").model_copy(update={"held_out": "both"})
        settings = self.params.case(case).model_copy(update={"protocol": "optimistic"})
        self.update_params(
            cases={**self.params.cases, case: settings},
            protocols={**self.params.protocols, "optimistic": protocol},
        )
        self.cases[case].metrics["optimistic"] = True
        self.cases[case].headline = None

    def leave_out_cases(self) -> None:
        """As if params.yaml had no case, and nothing that needs one."""
        self.cases.clear()
        self.external.clear()
        self.comparisons.clear()
        self.searches.clear()
        self.update_params(cases={}, external={}, comparisons={}, searches={})

    def load(self) -> Results:
        """Write everything and read it as `report` does."""
        paths = Paths(self.root)
        contents: dict[Path, object] = {
            paths.headlines: {
                name: case.headline for name, case in self.cases.items() if case.headline
            },
            paths.comparisons: self.comparisons,
            paths.searches: self.searches,
        }
        contents |= {paths.audit(view): audit for view, audit in self.audits.items()}
        contents |= {paths.external(name): found for name, found in self.external.items()}
        for name, case in self.cases.items():
            contents[paths.case_metrics(name)] = case.metrics
            contents[paths.case_report(name)] = case.report
            contents[paths.cam_scores(name)] = case.cam
            contents[paths.training_facts(name)] = case.training
            write(paths.history_epochs(name), case.epochs.to_csv(index=False))
            save_overlays(case.cam["images"], paths.cam_sheets(name))
        for name, dataset in self.datasets.items():
            folder = paths.prepared(name)
            contents[folder / "grouping.json"] = dataset.grouping
            write(folder / "manifest.csv", dataset.manifest.to_csv(index=False))
            write_csv(folder / "rejected.csv", dataset.rejected)
            write_csv(folder / "suspicious.csv", dataset.suspicious)
            save_pictures(dataset.manifest, folder)
            if dataset.reconciliation is not None:
                write_csv(folder / "reconciliation.csv", dataset.reconciliation)
            dataset.info.save(folder)
            dataset.metadata.save(folder)
        for view, settings in self.params.views.items():
            dataset = self.datasets.get(settings.dataset)
            if dataset:
                said = tabulate_probes(dataset.manifest, dataset.info.class_names)
                write(paths.audit_predictions(view), said.to_csv(index=False))
        for path, content in contents.items():
            write(path, json.dumps(content))
        return load_results(self.params, paths)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True, scope="package")
def intervals_that_hold() -> Iterator[None]:
    """As if every interval held the truth in 95 % of simulated sets: no figure is marked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, "load_coverage", lambda: make_coverage(0.95))
        yield


def make_coverage(held: float) -> pd.DataFrame:
    """A simulation of two sizes in which all intervals hold the truth as often."""
    columns = ["figure", "metric", "n", "clustered", "prevalence", "auroc"]
    designs = itertools.product(
        ("metric", "difference"), FIGURES, (20, 100), (0.0, 1.0), (0.5, 0.1), (0.8, 0.97)
    )
    return pd.DataFrame(designs, columns=columns).assign(coverage=held)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Of the two data sets above, in a folder of the test's own."""
    return make_files(tmp_path)


@pytest.fixture
def results(files: Files) -> Results:
    """The same as the pages see them, for tests that change nothing."""
    return files.load()


def make_files(root: Path) -> Files:
    ct, labels = make_manifest(), make_label_manifest()
    return Files(
        root=root,
        params=make_params(),
        cases={
            "full-ce": make_case(ct, CLASSES, skill=0.0),
            "lungs-bce": make_case(ct, CLASSES, skill=0.9),
            "lungs-folds": make_fold_case(ct, skill=0.6),
            "labels-bce": make_label_case(labels),
        },
        datasets={
            "ct": DatasetFiles(
                make_info(),
                ct,
                make_rejected(),
                make_suspicious(),
                make_grouping(ct),
                make_metadata(ct),
            ),
            "labels": DatasetFiles(
                make_label_info(),
                labels,
                make_rejected().head(0),
                make_suspicious().head(0),
                make_grouping(labels),
                tabulate_metadata(labels["image_id"], [{}] * len(labels), {}),
            ),
        },
        audits={
            "full": make_audit(CLASSES),
            "lungs": make_audit(CLASSES),
            "labels-full": make_audit(LABEL_CLASSES),
        },
        external={"elsewhere": make_external(labels)},
        comparisons={"crop": make_comparison("lungs-bce", "full-ce")},
        searches={},
    )


def make_params() -> Params:
    case = {
        "view": "full",
        "model": "cnn3",
        "weights": "cnn3-random",
        "train": "all",
        "head": [8],
        "dropout": 0.2,
        "loss": {"kind": "ce", "label_smoothing": 0.0},
        "sampler": "none",
        "augment": "light",
        "recipe": "short",
        "protocol": "once",
    }
    bce = {"loss": {"kind": "bce", "label_smoothing": 0.0}}
    lungs = {"kind": "lungs", "margin": 0.05, "fallback_fraction": 0.8}
    once = {
        "folds": 1,
        "held_out": "test",
        "grouping": "group",
        "augmented_copies": 0,
        "seeds": [1],
        "ensemble": False,
        "mirror": False,
    }
    augmentation = dict.fromkeys(
        ("flip", "flip_vertical", "rotate_deg", "scale", "shift", "brightness", "contrast"), 0.0
    )
    return parse_params(
        {
            "seed": 42,
            "compute": {"accelerator": "cpu", "precision": "fp32", "threads": 1},
            "downloads": {},
            "datasets": {
                "ct": make_dataset("phantom", CLASSES, {}),
                "labels": make_dataset("folder", LABEL_CLASSES, {"covid": ["pneumonia"]}),
            },
            "views": {
                "full": make_view("ct", {"kind": "none"}),
                "lungs": make_view("ct", lungs),
                "labels-full": make_view("labels", {"kind": "none"}),
            },
            "pretext": {"images": 60, "size_px": 32, "augment": "light", "recipe": "short"},
            "weights": {
                "cnn3-random": {"source": {"kind": "random", "path": "x.py"}, "model": "cnn3"}
            },
            "augmentations": {"light": augmentation | {"noise": 0.0, "crop_area": 1.0}},
            "recipes": {"short": make_recipe()},
            "protocols": {"once": once, "five-folds": once | {"folds": FOLDS}},
            "cases": {
                "full-ce": case,
                "lungs-bce": case | bce | {"view": "lungs"},
                "lungs-folds": case | {"view": "lungs", "protocol": "five-folds"},
                "labels-bce": case | bce | {"view": "labels-full"},
            },
            "comparisons": {"crop": ["lungs-bce", "full-ce"]},
            "searches": {},
            "external": {
                "elsewhere": {
                    "case": "lungs-bce",
                    "view": "labels-full",
                    "classes": {"normal": "normal", "covid": "covid"},
                }
            },
            "audit": {"folds": 2, "permutations": 99},
            "evaluate": {
                "bootstrap_draws": 200,
                "prevalences": list(PREVALENCES),
                "costs": {},
                "ordered": {},
            },
            "cam": {
                "methods": list(METHODS),
                "positive": 3,
                "negative": 3,
                "errors": 1,
                "uncertain": 1,
                "road_images": 2,
                "lesion_images": 4,
                "target_layers": {},
            },
            "study": dict.fromkeys(Study.model_fields),
        }
    )


def make_recipe() -> Json:
    return {
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "beta2": 0.999,
        "schedule": "constant",
        "epochs": 2,
        "patience": 2,
        "keep": "best",
        "ema": 0.0,
        "batch_size": 8,
        "layer_decay": 1.0,
        "head_epochs": 0,
        "drop_path": 0.0,
        "mixup": 0.0,
        "cache_views": 0,
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
    }


def make_dataset(kind: str, classes: list[str], implies: dict[str, list[str]]) -> Json:
    return {
        "source": {"kind": kind, "path": "data/raw"},
        "cohort": None,
        "modality": "ct",
        "classes": {name: [name] for name in classes},
        "implies": implies,
        "positive": "covid",
        "ignore": [],
        "table": None,
        "metadata": None,
        "group": {"kind": "pattern", "pattern": r"^(\d+)_", "patients_per_class": False},
        "truth": {"kind": "source", "path": "stages/dataset/truth.py"},
        "near_duplicates": True,
        "allow_leakage": False,
        "slices": {"kind": "all"},
        "grey": {"kind": "percentiles", "low": 0.5, "high": 99.5},
        "size_px": 64,
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "max_rejected": 0.0,
        "max_unmatched": 0.0,
        "provenance": "made up for the tests",
        "licence": "CC0",
    }


def make_view(dataset: str, crop: Json) -> Json:
    return {"dataset": dataset, "crop": crop, "size_px": 64, "fit": "letterbox"}


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
        suspicious={"nearly blank": 2, "likely inverted": 1},
        preprocessing=PREPARED,
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
        suspicious={},
        preprocessing=PREPARED,
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
            "source_path": [f"{number}.png" for number in range(len(patients))],
            "subgroup": np.where(patients % 3 == 0, "marker", "no-marker"),
            **PLACE,
        }
    )
    others = [
        {
            "image_id": f"{split}-{label}",
            "group_id": f"{split}-{label}",
            "label": label,
            "split": split,
            "source_path": f"{split}-{label}.png",
            "subgroup": "",
            **PLACE,
        }
        for split in ("train", "val")
        for label in CLASSES
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
            "source_path": f"{label}/{number}.png",
            "subgroup": "",
            **PLACE,
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


def make_report(predictions: pd.DataFrame, classes: list[str]) -> Json:
    test = predictions[predictions["split"] == "test"]
    counts = pd.crosstab(test["label"], test["prediction"])
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    curves = {
        "roc": {"fpr": [0.0, 0.25, 1.0], "tpr": [0.0, 0.75, 1.0]},
        "precision_recall": {"recall": [1.0, 0.75, 0.0], "precision": [0.5, 0.75, 1.0]},
    }
    return {
        "positive": "covid",
        "test": {
            "class_names": classes,
            "confusion_matrix": counts.to_numpy().tolist(),
            "curves": dict.fromkeys(classes, curves),
            "probabilities": make_distributions(classes),
        },
        "subgroups": make_subgroups(classes),
        "calibration": make_calibration([""], classes),
        "operating_points": make_operating_points([""]),
        "decision_curve": make_decision_curve(),
        "occlusion": {
            name: {
                "n_without_lungs": 2,
                "metrics": with_ends(auroc=0.6, balanced_accuracy=0.55),
                "undefined": {},
            }
            for name in ("lungs_hidden", "lungs_only")
        },
        "label_errors": make_label_look(0.6),
    }


def make_label_look(balanced_accuracy: float | None) -> Json:
    """Two of 64 labels in doubt."""
    doubted = {"label": "normal", "likelier": "covid"}
    shares = {"label_probability": 0.05, "likelier_probability": 0.95}
    return {
        "n_images": 64,
        "n_judged": 60,
        "balanced_accuracy": balanced_accuracy,
        "too_few": [],
        "suspected": [{"image_id": f"i00{number}"} | doubted | shares for number in (4, 0)],
    }


def with_ends(**values: float) -> dict[str, float]:
    """Each value with an interval of a tenth to either side."""
    return {
        f"{name}{end}": round(value + shift, 6)
        for name, value in values.items()
        for end, shift in ENDS.items()
    }


def make_distributions(classes: list[str]) -> Json:
    """Two bins; of every class one image in four above a half."""
    return {"bins": 2, "counts": {told: {true: [3, 1] for true in classes} for told in classes}}


def make_decision_curve() -> Json:
    """Worth acting from 0.25 on; where another share is ill, from 0.5 on."""
    rising = {"value": [0.25, 0.2, 0.1], "low": [0.15, 0.1, -0.1], "high": [0.3, 0.3, 0.2]}
    gain = {"value": [0.0, 0.1, 0.05], "low": [-0.1, 0.02, 0.01], "high": [0.1, 0.2, 0.1]}
    elsewhere = {"net_benefit": [0.1, None, 0.05], "treat_all": [0.1, 0.0, -0.2]}
    return {
        "prevalence": 0.4,
        "threshold": [0.1, 0.25, 0.5],
        "treat_all": [0.333333, 0.2, -0.2],
        "net_benefit": rising,
        "gain": gain,
        "at_prevalences": [{"prevalence": share} | elsewhere for share in PREVALENCES],
    }


def make_class_calibration(slope: float) -> Json:
    band = {"value": [0.1, 0.5, 0.9], "low": [0.0, 0.4, None], "high": [0.2, 0.6, None]}
    curve = {"predicted": [0.0, 0.5, 1.0], "observed": band}
    return with_ends(intercept=0.3, slope=slope) | {"undefined": {}, "curve": curve}


def make_calibration(runs: list[str], classes: list[str] = CLASSES) -> Json:
    """Over-confident before, right after."""
    told = classes if len(classes) > 2 else classes[1:]
    curve = {"confidence": [0.55, 0.75, 0.95], "accuracy": [0.5, 0.6, 0.8], "count": [5, 10, 45]}
    before = with_ends(log_loss=0.7, brier=0.2) | {"ece": 0.15, "reliability": curve}
    before |= {
        "classwise_ece": 0.12,
        "classes": dict.fromkeys(told, make_class_calibration(0.6)),
    }
    after = with_ends(log_loss=0.5, brier=0.15) | {
        "ece": 0.02,
        "classwise_ece": 0.03,
        "classes": dict.fromkeys(told, make_class_calibration(0.9)),
        "reliability": curve | {"confidence": [0.5, 0.6, 0.8]},
    }
    temperatures = [{"name": name, "temperature": 1.7, "reason": None} for name in runs]
    return {"temperatures": temperatures, "before": before, "after": after}


def make_operating_points(runs: list[str]) -> Json:
    point = {
        "thresholds": [
            {"name": name, "threshold": 0.4 + number / 100} for number, name in enumerate(runs)
        ],
        "val": {"sensitivity": 0.9, "specificity": 0.8},
        "test": with_ends(sensitivity=0.85, specificity=0.75, precision=0.7)
        | with_ends(lr_positive=3.4, lr_negative=0.2),
        "prevalences": [
            {"prevalence": prevalence} | with_ends(ppv=0.35, npv=0.65) for prevalence in PREVALENCES
        ],
        "undefined": {},
    }
    return dict.fromkeys(OPERATING_POINTS, point)


def make_case(manifest: pd.DataFrame, classes: list[str], *, skill: float) -> CaseFiles:
    predictions = make_predictions(manifest, classes, skill)
    epochs = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1],
            "split": ["train", "val", "train", "val"],
            "loss": [0.7, 0.6, 0.5, 0.55],
        }
    )
    metrics = make_metrics(skill)
    return CaseFiles(
        metrics=metrics,
        report=make_report(predictions, classes),
        cam=make_cam(shown_images(predictions), skill),
        training=make_training(classes),
        headline=make_headline(metrics),
        epochs=epochs.assign(fold=1, seed=1, accuracy=0.5),
    )


def make_fold_case(manifest: pd.DataFrame, *, skill: float) -> CaseFiles:
    """Every image is test in the run of its fold, and train in the other four."""
    groups = {group: number for number, group in enumerate(manifest["group_id"].unique())}
    fold_of_image = manifest["group_id"].map(groups) % FOLDS + 1
    one = make_case(manifest, CLASSES, skill=skill)
    numbers = range(1, FOLDS + 1)
    spread = {
        f"{name}_run_{what}": value
        for name in FIGURES
        for what, value in (("mean", 0.873), ("sd", 0.021))
    }
    names = [f"fold{fold}-seed1" for fold in numbers]
    tested = make_predictions(manifest, CLASSES, skill).assign(split="test")
    report = make_report(tested, CLASSES) | {
        "calibration": make_calibration(names),
        "operating_points": make_operating_points(names),
        "runs": [
            {
                "name": f"fold{fold}-seed1",
                "fold": fold,
                "seed": 1,
                "n_test": int((fold_of_image == fold).sum()),
                "metrics": make_metrics(skill + fold / 100),
            }
            for fold in numbers
        ],
    }
    metrics = one.metrics | spread | {"n_runs": FOLDS, "n_test": len(manifest)}
    return replace(
        one,
        metrics=metrics,
        report=report,
        headline=make_headline(metrics),
        epochs=pd.concat([one.epochs.assign(fold=fold) for fold in numbers]),
    )


def make_label_case(manifest: pd.DataFrame) -> CaseFiles:
    """Of its images one was not drawn: the case is unsure of it."""
    one = make_case(manifest, LABEL_CLASSES, skill=0.5)
    one.cam["images"][-1]["selected_as"] = ["uncertain"]
    figures = {"sensitivity": 0.625, "specificity": 0.875, "auroc": None}
    one.report["labels"] = {
        "normal": {"n_positive": 5} | figures,
        "pneumonia": {"n_positive": 10} | figures,
        "covid": {"n_positive": 5} | figures,
    }
    return one


def make_metrics(skill: float) -> Json:
    """Figures that say which case they are of."""
    ends = {"": 0.5, "_low": 0.4, "_high": 0.6}
    strata = ("", "_marker", "_no-marker")
    flat: Json = {
        f"{figure}{stratum}{end}": round(value + skill / 3, 6)
        for figure in FIGURES
        for stratum in strata
        for end, value in ends.items()
    }
    flat |= {"ece": 0.15, "ece_calibrated": 0.02}
    flat |= with_ends(log_loss_calibrated=0.5, brier_calibrated=0.15)
    flat |= with_ends(lr_positive=3.0, lr_negative=0.4, root_brier=0.45)
    flat |= with_ends(calibration_intercept=0.3, calibration_slope=0.6)
    for point in OPERATING_POINTS:
        flat |= with_ends(**{f"sensitivity_{point}": 0.85, f"specificity_{point}": 0.75})
    for occlusion, auroc in (("lungs_hidden", 0.61), ("lungs_only", 0.72)):
        flat |= with_ends(**{f"auroc_{occlusion}": auroc, f"balanced_accuracy_{occlusion}": 0.55})
    counts = {"n_test": 2 * PATIENTS, "n_test_groups": PATIENTS, "n_runs": 1, "n_leaking_groups": 0}
    counts["optimistic"] = False
    return flat | counts | {"train_accuracy": 0.75, "val_accuracy": 0.625}


def make_headline(metrics: Json) -> Json:
    own = {f"auroc{end}": metrics[f"auroc{end}"] for end in ENDS}
    shortcut = {f"shortcut_{name}": round(value - 0.1, 6) for name, value in own.items()}
    difference = {"difference": 0.1, "difference_low": -0.05, "difference_high": 0.25}
    found = {"n": metrics["n_test"], "shortcut": "thumbnail"} | own | shortcut | difference
    accuracies = with_ends(accuracy=0.7, shortcut_accuracy=0.65)
    above = {"accuracy_difference": 0.05, "accuracy_difference_low": -0.02}
    above |= {"accuracy_difference_high": 0.12, "most_accurate": "majority"}
    return found | accuracies | above


def make_training(classes: list[str]) -> Json:
    return {
        "parameters": {"trained": 1234, "frozen": 98765},
        "blocks_trained": ["layer4"],
        "class_counts": {
            "train": {name: 40 - number for number, name in enumerate(classes)},
            "drawn_per_epoch": dict.fromkeys(classes, 31.25),
        },
        "kept_epoch": 7,
        "flop": {"per_image": 36_500_000, "training": 8_000_000_000_000},
        "flop_of_all_runs": 40_000_000_000_000,
        "epochs_run": 19,
        "diverged": False,
        "started_from": "cnn3-random",
        "start_knows": None,
        "start_licence": None,
        "start_origin": None,
        "device": "a processor, 2 cores",
        "precision": "fp32",
        "threads": 2,
        "versions": {"torch": "2.15.0", "timm": "1.0.31"},
    }


def shown_images(manifest: pd.DataFrame) -> pd.DataFrame:
    """The first six test images."""
    return manifest[manifest["split"] == "test"].head(6)


def save_overlays(images: list[Json], folder: Path) -> None:
    """A tile per image and method, no two of them alike."""
    for method in METHODS:
        (folder / method).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            path = folder / method / f"{image['image_id']}.png"
            path.write_bytes(encode_tile(number, method))


@functools.cache
def encode_tile(number: int, method: str) -> bytes:
    """As `cam` saves it."""
    colour = (40 * number, 200, 120 if method == "gradcam" else 20)
    tile = draw_tile(np.full((6, 8, 3), colour, np.uint8), Caption("normal", "normal", 0.5), method)
    buffer = io.BytesIO()
    tile.save(buffer, "PNG")
    return buffer.getvalue()


def save_pictures(manifest: pd.DataFrame, folder: Path) -> None:
    """Pictures of 8 x 6 in squares of 8, each of another grey."""
    images = np.zeros((len(manifest), 8, 8), np.uint8)
    images[:, 1:7] = np.arange(len(manifest), dtype=np.uint8)[:, None, None]
    np.save(folder / "images.npy", images)


def tabulate_probes(manifest: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """What each probe says: the last class of every image, with 0.75."""
    shares = {f"prob_{name}": 0.25 / (len(classes) - 1) for name in classes[:-1]}
    said = manifest[["image_id", "group_id", "label"]].assign(
        prediction=classes[-1], **shares, **{f"prob_{classes[-1]}": 0.75}
    )
    return pd.concat([said.assign(probe=probe) for probe in PROBES])


def make_cam(images: pd.DataFrame, skill: float) -> Json:
    """Maps of six images of three patients, the more in the lungs the better the case."""
    rows = []
    for number, image in enumerate(images.to_dict("records")):
        score = {"in_lungs": round(0.3 + skill / 2 + number / 100, 6), "lungs_area": 0.25}
        score |= {"in_lesions": 0.2, "lesions_area": 0.05, "peak_in_lesions": 1.0}
        rows.append(
            {key: image[key] for key in ("image_id", "group_id", "label", "prediction")}
            | {"probability": image[f"prob_{image['prediction']}"]}
            | {"selected_as": ["drawn"]}
            | dict.fromkeys(METHODS, score)
        )
    mean = {"mean": 0.4, "low": 0.3, "high": 0.5, "n": 6}
    return {
        "target_layer": "conv2",
        "lung_masks": "truth",
        "not_class_specific": ["eigencam"],
        "images": rows,
        "summary": {
            name: {"in_lungs": mean, "in_lesions": mean}
            for name in (*METHODS, "constant", "gaussian")
        },
        "agreement": {"gradcam v eigencam": mean},
        "randomisation": {name: {"head": mean, "all": mean} for name in METHODS},
        "pointing": None,
        "road": {name: {"n": 2, "most_relevant_first": mean | {"n": 2}} for name in METHODS},
    }


def make_rejected() -> pd.DataFrame:
    """Files that gave no image, as rejected.csv lists them."""
    reasons = ["not an image", "not an image", "cut short"]
    return pd.DataFrame({"file": ["a.png", "b.png", "c.jpg"], "reason": reasons})


def make_suspicious() -> pd.DataFrame:
    """Pictures to look at, as suspicious.csv lists them."""
    what = ["nearly blank", "nearly blank", "likely inverted: air is white"]
    return pd.DataFrame({"file": ["d.png", "e.png", "f.jpg"], "what": what})


def make_metadata(manifest: pd.DataFrame) -> Metadata:
    """Ages by the image, unknown of the first; covid is of women."""
    cells = [
        {"age": None if not number else 40.0 + number, "sex": "F" if label == "covid" else "M"}
        for number, label in enumerate(manifest["label"])
    ]
    columns = {"age": Column("number", 2, ["058Y"]), "sex": Column("category", 0, [])}
    return tabulate_metadata(manifest["image_id"], cells, columns)


def make_subgroups(classes: list[str]) -> Json:
    """By sex: one group scored and tested, one too few."""
    few = {name: {"images": 4, "patients": 3} for name in classes}
    enough = {name: {"images": 30, "patients": 25} for name in classes}
    pair = with_ends(first=0.9, second=0.7)
    pair |= {"difference": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.004, "undefined": None}
    nothing: Json = {"classes": [], "metrics": {}, "undefined": {}, "against_rest": {}}
    men = {
        **{"name": "M", "counts": enough, "classes": classes, "undefined": {}, "remark": None},
        "metrics": with_ends(balanced_accuracy=0.85, auroc=0.9),
        "against_rest": dict.fromkeys(
            ("balanced_accuracy", "auroc"), pair | {"p_value_holm": 0.008}
        ),
    }
    women = {"name": "F", "counts": few, "remark": "not scored: too few"} | nothing
    part = {"title": "sex", "how": "by value", "groups": [women, men]}
    return {"fewest_patients": 10, "partitions": [part]}


def make_grouping(manifest: pd.DataFrame) -> Json:
    return {
        "n_images": len(manifest),
        "n_patients": 12,
        "n_images_of_known_patient": 24,
        "n_patients_of_two_classes": 0,
        "n_groups": int(manifest["group_id"].nunique()),
        "largest_group": 4,
        "pairs": {"bytes": 1, "pixels": 2, "near": 3},
        "n_clusters": 5,
        "n_images_in_clusters": 11,
        "clusters_with_two_labels": 1,
        "two_labels": [
            [{"file": "covid/a.png", "label": "covid"}, {"file": "normal/b.png", "label": "normal"}]
        ],
        "leaks": {},
        "notes": [],
    }


def _with_p_values(probe: str, figures: Json) -> Json:
    """Adjusted where the probe cannot show the disease."""
    in_family = PROBES[probe] == "shortcut" and probe != "thumbnail"
    return {**figures, "p_value": 0.3, "p_value_holm": 0.9 if in_family else None}


def make_audit(classes: list[str]) -> Json:
    """Probes from 0.5 upwards; the best shortcut is the border, as it comes last of them."""
    probes = {
        probe: {"kind": kind}
        | with_ends(auroc=round(0.5 + number / 20, 6), balanced_accuracy=0.5, accuracy=0.6)
        | {"by_pair": {f"{a} v {b}": with_ends(auroc=0.45) for a, b in combinations(classes, 2)}}
        | _with_p_values(probe, {})
        | {"by_class": {name: _with_p_values(probe, with_ends(auroc=0.55)) for name in classes}}
        for number, (probe, kind) in enumerate(PROBES.items())
    }
    sides = {"random": 0.8, "grouped": 0.7}
    return {
        "n": 64,
        "n_groups": 34,
        "folds": 2,
        "probes": probes,
        "best_shortcut": "border",
        "lungs": None,
        "most_accurate": "file",
        "label_errors": make_label_look(0.7),
        "leakage_gap": {
            "model": "one nearest neighbour on the thumbnail",
            **{side: with_ends(auroc=v, balanced_accuracy=v) for side, v in sides.items()},
            "difference": {
                metric: {"difference": 0.1, "low": 0.02, "high": 0.18}
                for metric in ("auroc", "balanced_accuracy")
            },
        },
    }


def make_external(manifest: pd.DataFrame) -> Json:
    """`lungs-bce` on the two classes of `labels` that it knows; it does worse there."""
    known = manifest[manifest["label"].isin(CLASSES)]
    report = make_report(make_predictions(known, CLASSES, 0.3).assign(split="test"), CLASSES)
    points = report["operating_points"]
    return {
        "case": "lungs-bce",
        "view": "labels-full",
        "dataset": "labels",
        "classes": {"normal": "normal", "covid": "covid"},
        "n": len(known),
        "n_groups": known["group_id"].nunique(),
        "n_left_out": len(manifest) - len(known),
        "n_shared_with_training": 0,
        "bytes_alone_of": [],
        "shared": [],
        "metrics": make_metrics(0.3),
        "undefined": {},
        **report["test"],
        "calibration": {side: report["calibration"][side] for side in ("before", "after")},
        "operating_points": {
            name: {key: point[key] for key in ("test", "prevalences")}
            for name, point in points.items()
        },
        "drop": {
            metric: {"own": 0.8, "external": 0.6, "difference": -0.2, "low": -0.3, "high": -0.1}
            for metric in FIGURES
        },
    }


def make_comparison(first: str, second: str) -> Json:
    """The first is ahead by everything, on all images and on those of one stratum."""
    delong = {"difference": 0.102, "low": 0.051, "high": 0.153, "undefined": None}
    maps = {"n": 20, "difference": 0.19, "low": 0.02, "high": 0.36}
    maps |= {"in_lungs_first": 0.61, "in_lungs_second": 0.42}
    maps |= {"lungs_area_first": 0.35, "lungs_area_second": 0.25}
    return {
        "first": first,
        "second": second,
        "differs": {"sampler": ["weighted", "none"]},
        "optimistic": [],
        "test": adjusted(make_compared(0.1, 0.05, 0.15)),
        "delong": {"positive": "covid", **delong, "p_value": 0.0141, "p_value_holm": 0.0423},
        "mcnemar": {"n_only_first": 14, "n_only_second": 3, "undefined": None}
        | {"p_value": 0.0076, "p_value_holm": 0.0152},
        "subgroups": {"marker": make_compared(0.2, 0.1, 0.5)},
        "maps": dict.fromkeys(METHODS, maps),
    }


def make_compared(difference: float | None, low: float | None, high: float | None) -> Json:
    """Figures of two cases on the images that both were tested on."""
    figure = {
        **{"first": 0.875, "first_low": 0.801, "first_high": 0.931},
        **{"second": 0.775, "second_low": 0.702, "second_high": 0.843},
        **{"difference": difference, "low": low, "high": high, "p_value": 0.0125},
        "undefined": "needs an image" if low is None else None,
    }
    counts = {"n_rows_first": 90, "n_rows_second": 90, "n_only_first": 0, "n_only_second": 0}
    return {"n": 90, "n_groups": 30} | counts | {name: dict(figure) for name in FIGURES}


def adjusted(compared: Json, p_value: float | None = 0.0375) -> Json:
    """Figures on all test images; those of strata have no adjusted p-value."""
    return compared | {name: compared[name] | {"p_value_holm": p_value} for name in FIGURES}
