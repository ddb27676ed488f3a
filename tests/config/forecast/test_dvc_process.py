"""The command line of the DVC that started a stage."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.config.forecast.dvc_process import arguments_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["/venv/bin/python", "/venv/bin/dvc", "repro", "-f"], ["repro", "-f"]),
        (["python", "-m", "dvc", "repro"], ["repro"]),
        (["/usr/bin/dvc", "repro", "train@a"], ["repro", "train@a"]),
        (["dvc"], []),
        # Of stages.parallel, which says all this itself.
        (["python", "-m", "stages.parallelism.stage_process", "repro", "check"], None),
        (["bash", "-c", "dvc repro"], None),
        ([], None),
    ],
)
def test_what_stands_behind_dvc(words: list[str], arguments: list[str] | None) -> None:
    assert arguments_of(words) == arguments


def test_a_stage_that_nobody_started_has_none() -> None:
    program = "from stages.config.forecast.dvc_process import find_dvc; print(find_dvc())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
