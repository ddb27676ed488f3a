from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.checking.leftovers import remove_leftovers
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths

FOLDERS = {"prepare@{}": "data/prepared/{}", "train@{}": "data/weights/{}"}
FILES = {"evaluate@{}": "metrics/cases/{}.json", "train@{}": "data/predictions/{}.csv"}


@pytest.fixture
def params(shared_tiny_params: dict[str, Any]) -> Params:
    return parse_params(shared_tiny_params)


def put(root: Path, *names: str) -> list[Path]:
    """Outputs of a data set and case of each name, in dvc.lock too; returns what is there then."""
    stages: dict[str, Any] = {"check": {"outs": [{"path": "data/check.json"}]}}
    for name in names:
        for stage, path in [*FOLDERS.items(), *FILES.items()]:
            outs = stages.setdefault(stage.format(name), {"outs": []})["outs"]
            outs.append({"path": path.format(name), "md5": "0"})
            target = root / path.format(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path in FOLDERS.values():
                (target / "inside").mkdir(parents=True, exist_ok=True)
            else:
                target.write_text("x")
    YAML().dump({"schema": "2.0", "stages": stages}, root / "dvc.lock")
    return files(root)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.name != "dvc.lock")


def test_outputs_of_an_entry_that_is_gone_go_and_all_else_stays(
    tmp_path: Path, params: Params
) -> None:
    kept = put(tmp_path, *params.datasets, *params.cases)
    own = tmp_path / "data" / "weights" / "of-mine.pth"  # dvc.lock knows nothing of it
    own.write_text("x")
    put(tmp_path, *params.datasets, *params.cases, "gone")
    remove_leftovers(params, Paths(tmp_path))
    assert files(tmp_path) == sorted([*kept, own])


def test_an_output_that_another_stage_has_now_stays(tmp_path: Path, params: Params) -> None:
    case = next(iter(params.cases))
    put(tmp_path, case)
    lock = YAML(typ="safe").load(tmp_path / "dvc.lock")
    # The case was an entry of `weights` before.
    lock["stages"][f"weights@{case}"] = {"outs": [{"path": f"data/weights/{case}"}]}
    YAML().dump(lock, tmp_path / "dvc.lock")
    remove_leftovers(params, Paths(tmp_path))
    assert (tmp_path / "data" / "weights" / case / "inside").exists()


def test_a_repository_that_never_ran_has_nothing_to_remove(tmp_path: Path, params: Params) -> None:
    remove_leftovers(params, Paths(tmp_path))
    assert files(tmp_path) == []
