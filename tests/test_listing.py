"""`python -m stages` lists what there is to run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from stages.__main__ import list_modules
from stages.config.yaml_file import read_yaml

REPOSITORY = Path(__file__).parents[1]
STAGES = list(read_yaml(REPOSITORY / "dvc.yaml")["stages"])


def _called(name: str) -> set[str]:
    tree = ast.parse((REPOSITORY / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    names = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {name.id for name in names if isinstance(name, ast.Name)}


@pytest.mark.parametrize("name", [name for name, _ in list_modules()])
def test_a_verb_is_a_stage_of_dvc_yaml_or_a_command(name: str) -> None:
    if name in STAGES:
        assert _called(name) & {"run_stage", "run_single_stage"}
    else:
        assert "run_command" in _called(name)


def test_every_verb_is_listed_with_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, line in list_modules():
        assert f"  {name:10} {line}\n" in done.stdout
    assert done.stdout.index("  check ") < done.stdout.index("  report ")
