"""Stages run by hand on outputs that DVC has restored: read-only hard links into its cache.

A file that is opened for writing where it lies would change the cache itself, as root, or be
refused, as anybody else. Both are tried: root can give up the right to pass over permissions.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.config.writing import write_csv
from stages.crop import crop_view
from stages.dataset.image_set import load_image_set
from stages.dataset.predictions import tabulate_run
from stages.dataset.runs import plan_runs, save_runs
from stages.modeling.checkpoint import save_model
from stages.modeling.classifier import build_classifier
from stages.prepare import prepare_dataset
from tests.conftest import load_raw_params, shrink, write_params

RawParams = dict[str, Any]

REPOSITORY = Path(__file__).parents[1]
CASE = "full-ce"
DROP_FROM_BOUNDS = 24  # PR_CAPBSET_DROP of Linux's prctl(2)
PASS_OVER_PERMISSIONS = (1, 2, 3)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


def become_ordinary() -> None:
    """Let the program that is started next obey the permissions of files, though it is root."""
    for capability in PASS_OVER_PERMISSIONS:
        if ctypes.CDLL(None, use_errno=True).prctl(DROP_FROM_BOUNDS, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="who is not root is ordinary already")
USERS = [
    pytest.param(None, id="as oneself"),
    pytest.param(become_ordinary, id="as an ordinary user", marks=needs_root),
]
# By stage: what is changed in the parameters, the entry, and the folders and files it writes.
CHANGES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "cam": ({"seed": 8}, CASE, [f"plots/cam/{CASE}", f"metrics/cam/{CASE}.json"]),
    "crop": ({"crop": {"kind": "center", "fraction": 0.6}}, "full", ["data/views/full"]),
    "prepare": ({"seed": 8}, "ct", ["data/prepared/ct"]),
}


@pytest.fixture(scope="module")
def raw() -> RawParams:
    return shrink(load_raw_params())


def save_untrained_case(raw: RawParams, paths: Paths) -> None:
    """A case's model with random weights, its runs and what it might say of the images."""
    view = load_image_set(paths.view("full"))
    torch.manual_seed(0)
    build = {"size": 80, "head": [8], "dropout": 0.0, "mean": 0.5, "std": 0.25}
    network = build_classifier("cnn3", outputs=2, **build)
    classes = {"class_names": view.info.class_names, "positive": 1, "one_logit": False}
    meta = {"model": "cnn3", "precision": "fp32", "implies": {}, **build, **classes}
    save_model(paths.weights(CASE), network.state_dict(), meta)
    runs = plan_runs(
        view.manifest, folds=1, held_out="test", grouping="group", seeds=[1], seed=raw["seed"]
    )
    save_runs(paths.weights(CASE), view.manifest, runs)
    covid = np.linspace(0.1, 0.9, len(view.manifest))
    said = tabulate_run(
        view.manifest, runs[0], np.stack([1 - covid, covid], axis=1), view.info.class_names
    )
    write_csv(paths.predictions(CASE), said)


@pytest.fixture(scope="module")
def finished(raw: RawParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the stages have run."""
    root = tmp_path_factory.mktemp("finished")
    params, paths = parse_params(raw), Paths(root)
    prepare_dataset(params, "ct", paths)
    crop_view(params, "full", paths)
    save_untrained_case(raw, paths)
    run_stage("cam", raw, root)
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """The same, each output read-only and linked to one in `cache`, as `dvc checkout` leaves it."""
    root = shutil.copytree(finished, tmp_path / "root")
    shutil.rmtree(root / "data" / "scratch")  # no output
    for path in [path for path in root.rglob("*") if path.is_file()]:
        link = root / "cache" / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(path)
        path.chmod(0o444)
    return root


def run_stage(
    stage: str, raw: RawParams, root: Path, become: Callable[[], None] | None = None
) -> None:
    """Run it as a person does, for its entry if it has one, on the parameters given."""
    entry = CHANGES[stage][1:2] if stage in CHANGES else ()
    (root / "params.yaml").unlink(missing_ok=True)
    write_params(root / "params.yaml", raw)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *entry],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=become,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def changed(raw: RawParams, stage: str) -> RawParams:
    """The parameters with which this stage gives something else."""
    change = CHANGES[stage][0]
    if "seed" in change:
        return raw | change
    return raw | {"views": raw["views"] | {"full": raw["views"]["full"] | change}}


def contents(root: Path, names: list[str]) -> dict[str, str]:
    """The hash of every file in some folders, by its path."""
    files = [file for name in names for file in [root / name, *(root / name).rglob("*")]]
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file()
    }


@needs_root
def test_root_that_has_become_ordinary_cannot_write_into_what_is_read_only(root: Path) -> None:
    code = "open('data/prepared/ct/manifest.csv', 'w')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        preexec_fn=become_ordinary,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("become", USERS)
@pytest.mark.parametrize("stage", CHANGES)
def test_a_stage_by_hand_writes_its_outputs_anew_and_leaves_the_cache(
    root: Path, raw: RawParams, stage: str, become: Callable[[], None] | None
) -> None:
    names = CHANGES[stage][2]
    cache, before = contents(root, ["cache"]), contents(root, names)
    run_stage(stage, changed(raw, stage), root, become)
    after = contents(root, names)
    assert before != after
    assert contents(root, ["cache"]) == cache
    assert not [file for file in after if ".partial" in file]


@pytest.mark.slow
@pytest.mark.parametrize("become", USERS)
def test_the_check_can_be_run_by_hand_at_any_time(
    root: Path, raw: RawParams, become: Callable[[], None] | None
) -> None:
    check = Paths(root).check
    run_stage("check", raw, root)
    (root / "cache" / "check.json").hardlink_to(check)
    check.chmod(0o444)
    run_stage("check", raw, root, become)
    assert check.read_text(encoding="utf-8") == (root / "cache" / "check.json").read_text("utf-8")
