"""Run what `dvc repro` would run, stages side by side: on this machine, or on many.

Reads:  what the stages read
Writes: what the stages write; dvc.lock, by DVC; data/scratch/logs/<stage>.log
"""

import argparse
import logging
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from stages.config.command import command_parser, run_command
from stages.config.load import load_params
from stages.config.lock import only_one
from stages.config.params import Params
from stages.config.paths import Paths

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

SOME_FAILED = 1


def run_side_by_side(arguments: argparse.Namespace) -> int:
    """Run all that changed and what lies behind it; 0 where no stage failed."""
    params, paths = load_params(), Paths()
    signal.signal(signal.SIGTERM, _interrupt)
    with only_one(paths, "parallel"):
        from stages.config.forecast.plan import read_plan  # DVC: 1 s

        plan = read_plan(arguments.targets, paths.root)
        if not plan.needs:
            logger.info("nothing has changed: %d stages are as dvc.lock has them", len(plan.order))
            return 0
        from stages.parallelism.session import run_plan  # Dask: 1 s

        with _workers(arguments, params, paths) as client:
            ended = run_plan(plan, client, params, paths)
    return SOME_FAILED if ended.tell_failures(paths) else 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _workers(
    arguments: argparse.Namespace, params: Params, paths: Paths
) -> "AbstractContextManager[Client]":
    from stages.parallelism import clusters

    if arguments.scheduler:
        return clusters.at_scheduler(arguments.scheduler)
    if arguments.slurm:
        return clusters.on_slurm(arguments.slurm, paths)
    return clusters.on_this_machine(
        arguments.workers or clusters.default_stages_at_once(params.compute.threads)
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a whole number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("parallel", __doc__)
    parser.epilog = (
        f"Exit code: 0 all done, {SOME_FAILED} some stages failed, or an error that one line "
        "explains, 2 wrong arguments, 130 interrupted."
    )
    parser.add_argument("targets", nargs="*", metavar="target", help="as for `dvc repro`")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=_count,
        metavar="n",
        help="stages side by side on this machine; else as many as there are cores or GPUs for",
    )
    where.add_argument("--scheduler", metavar="address", help="of a Dask scheduler with workers")
    where.add_argument(
        "--slurm", type=Path, metavar="file", help="YAML: jobs, and what SLURMCluster takes"
    )
    return parser


if __name__ == "__main__":
    run_command(run_side_by_side, _parser())
