"""Dask's workers: on this machine, at a scheduler that runs already, or as jobs of SLURM."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import dask
from distributed import Client, LocalCluster, Security

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.config.yaml_file import read_yaml
from stages.parallelism.gpus import list_gpus
from stages.parallelism.machine import count_cores, memory_mb

MEMORY, GPU = "memory", "gpu"  # resources of a worker: MB, and a count
CONNECT_S = 30
START_IN_CLONE = (
    "scheduler and workers are to be started in the folder of a clone, with the environment of "
    "requirements.txt: `python -m distributed.cli.dask_scheduler`, which prints its address, and "
    "`python -m distributed.cli.dask_worker <address> --nthreads 1 --resources memory=8000`"
)
CONFIG = {
    # Of connections made and lost; what became of stages is said anyhow.
    "logging": {"distributed": "critical"},
    # A stage whose worker was lost so often is at fault itself; fewer are lost to bad machines.
    "distributed.scheduler.allowed-failures": 20,
    # Stages are other processes: what the worker itself holds says nothing of them.
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
}
# Dask reads its settings when it is imported; workers do so later.
logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextmanager
def on_this_machine(stages_at_once: int) -> Iterator[Client]:
    """One worker that runs so many stages at once, on the memory and the GPUs of this machine."""
    gpus = len(list_gpus())
    offered = {MEMORY: memory_mb()} | ({GPU: gpus} if gpus else {})
    with (
        dask.config.set(CONFIG),
        LocalCluster(
            n_workers=1,
            threads_per_worker=stages_at_once,
            memory_limit=0,
            resources=offered,
            scheduler_kwargs={"dashboard": False},
            security=Security.temporary(),  # the port is open to all users of the machine
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def at_scheduler(address: str) -> Iterator[Client]:
    """The workers of a scheduler that somebody started.

    Raises:
        UserError: nothing answers there.
    """
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--scheduler: got {address!r}: {' '.join(str(error).split())}; {START_IN_CLONE}"
        ) from None
    with client:
        yield client


@contextmanager
def on_slurm(file: Path, paths: Paths) -> Iterator[Client]:
    """Jobs of SLURM, each one worker, asked for anew when one is lost.

    Args:
        file: YAML: `jobs`, how many; all else goes to dask_jobqueue.SLURMCluster.
        paths: of the repository; logs of the workers go below its scratch folder.

    Raises:
        UserError: the file is wrong, or dask-jobqueue will not have it.
    """
    from dask_jobqueue import SLURMCluster

    jobs, options = _read_options(file)
    folder = paths.scratch("slurm").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "processes": 1,
        "log_directory": str(folder),
        "shared_temp_directory": str(folder),
        "security": True,  # without TLS whoever reaches the port has its code run
        "scheduler_options": {"dashboard_address": ":0"},
        "job_name": "stages",
    } | options
    with dask.config.set(CONFIG):
        try:
            cluster = SLURMCluster(**given)
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}: {error}") from None
        with cluster, Client(cluster) as client:
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
            yield client


def _read_options(file: Path) -> tuple[int, dict[str, Any]]:
    options = read_yaml(file)
    if not isinstance(options, dict) or not isinstance(options.get("jobs"), int):
        raise UserError(
            f"{file}: jobs: must be there, a whole number: how many jobs to ask for; all other "
            "keys are those of dask_jobqueue.SLURMCluster: cores, memory, walltime, queue, …"
        )
    jobs = options.pop("jobs")
    return jobs, options


def default_stages_at_once(threads: int | Literal["auto"]) -> int:
    """As many as there are GPUs, else as there are cores for; `threads` is what a network takes."""
    if gpus := list_gpus():
        return len(gpus)
    return 1 if threads == "auto" else max(1, count_cores() // threads)


def offered_resources(client: Client) -> list[Mapping[str, float]]:
    """Of each worker."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return [worker["resources"] for worker in workers]
