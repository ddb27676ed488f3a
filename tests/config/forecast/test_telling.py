"""What a stage says of the run of DVC that it is of."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from stages.config.forecast import telling
from stages.config.forecast.dvc_process import DvcProcess
from stages.config.forecast.telling import tell_progress
from stages.config.paths import Paths

FORECAST = {"n_stages": 9, "seconds": {"check": 8.6, "train@a": 118.6, "report": 1.6}}


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """As if DVC ran the stages; what it is asked is noted."""
    asked: list[list[str]] = []

    def foresee(arguments: list[str]) -> object:
        asked.append(arguments)
        return FORECAST

    monkeypatch.setattr(telling, "_foresee", foresee)
    start(monkeypatch, since=1.5)
    return asked


def start(monkeypatch: pytest.MonkeyPatch, since: float) -> None:
    monkeypatch.setattr(telling, "find_dvc", lambda: DvcProcess(7, since, ["repro"]))


def run(monkeypatch: pytest.MonkeyPatch, stage: str, root: Path) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    tell_progress(stage, Paths(root))


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_the_first_stage_says_what_is_before_it_and_each_what_is_left(
    dvc: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    run(monkeypatch, "check", tmp_path)
    run(monkeypatch, "report", tmp_path)
    # 1.4 s of DVC's own beside each stage: 10 + 120 + 3 s, and 3 s.
    assert caplog.messages == [
        "dvc: 3 of 9 stages may have to run; about 2 min, by what they took before",
        "check: 1 of 3, about 2 min left",
        "report: 3 of 3, about 3 s left",
    ]
    assert dvc == [["repro"]]


def test_another_run_looks_again(
    dvc: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, "check", tmp_path)
    start(monkeypatch, since=2.5)  # the number of a process is given again
    run(monkeypatch, "check", tmp_path)
    assert len(dvc) == 2


def test_a_stage_that_was_never_timed_is_counted_apart(
    dvc: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    seconds = FORECAST["seconds"] | {"train@a": None}  # type: ignore[operator]
    monkeypatch.setitem(FORECAST, "seconds", seconds)
    run(monkeypatch, "train@a", tmp_path)
    assert caplog.messages[-1] == ("train@a: 2 of 3, about 3 s and 1 never timed left")


def test_where_nothing_is_foreseen_nothing_is_said_and_nobody_looks_twice(
    dvc: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(telling, "_foresee", lambda arguments: dvc.append(arguments))
    run(monkeypatch, "check", tmp_path)
    run(monkeypatch, "report", tmp_path)
    assert not caplog.messages
    assert dvc == [["repro"]]


def test_a_stage_run_by_hand_says_nothing(
    dvc: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    tell_progress("check", Paths(tmp_path))
    assert not caplog.messages
    assert not dvc


def test_a_look_that_fails_or_takes_too_long_fails_no_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # no repository of DVC
    assert telling._foresee(["repro"]) is None
    monkeypatch.setattr(telling, "LONGEST_LOOK_S", 0.01)
    assert telling._foresee(["repro"]) is None


def test_no_look_is_taken_where_stages_run_elsewhere() -> None:
    program = """
from stages.config.forecast.foresee import foresee
from stages.config.paths import Paths
for words in (["exp", "run", "--temp"], ["exp", "run", "--queue"], ["repro", "--pull"], ["status"]):
    assert foresee(words, Paths()) is None, words
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)
