"""`python -m stages.parallel` against `dvc repro`, on pipelines of stages that do nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.parallelism.projects import QUICK, SLOW, make_project, run

PARALLEL = ("stages.parallel", "--workers", "2")
WAIT_S = 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def start(project: Path, *where: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.parallel", *(where or PARALLEL[1:])],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        # A shell lets what it starts in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(path: Path) -> str:
    """Content of a file that a stage writes."""
    end = time.monotonic() + WAIT_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, path
        time.sleep(0.05)
    return path.read_text()


def noted(project: Path, stage: str) -> dict[str, float]:
    span: dict[str, float] = json.loads((project / "notes" / f"{stage}.json").read_text())
    return span


def tries(project: Path, stage: str) -> int:
    return int((project / "notes" / f"{stage}.tries").read_text())


@pytest.fixture(scope="module")
def slow_lock(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """dvc.lock of the slow project after `dvc repro`."""
    other = make_project(tmp_path_factory.mktemp("sequential") / "project", SLOW)
    run(other, "dvc", "repro")
    return (other / "dvc.lock").read_bytes()


@pytest.fixture
def slow_project(tmp_path: Path) -> Iterator[Path]:
    project = make_project(tmp_path / "project", SLOW)
    yield project
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(project):
            process.kill()


def test_dvc_lock_is_that_of_dvc_repro_and_independent_stages_overlap(
    slow_project: Path, slow_lock: bytes
):
    said = run(slow_project, *PARALLEL)
    assert (slow_project / "dvc.lock").read_bytes() == slow_lock
    one, two = noted(slow_project, "train@a"), noted(slow_project, "train@b")
    assert one["start"] < two["end"]
    assert two["start"] < one["end"]
    assert "6 of 6 stages" in said


def test_what_has_not_changed_is_not_sent_out(project: Path):
    run(project, *PARALLEL)
    assert "nothing has changed: 6 stages" in run(project, *PARALLEL)
    graph = project / "dvc.yaml"
    graph.write_text(graph.read_text().replace(f"prepare {QUICK}", "prepare 0.1"))
    said = run(project, *PARALLEL)
    assert "6 of 6 stages may have to run" in said
    # Its output is what it was before, so nothing behind it runs.
    assert "prepare: done" in said
    assert "train@a: had nothing to do" in said
    assert "compare: had nothing to do" in said
    assert [tries(project, name) for name in ("prepare", "train@a", "compare")] == [2, 1, 1]


def test_the_run_cache_has_what_was_run_side_by_side(project: Path):
    run(project, *PARALLEL)
    (project / "dvc.lock").unlink()
    run(project, "dvc", "repro")
    assert tries(project, "train@a") == 1


def test_targets_are_those_of_dvc_repro(project: Path):
    run(project, *PARALLEL, "train@a")
    assert (project / "out" / "train@a").exists()
    assert not (project / "out" / "train@b").exists()
    assert "dvc: " in run(project, *PARALLEL, "train@z", code=1)


def test_a_failed_stage_stops_what_waits_for_it_and_nothing_else(project: Path):
    (project / "bad.txt").write_text("train@a")
    said = run(project, *PARALLEL, code=1)
    assert (project / "out" / "evaluate@b").exists()
    assert not (project / "notes" / "evaluate@a.tries").exists()
    last = said.splitlines()[-3:]
    assert last[0] == "failed: train@a: error: train@a: this is what went wrong"
    assert last[2] == "not run, since they wait for these: evaluate@a, compare"
    log = Path(last[1].removeprefix("  its log: "))
    assert "train@a at work" in (project / log).read_text()
    (project / "bad.txt").write_text("")
    run(project, *PARALLEL)
    assert tries(project, "train@b") == 1


def test_stages_of_a_killed_worker_are_run_again_and_not_twice_at_a_time(
    slow_project: Path, slow_lock: bytes
):
    run_of = start(slow_project)
    stage = int(wait_for(slow_project / "notes" / "train@a.pid"))
    worker = worker_of(run_of.pid)
    worker.kill()
    wait_until_gone(stage)
    said, _ = run_of.communicate(timeout=WAIT_S)
    assert run_of.returncode == 0, said
    assert tries(slow_project, "train@a") == 2
    assert "train@a: begins again" in said
    assert (slow_project / "dvc.lock").read_bytes() == slow_lock


def worker_of(pid: int) -> psutil.Process:
    """Of the children of a run the one that has started a stage."""
    (worker,) = [
        child
        for child in psutil.Process(pid).children()
        if any("stage_process" in " ".join(c.cmdline()) for c in child.children())
    ]
    return worker


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + WAIT_S
    while psutil.pid_exists(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stage_that_the_system_killed_is_tried_again(slow_project: Path):
    run_of = start(slow_project)
    os.kill(int(wait_for(slow_project / "notes" / "prepare.pid")), signal.SIGKILL)
    said, _ = run_of.communicate(timeout=WAIT_S)
    assert run_of.returncode == 0, said
    assert tries(slow_project, "prepare") == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_all_that_runs(slow_project: Path, sent: signal.Signals):
    run_of = start(slow_project)
    stage = int(wait_for(slow_project / "notes" / "train@a.pid"))
    run_of.send_signal(sent)
    said, _ = run_of.communicate(timeout=WAIT_S)
    assert run_of.returncode == 130
    assert said.splitlines()[-1].startswith("python -m stages.parallel: interrupted")
    wait_until_gone(stage)
    assert not (slow_project / "out" / "train@a").exists()
    run(slow_project, *PARALLEL)


def test_stages_that_memory_is_lacking_for_do_not_run_side_by_side(slow_project: Path):
    times = slow_project / "data" / "scratch" / "times"
    times.mkdir(parents=True)
    most = psutil.virtual_memory().total / 1e6
    for stage in ("train@a", "train@b"):
        spent = {"startup": 1.0, "work": 1.0, "peak": 0.6 * most, "in_worker": False}
        (times / f"{stage}.json").write_text(json.dumps(spent))
    run(slow_project, *PARALLEL)
    one, two = noted(slow_project, "train@a"), noted(slow_project, "train@b")
    assert one["end"] <= two["start"] or two["end"] <= one["start"]


def test_a_second_run_beside_the_first_is_refused(slow_project: Path):
    run_of = start(slow_project)
    wait_for(slow_project / "notes" / "prepare.pid")
    assert "another process" in run(slow_project, *PARALLEL, code=1)
    run_of.terminate()
    run_of.communicate()


def test_each_training_sees_a_gpu_of_its_own_and_other_stages_none(slow_project: Path):
    run_of = start(slow_project, CUDA_VISIBLE_DEVICES="3,5")
    said, _ = run_of.communicate(timeout=WAIT_S)
    assert run_of.returncode == 0, said
    seen = [noted(slow_project, name)["gpu"] for name in ("train@a", "train@b")]
    assert sorted(map(str, seen)) == ["3", "5"]
    assert noted(slow_project, "evaluate@a")["gpu"] == ""


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Address of a Dask scheduler."""
    file = tmp_path / "scheduler.json"
    command = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    with background(REPOSITORY, *command, "--no-dashboard", "--scheduler-file", str(file)):
        yield json.loads(wait_for(file))["address"]


