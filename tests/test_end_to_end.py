"""The daily loop through DVC itself, on a few phantoms: run, run again, change one case."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import load_raw_params, shrink

ROOT = Path(__file__).parents[1]
CASE_STAGES = ("train", "evaluate", "cam")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with tiny parameters in a DVC repository of its own, run once."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("stages", ".dvc/config", ".dvcignore", "dvc.yaml", ".dvc/plots"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore) if source.is_dir() else shutil.copy(
            source, target
        )
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    write_params(folder, shrink(load_raw_params()))
    repro(folder)
    return folder


def write_params(folder: Path, raw: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")


def run_dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The stages' `python` is the one that runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def repro(folder: Path) -> set[str]:
    """Run `dvc repro`; returns the stages that were run."""
    done = run_dvc(folder, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"Running stage '(.+)':", done.stdout))


@pytest.mark.slow
def test_the_whole_graph_runs_and_a_second_time_nothing_does(clone: Path) -> None:
    assert (clone / "plots" / "report.html").exists()
    assert repro(clone) == set()


@pytest.mark.slow
def test_a_changed_case_runs_alone_and_is_restored_when_changed_back(clone: Path) -> None:
    raw = shrink(load_raw_params())
    name = next(iter(raw["cases"]))
    metrics = clone / "metrics" / "cases" / f"{name}.json"
    before = metrics.read_text(encoding="utf-8")
    raw["cases"][name]["lr"] = 0.02
    write_params(clone, raw)
    assert repro(clone) == {"check", "compare", *(f"{stage}@{name}" for stage in CASE_STAGES)}
    assert metrics.read_text(encoding="utf-8") != before
    write_params(clone, shrink(load_raw_params()))
    assert repro(clone) == set()  # all of it from the run-cache
    assert metrics.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_a_wrong_parameter_stops_before_anything_is_deleted(clone: Path) -> None:
    raw = shrink(load_raw_params())
    name = next(iter(raw["cases"]))
    raw["cases"][name]["lr"] = -1
    write_params(clone, raw)
    done = run_dvc(clone, "repro")
    write_params(clone, shrink(load_raw_params()))
    assert done.returncode != 0
    assert f"params.yaml: cases.{name}.lr: got -1; allowed: greater than 0" in done.stderr
    assert (clone / "data" / "weights" / name / "model.safetensors").exists()
