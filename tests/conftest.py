"""Parameters and small data sets for the tests, made from the repository's own params.yaml."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parents[1]

RawParams = dict[str, Any]


@pytest.fixture
def raw_params() -> RawParams:
    """The repository's params.yaml as plain dictionaries."""
    return load_raw_params()


@pytest.fixture
def tiny_params() -> RawParams:
    """A few phantoms of one kind, two cases of one epoch."""
    return shrink(load_raw_params())


@pytest.fixture(scope="session")
def shared_tiny_params() -> RawParams:
    """As `tiny_params`, for fixtures that live as long; not to be changed."""
    return shrink(load_raw_params())


def load_raw_params() -> RawParams:
    raw: RawParams = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    return raw


def write_params(path: Path, raw: RawParams) -> None:
    """Write parameters as a file that the pipeline and DVC read."""
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(raw, file)


def shrink(raw: RawParams) -> RawParams:
    """One CT data set of 64 phantoms, a whole and a lung view, random cnn3, one epoch."""
    patients = {"patients": {"covid": 16, "normal": 16}, "images_per_patient": 2}
    cohort = {"kind": "ct", **patients, "marker_share": {"covid": 0.7, "normal": 0.4}}
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    few = {"cohort": cohort, "size_px": 96, "split": shares}
    raw["datasets"] = {"ct": raw["datasets"]["ct"] | few}
    raw["views"] = {
        "full": {"dataset": "ct", "crop": {"kind": "none"}, "size_px": 80, "fit": "letterbox"}
    }
    lungs = {"kind": "lungs", "margin": 0.05, "fallback_fraction": 0.8}
    raw["views"]["lungs"] = raw["views"]["full"] | {"crop": lungs}
    raw["weights"] = {"cnn3-random": raw["weights"]["cnn3-random"]}
    raw["augmentations"] = {"light": raw["augmentations"]["light"]}
    recipe = raw["recipes"]["cnn"]
    raw["recipes"] = {"short": recipe | {"epochs": 1, "batch_size": 8}}
    raw["protocols"] = {"once": raw["protocols"]["once"]}
    raw["pretext"] |= {"augment": "light", "recipe": "short"}
    case = next(case for case in raw["cases"].values() if case["model"] == "cnn3")
    case |= {"head": [8], "sampler": "none", "recipe": "short", "protocol": "once"}
    raw["cases"] = {
        f"{view}-{loss}": copy.deepcopy(case)
        | {"view": view, "loss": {"kind": loss, "label_smoothing": 0.0}}
        for view, loss in (("full", "ce"), ("lungs", "bce"))
    }
    raw["comparisons"] = {"crop": ["lungs-bce", "full-ce"]}
    raw["searches"] = {}
    raw["external"] = {}
    raw["audit"] = {"folds": 2, "permutations": 99}
    raw["evaluate"]["bootstrap_draws"] = 200
    raw["cam"] |= {"methods": ["gradcam", "eigencam"], "target_layers": {"cnn3": "conv2"}}
    raw["cam"] |= {"positive": 3, "negative": 2, "errors": 1, "uncertain": 1, "road_images": 1}
    raw["cam"] |= {"lesion_images": 4}
    raw["compute"] = {"accelerator": "cpu", "precision": "fp32", "threads": 1}
    return raw


@pytest.fixture
def write_picture() -> Callable[[Path, int], Path]:
    """Writes a grey PNG of noise, another one for each seed."""

    def write(path: Path, seed: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write