@contextmanager
def background(folder: Path, *command: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def worker(folder: Path, address: str) -> AbstractContextManager[None]:
    command = ("distributed.cli.dask_worker", address, "--nthreads", "1")
    return background(folder, *command, "--resources", "memory=1000", "--no-dashboard")


def test_clones_share_results_over_the_remote(project: Path, scheduler: str, tmp_path: Path):
    other = make_project(tmp_path / "other")
    for clone in (project, other):
        run(clone, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    with worker(other, scheduler):
        said = run(project, "stages.parallel", "--scheduler", scheduler)
    assert "have clones of their own" in said
    assert tries(other, "train@a") == 1
    assert not (project / "notes").exists()
    assert (project / "out" / "compare").exists()
    assert (project / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date" in run(other, "dvc", "repro")


def test_an_interruption_ends_stages_on_workers_that_stay(slow_project: Path, scheduler: str):
    with worker(slow_project, scheduler):
        run_of = start(slow_project, "--scheduler", scheduler)
        stage = int(wait_for(slow_project / "notes" / "train@a.pid"))
        run_of.send_signal(signal.SIGINT)
        said, _ = run_of.communicate(timeout=WAIT_S)
        assert run_of.returncode == 130, said
        wait_until_gone(stage)
        time.sleep(SLOW + 3)  # by when one that was tried again would have ended
        assert not (slow_project / "out" / "train@a").exists()


def test_clones_without_a_remote_or_of_other_code_are_refused(
    project: Path, scheduler: str, tmp_path: Path
):
    other = make_project(tmp_path / "other")
    with worker(other, scheduler):
        asked = ("stages.parallel", "--scheduler", scheduler)
        assert "dvc remote add --default" in run(project, *asked, code=1)
        run(project, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
        (other / "params.yaml").write_text("# changed\n" + (other / "params.yaml").read_text())
        assert f"{other}" in (said := run(project, *asked, code=1))
        assert "bring it to the same commit" in said


def test_a_scheduler_that_does_not_answer_is_one_line(project: Path):
    said = run(project, "stages.parallel", "--scheduler", "here:nowhere", code=1)
    assert said.startswith("error: --scheduler: got 'here:nowhere'")


def test_what_a_killed_dvc_left_torn_does_not_stop_the_others(slow_project: Path):
    run_of = start(slow_project)
    wait_for(slow_project / "notes" / "train@a.pid")
    (slow_project / ".dvc" / "tmp" / "rwlock").write_text("")
    said, _ = run_of.communicate(timeout=WAIT_S)
    assert run_of.returncode == 0, said
