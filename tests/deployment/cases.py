"""Cases that look trained and are not: random weights, with all that predicting with them needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from stages.config.params import Crop, LungCrop, NoCrop, View
from stages.config.paths import Paths
from stages.config.writing import write_json
from stages.dataset.image_set import DatasetInfo, ImageSet
from stages.dataset.preprocessing import Preprocessing
from stages.dataset.runs import Run, save_runs
from stages.evaluation.operating_points import OPERATING_POINTS
from stages.modeling.checkpoint import run_folder, save_model
from stages.modeling.classifier import build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.familiar import Looked, learn_familiar
from stages.modeling.penultimate import Penultimate
from stages.modeling.predict import load_case, predict_probabilities
from tests.conftest import load_raw_params, write_params
from tests.dataset.sample import GREY, info_of

WHOLE = NoCrop(kind="none")
LUNGS = LungCrop(kind="lungs", margin=0.05, fallback_fraction=0.8)
TRAINED, VALIDATED = 16, 8  # images of noise


class Untrained(NamedTuple):
    """What a case is to be.

    Attributes:
        name: of the case, one of params.yaml.
        model: its architecture.
        size_px: of its view.
        class_names: the last is positive.
        runs: names of its runs.
        temperatures: of each.
        thresholds: of each, the same for all operating points.
        crop: of its view.
        mirror: whether it averages images and their mirrors.
        is_optimistic: whether its protocol is.
    """

    name: str = "ct-cnn-full"
    model: str = "cnn3"
    size_px: int = 80
    class_names: Sequence[str] = ("normal", "covid")
    runs: Sequence[str] = ("",)
    temperatures: Sequence[float] = (1.0,)
    thresholds: Sequence[float] = (0.5,)
    crop: Crop = WHOLE
    mirror: bool = False
    is_optimistic: bool = False


def make_case(root: Path, case: Untrained) -> None:
    """Write params.yaml, models, runs, what the data set was, and the report of a case."""
    paths, info = Paths(root), _info(case)
    write_params(root / "params.yaml", load_raw_params())
    info.save(paths.case_predictions(case.name))
    view = _view(info, case.size_px)
    runs = [
        Run(name, number, 1, np.array(["train"] * TRAINED + ["val"] * VALIDATED))
        for number, name in enumerate(case.runs, start=1)
    ]
    folder = paths.weights(case.name)
    save_runs(folder, view.manifest, runs)
    for seed, run in enumerate(runs):
        _save_run(run_folder(folder, run.name), case, seed)
        looked = Looked.of(run)
        features = Penultimate(looked.mask(len(view.images)))
        _predict(folder, run.name, view.images, features)
        learn_familiar(view, looked, features.values).save(run_folder(folder, run.name))
    write_json(paths.case_report(case.name), _report(case))


def _predict(folder: Path, run: str, images: Any, features: Penultimate) -> None:
    from stages.modeling.checkpoint import load_classifier
    from stages.modeling.fused import fuse

    trained = load_case(folder)
    classifier, _ = load_classifier(run_folder(folder, run))
    predict_probabilities(
        fuse(classifier),
        trained.outputs,
        images,
        hardware=Hardware("cpu", trained.precision),
        mirror=False,
        penultimate=features,
    )


def _info(case: Untrained) -> DatasetInfo:
    view = View(dataset="ct", crop=case.crop, size_px=case.size_px, fit="letterbox")
    return info_of(
        class_names=list(case.class_names),
        positive=case.class_names[-1],
        preprocessing=Preprocessing(grey=GREY, picture_px=max(96, case.size_px), view=view),
    )


def _view(info: DatasetInfo, size_px: int) -> ImageSet:
    count = TRAINED + VALIDATED
    images = np.random.default_rng(0).integers(0, 256, (count, size_px, size_px), dtype=np.uint8)
    ids = [f"image{number}" for number in range(count)]
    table = {"image_id": ids, "sha256": ids, "width": 200, "height": 160}
    return ImageSet(info, pd.DataFrame(table), images, None, None, None)


def _save_run(folder: Path, case: Untrained, seed: int) -> None:
    shape = {"model": case.model, "size": case.size_px, "head": [], "dropout": 0.0}
    shape |= {"mean": 0.45, "std": 0.23}
    torch.manual_seed(seed)
    classifier = build_classifier(**shape, outputs=len(case.class_names))
    outputs = {"class_names": list(case.class_names), "positive": len(case.class_names) - 1}
    outputs |= {"one_logit": False, "implies": {}}
    habits = {"ensemble": False, "mirror": case.mirror, "precision": "fp32"}
    save_model(folder, classifier.state_dict(), {**shape, **outputs, **habits})


def _report(case: Untrained) -> dict[str, Any]:
    def of_runs(key: str, values: Sequence[float]) -> list[dict[str, Any]]:
        return [{"name": n, key: value} for n, value in zip(case.runs, values, strict=True)]

    thresholds = {"thresholds": of_runs("threshold", case.thresholds)}
    return {
        "optimistic": case.is_optimistic,
        "calibration": {"temperatures": of_runs("temperature", case.temperatures)},
        "operating_points": dict.fromkeys(OPERATING_POINTS, thresholds),
    }
