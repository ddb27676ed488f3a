from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.config.leftovers import remove_leftovers
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths


@pytest.fixture(autouse=True)
def _run_by_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "report")


@pytest.fixture
def params(shared_tiny_params: dict[str, Any]) -> Params:
    return parse_params(shared_tiny_params)


def put(root: Path, datasets: Iterable[str], cases: Iterable[str]) -> list[Path]:
    """Outputs of each, in dvc.lock too; returns all that is there then."""
    stages: dict[str, Any] = {"check": {"outs": [{"path": "data/check.json"}]}}
    for name in datasets:
        stages[f"prepare@{name}"] = outs(root, folders=[f"data/prepared/{name}"])
    for name in cases:
        predictions = [f"data/predictions/{name}.csv"]
        stages[f"train@{name}"] = outs(root, [f"data/weights/{name}"], predictions)
        stages[f"evaluate@{name}"] = outs(root, files=[f"metrics/cases/{name}.json"])
    YAML().dump({"schema": "2.0", "stages": stages}, root / "dvc.lock")
    return files_of(root)


def outs(root: Path, folders: Iterable[str] = (), files: Iterable[str] = ()) -> dict[str, Any]:
    for path in folders:
        (root / path / "inside").mkdir(parents=True, exist_ok=True)
    for path in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    return {"outs": [{"path": path, "md5": "0"} for path in (*folders, *files)]}


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.name != "dvc.lock")


def test_outputs_of_an_entry_that_is_gone_go_and_all_else_stays(
    tmp_path: Path, params: Params
) -> None:
    kept = put(tmp_path, params.datasets, params.cases)
    own = tmp_path / "data" / "weights" / "of-mine.pth"  # dvc.lock knows nothing of it
    own.write_text("x")
    put(tmp_path, [*params.datasets, "gone"], [*params.cases, "gone"])
    remove_leftovers(params, Paths(tmp_path))
    assert files_of(tmp_path) == sorted([*kept, own])


def test_an_output_that_another_stage_has_now_stays(tmp_path: Path, params: Params) -> None:
    case = next(iter(params.cases))
    put(tmp_path, [], [case])
    lock = YAML(typ="safe").load(tmp_path / "dvc.lock")
    # The case was an entry of `weights` before.
    lock["stages"][f"weights@{case}"] = {"outs": [{"path": f"data/weights/{case}"}]}
    YAML().dump(lock, tmp_path / "dvc.lock")
    remove_leftovers(params, Paths(tmp_path))
    assert (tmp_path / "data" / "weights" / case / "inside").exists()


def test_a_repository_that_never_ran_has_nothing_to_remove(tmp_path: Path, params: Params) -> None:
    remove_leftovers(params, Paths(tmp_path))
    assert files_of(tmp_path) == []


def test_a_stage_run_by_hand_removes_nothing(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = put(tmp_path, ["gone"], ["gone"])
    monkeypatch.delenv("DVC_STAGE")
    remove_leftovers(params, Paths(tmp_path))
    assert files_of(tmp_path) == there
