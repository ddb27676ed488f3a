"""Where results lie: in one folder that all workers see, or in clones that share a DVC remote."""

import hashlib
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from distributed import Client

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.config.writing import HOST, write_text
from stages.parallelism.clusters import START_IN_CLONE

logger = logging.getLogger(__name__)

CODE = ("stages/**/*.py", "stages/**/*.j2", "dvc.yaml", "params.yaml")
PROCESS = "stages.parallelism.stage_process"
FIRST_WORKER_S = 600  # a queue of a cluster may be long
NO_WORKER = "of SLURM, `squeue` and the logs in data/scratch/slurm say why; else start one"


class Exchange(NamedTuple):
    """How workers and client come by each other's results.

    Attributes:
        digest: of code and parameters.
        through_remote: over the DVC remote; else all work in one folder.
    """

    digest: str
    through_remote: bool

    def commands(self, stage: str) -> list[list[str]]:
        """What a worker runs for a stage, as arguments of `python -m`, one after the other.

        In a clone what lies before the stage comes from the run-cache of the remote, where the
        worker that ran it has put it.
        """
        if not self.through_remote:
            return [[PROCESS, "repro", "--single-item", stage]]
        return [
            [PROCESS, "repro", "--pull", stage],
            [PROCESS, "push", "--run-cache", stage],
        ]

    def say_what_differs(self) -> str:
        """Of the clone that this worker runs in, "" if nothing does; to be run on a worker."""
        if not self.through_remote or digest_code(Path()) == self.digest:
            return ""
        return (
            f"{Path().absolute()} on {HOST}: code or params.yaml of this clone differ from those "
            "of the clone that asks; bring it to the same commit and the same params.yaml"
        )


def digest_code(root: Path) -> str:
    """SHA-256 over names and contents of all that says what a stage does."""
    whole = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in root.glob(pattern)):
        whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def choose_exchange(client: Client, paths: Paths) -> Exchange:
    """By which folders the workers are in; in a clone of its own each must have this one's code.

    Raises:
        UserError: no worker comes, code differs, or clones have no remote to meet in.
    """
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError:
        raise UserError(
            f"no worker has come within {FIRST_WORKER_S} s; {NO_WORKER}: {START_IN_CLONE}"
        ) from None
    with _marked(paths) as mark:
        try:
            client.run_on_scheduler(sees, mark)
            apart = [where for where, there in client.run(sees, mark).items() if not there]
        except ModuleNotFoundError as error:
            raise UserError(f"Dask: {error}; {START_IN_CLONE}") from None
    exchange = Exchange(digest_code(paths.root), bool(apart))
    if apart:
        _require_remote(paths.root, apart)
        if differs := [said for said in client.run(exchange.say_what_differs).values() if said]:
            raise UserError("; ".join(differs))
        logger.info("%d workers have clones of their own: results go over the remote", len(apart))
        _dvc("push", "--run-cache")
    return exchange


@contextmanager
def _marked(paths: Paths) -> Iterator[str]:
    """Put a file into the client's folder by which a worker can tell that it sees the same one."""
    mark = paths.scratch("parallel") / uuid.uuid4().hex
    write_text(mark, "")
    try:
        yield str(mark)
    finally:
        mark.unlink(missing_ok=True)


def sees(mark: str) -> bool:
    """Whether the folder that this worker runs in is the client's; to be run on a worker."""
    return Path(mark).exists()


def _require_remote(root: Path, apart: list[str]) -> None:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        if not repo.config["core"].get("remote"):
            raise UserError(
                f"workers {', '.join(sorted(apart))} run in other folders than this one, and "
                "results go between clones through a DVC remote: name one with `dvc remote add "
                "--default <name> <place that all reach>` in every clone, or start the workers in "
                "this folder"
            )


class Restorer:
    """Brings what other clones have made into this one, beside the stages that still run."""

    def __init__(self, exchange: Exchange) -> None:
        """Do nothing where all work in one folder."""
        self._is_needed = exchange.through_remote
        self._pool = ThreadPoolExecutor(1)  # in the order in which stages ended
        self._restored: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def restore(self, stage: str) -> None:
        """Take a stage's outputs from the run-cache of the remote, when its turn comes."""
        if self._is_needed:
            job = self._pool.submit(_dvc, "repro", "--single-item", "--pull", stage)
            self._restored.append(job)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all; an error of one is raised."""
        self._pool.shutdown(cancel_futures=error is not None)
        for restored in self._restored if error is None else ():
            restored.result()


def _dvc(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed: {' '.join(done.stdout.split())}")
