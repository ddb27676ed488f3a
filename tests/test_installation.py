"""What is missing on a machine is said in one line, whatever module is run first."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stages

ROOT = Path(__file__).parents[1]


def run(program: str) -> subprocess.CompletedProcess[str]:
    # -S: without the packages of this environment.
    command = [sys.executable, "-S", "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["", ".check", ".train", ".report", ".adopt", ".parallel"])
def test_without_its_packages_every_command_says_so_in_a_line(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", f"stages{module}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: the package of '")
    assert done.stderr.endswith("or `pip install -r requirements.txt` in it\n")
    assert done.stderr.count("\n") == 1


def test_an_older_python_is_refused_in_a_line() -> None:
    done = run("import sys; sys.version_info = (3, 10, 4, 'final', 0); import stages")
    assert done.returncode == 1
    assert done.stderr == (
        "error: Python 3.10 is too old; needed: 3.11 or newer, which then makes the environment\n"
    )


def test_a_module_of_our_own_that_is_missing_keeps_its_traceback() -> None:
    done = run("import stages; import stages.of_nobody")
    assert "Traceback" in done.stderr


def test_the_oldest_python_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">={}.{}".format(*stages.OLDEST_PYTHON)
