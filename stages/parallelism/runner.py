"""What a worker does with a stage: start it through DVC, keep its log, say how far it is."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from distributed import get_worker

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.config.writing import HOST
from stages.parallelism.clones import Exchange
from stages.parallelism.gpus import lend_gpus
from stages.parallelism.machine import count_cores

SAY_EVERY_S = 2.0
TRIES = 3  # of a stage that the system killed
SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
# A killed process of DVC holds files until the system has cleared it away.
BUSY, BUSY_S = re.compile(r"is busy, it is being blocked by"), 60.0
# One that was killed as it wrote which files it holds leaves that torn; the graph has no two stages
# of one file, so the list can go. Who stood in it fails at its end, without a word.
TORN, RWLOCK = re.compile(r"RWLock-file .* (?:corrupted|error)"), Path(".dvc/tmp/rwlock")
UNFOUND = re.compile(r"^ERROR: failed to reproduce '[^']*': *$", re.MULTILINE)
KILLED = re.compile(r"exited with (?:-9|-15|137|143)\b")  # by shells 128 and the signal's number
END_WITHIN_S = 15.0
RESTORED = re.compile(r"is cached - skipping run|didn't change, skipping")


class Job(NamedTuple):
    """One stage to run.

    Attributes:
        stage: such as `train@ct-cnn-full`.
        run: of which run of `stages.parallel`; others may share the worker.
        gpus: how many of the worker's it is to see, and no others; None: all that the worker sees.
        exchange: how workers with clones of their own and the client share results.
    """

    stage: str
    run: str
    gpus: int | None
    exchange: Exchange


class Outcome(NamedTuple):
    """What became of a stage.

    Attributes:
        stage: its name.
        failure: the line of its log that says why it failed; None: it did not.
        ran: whether its command was run; else DVC had the result, or nothing had changed.
        seconds: DVC's own time included.
        log: all that it said.
        spent: what it noted of time and memory, as text; None where it noted nothing.
    """

    stage: str
    failure: str | None
    ran: bool
    seconds: float
    log: str
    spent: str | None


def topic_of(run: str) -> str:
    """Of Dask's events by which workers tell the client of a run how far its stages are."""
    return f"stages-{run}"


def run_stage(job: Job) -> Outcome:
    """Run one stage in the worker's folder; a failed one is an outcome, not an error."""
    start = time.monotonic()
    paths = Paths()
    if differs := job.exchange.say_what_differs():  # a worker that came later
        raise UserError(differs)
    times = paths.time(job.stage)
    before = _changed_at(times)
    with lend_gpus(job.gpus) as seen, _opened(paths.log(job.stage)) as log_file:
        _tell(job, "started")
        code = _try_again_when_killed(job, seen, log_file)
    log = paths.log(job.stage).read_text(encoding="utf-8")
    return Outcome(
        job.stage,
        None if code == 0 else _reason(log),
        code != 0 or not RESTORED.search(log),
        time.monotonic() - start,
        log,
        times.read_text(encoding="utf-8") if _changed_at(times) != before else None,
    )


def end_stages(run: str) -> None:
    """End every stage of a run on this worker, and wait until they are gone."""
    _ended.add(run)
    running = [process for process, of_run in list(_processes.items()) if of_run == run]
    for process in running:
        _let_go(process)
    for process in running:
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            _kill(process)


# Of this worker: processes of stages with their runs, and runs that were ended.
_processes: dict[subprocess.Popen[str], str] = {}
_ended: set[str] = set()


def _try_again_when_killed(job: Job, environment: dict[str, str], log: TextIO) -> int:
    tries, end = 1, time.monotonic() + BUSY_S
    while True:
        code, said = _run_all(job, environment, log)
        is_busy = bool(BUSY.search(said)) and time.monotonic() < end
        is_lost = (code < 0 or _was_lost(said)) and tries < TRIES
        if not code or job.run in _ended or not (is_busy or is_lost):
            return code
        if TORN.search(said):
            RWLOCK.unlink(missing_ok=True)
        tries += is_lost
        # Where the worker ends with its stage, as a SLURM job does, nobody is told of a failure.
        time.sleep(SAY_EVERY_S)


def _was_lost(said: str) -> bool:
    """Whether a stage did not fail by itself."""
    return any(sign.search(said) for sign in (KILLED, TORN, UNFOUND))


def _run_all(job: Job, environment: dict[str, str], log: TextIO) -> tuple[int, str]:
    """Exit code and words of the commands of a stage, up to the first that fails."""
    said = ""
    for arguments in job.exchange.commands(job.stage):
        code, of_command = _run(job, arguments, environment, log)
        said += of_command
        if code:
            break
    return code, said


def _run(
    job: Job, arguments: list[str], environment: dict[str, str], log: TextIO
) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,  # the leash of stage_process
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_surroundings() | environment,
        start_new_session=True,
    )
    _processes[process] = job.run
    try:
        said = _listen(job, process, log)
        return process.wait(), said
    finally:
        del _processes[process]
        _let_go(process)
        _kill(process)


def _listen(job: Job, process: subprocess.Popen[str], log: TextIO) -> str:
    """All that it says, which is written down, and told to the client now and then."""
    lines, last = [], 0.0
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        log.write(line)
        log.flush()  # for whoever looks on
        if line.strip() and time.monotonic() - last > SAY_EVERY_S:
            last = time.monotonic()
            _tell(job, "line", line=line.strip())
    return "".join(lines)


@contextmanager
def _opened(log: Path) -> Iterator[TextIO]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        yield file


def _let_go(process: subprocess.Popen[str]) -> None:
    """By the leash: what it has started is killed, and it ends in order."""
    assert process.stdin
    process.stdin.close()


def _kill(process: subprocess.Popen[str]) -> None:
    """With all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _surroundings() -> dict[str, str]:
    """The worker's environment, with its own `python` and its share of the cores for each stage."""
    share = str(max(1, count_cores() // get_worker().state.nthreads))
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # A training would take the other workers of this step of srun for processes of its own.
    inherited = {name: value for name, value in os.environ.items() if name != SLURM_TASKS}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return inherited | dict.fromkeys([*libraries, "LOKY_MAX_CPU_COUNT"], share) | {"PATH": path}


def _reason(log: str) -> str:
    """The stage's own last word on its failure; DVC's, where it has none."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"error: |\w*(Error|Exception)\b", line)]
    of_dvc = [line for line in lines if line.startswith("ERROR: ")]
    return (own or of_dvc or lines or ["it said nothing"])[-1]


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _tell(job: Job, kind: str, **more: Any) -> None:
    where = os.environ.get("SLURMD_NODENAME") or HOST
    said = {"stage": job.stage, "kind": kind, "where": where, **more}
    get_worker().log_event(topic_of(job.run), said)
