"""`python -m stages.parallel --slurm` on a SLURM of two nodes, against `dvc repro`."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.parallelism.projects import make_project, run
from tests.parallelism.slurm_nodes import NODES, missing_programs, slurm_nodes

CONFIG = Path(__file__).with_name("slurm.yaml")
STAGE_S = 3.0
WAIT_S = 120

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(missing_programs()),
        reason=f"no {', '.join(missing_programs())}: apt-get install slurm-wlm munge",
    ),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, str]]:
    with slurm_nodes() as environ:
        yield environ


def ask(nodes: dict[str, str], *command: str) -> list[str]:
    """Lines of what srun, squeue and their like say."""
    done = subprocess.run(command, env=nodes, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def wait_until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_command_runs_on_both_nodes(nodes: dict[str, str]) -> None:
    assert sorted(ask(nodes, "srun", "--nodes=2", "printenv", "SLURMD_NODENAME")) == list(NODES)


def test_a_cancelled_job_leaves_neither_queue_nor_process(
    nodes: dict[str, str], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.partial; mv {pid}.partial {pid}; exec sleep 600"
    (job,) = ask(nodes, "sbatch", "--parsable", "--output=/dev/null", f"--wrap={script}")
    wait_until(pid.exists)
    ask(nodes, "scancel", job)
    wait_until(lambda: not ask(nodes, "squeue", "--noheader"))
    assert not psutil.pid_exists(int(pid.read_text()))


def start(project: Path, nodes: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.parallel", "--slurm", str(CONFIG)],
        cwd=project,
        env=nodes,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(parallel: subprocess.Popen[str]) -> str:
    said, _ = parallel.communicate(timeout=WAIT_S)
    assert parallel.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def lock_of_repro(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    project = make_project(tmp_path_factory.mktemp("alone") / "project", STAGE_S)
    run(project, "dvc", "repro")
    return (project / "dvc.lock").read_bytes()


@pytest.mark.slow
def test_two_nodes_end_with_the_lock_of_dvc_repro(
    nodes: dict[str, str], lock_of_repro: bytes, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", STAGE_S)
    said = finish(start(project, nodes))
    assert {node for node in NODES if f"begins on {node}" in said} == set(NODES)
    assert (project / "dvc.lock").read_bytes() == lock_of_repro
    wait_until(lambda: not ask(nodes, "squeue", "--noheader"))


@pytest.mark.slow
def test_a_stage_whose_job_is_cancelled_is_done_by_another(
    nodes: dict[str, str], lock_of_repro: bytes, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", STAGE_S)
    pid = project / "notes" / "train@a.pid"
    parallel = start(project, nodes)
    wait_until(lambda: pid.exists() and pid.read_text())
    stage = psutil.Process(int(pid.read_text()))
    ask(nodes, "scancel", stage.environ()["SLURM_JOB_ID"])
    assert "train@a: begins again on" in finish(parallel)
    assert not stage.is_running()
    assert (project / "notes" / "train@a.tries").read_text() == "2"
    assert (project / "dvc.lock").read_bytes() == lock_of_repro
