import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.lock import is_running, only_one
from stages.config.paths import Paths
from stages.config.writing import HOST

REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from stages.config.lock import only_one
from stages.config.paths import Paths

with only_one(Paths(Path(sys.argv[1])), "train@a"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of train@a."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught, only_one(Paths(root), "train@a"):
        pass
    return str(caught.value)


def test_the_process_that_runs_a_stage_is_named(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    said = refusal(tmp_path)
    assert f"another process is running this stage: process {holder.pid}, since " in said
    assert "wait for it or stop it, then run again" in said
    assert len(said.splitlines()) == 1
    assert is_running(Paths(tmp_path), "train@a")
    assert not is_running(Paths(tmp_path), "train@b")


def test_a_refused_process_leaves_the_name_of_the_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert refusal(tmp_path) == refusal(tmp_path)


def test_a_lock_of_a_killed_process_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert not is_running(Paths(tmp_path), "train@a")
    with only_one(Paths(tmp_path), "train@a"):
        pass


def held_but_noted_as(root: Path, noted: str) -> int:
    path = Paths(root).lock("train@a")
    path.parent.mkdir(parents=True)
    path.write_text(noted, encoding="utf-8")
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_a_number_that_another_process_was_given_later_is_not_named(tmp_path: Path) -> None:
    handle = held_but_noted_as(tmp_path, f"{HOST} {os.getpid()}")
    os.utime(Paths(tmp_path).lock("train@a"), (1e9, 1e9))  # noted in 2001
    assert "is running this stage (an interrupted" in refusal(tmp_path)
    os.close(handle)


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ("", "is running this stage (an interrupted"),
        (f"{HOST} 99999999", "is running this stage (an interrupted"),
        ("node7.elsewhere 12", "is running this stage: process 12 on node7.elsewhere (an"),
    ],
)
def test_what_cannot_be_told_of_the_holder_is_not_said(
    tmp_path: Path, noted: str, said: str
) -> None:
    handle = held_but_noted_as(tmp_path, noted)
    assert said in refusal(tmp_path)
    os.close(handle)
