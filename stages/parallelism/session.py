"""One run of a plan, from what workers have to a dvc.lock in order."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from distributed import Client

from stages.config.forecast.estimates import estimate, read_known, remaining_path
from stages.config.forecast.plan import Plan
from stages.config.forecast.telling import describe_left
from stages.config.params import Params
from stages.config.paths import Paths
from stages.parallelism.board import Board
from stages.parallelism.clones import Exchange, Restorer, choose_exchange
from stages.parallelism.engine import Engine
from stages.parallelism.lock_order import read_order, restore_order
from stages.parallelism.machine import count_cores
from stages.parallelism.runner import Outcome, end_stages, topic_of

logger = logging.getLogger(__name__)

# Of DVC beside each stage, as a process of its own: 97 stages of the default run, two at once.
DVC_S = 2.2


class Ended(NamedTuple):
    """What became of all stages.

    Attributes:
        failed: those that failed, in the order in which they did.
        skipped: those that were not sent out, since what they wait for failed.
    """

    failed: list[Outcome]
    skipped: list[str]

    def tell_failures(self, paths: Paths) -> bool:
        """Say which stages failed and where their logs lie; whether there are any."""
        for outcome in self.failed:
            logger.error("failed: %s: %s", outcome.stage, outcome.failure)
            logger.error("  its log: %s", paths.log(outcome.stage))
        if self.skipped:
            logger.error("not run, since they wait for these: %s", ", ".join(self.skipped))
        return bool(self.failed)


def run_plan(plan: Plan, client: Client, params: Params, paths: Paths) -> Ended:
    """Run a plan to its end on the workers of a client, and leave dvc.lock as DVC would.

    When it is interrupted, so are the stages that run.

    Raises:
        UserError: no worker comes, or workers are in other folders and there is no remote.
    """
    exchange = choose_exchange(client, paths)
    at_once = sum(client.nthreads().values())
    estimates = estimate(plan.needs, paths, count_cores())
    seconds = _known_seconds(plan, paths)
    logger.info(
        "%d of %d stages may have to run, %d at once: %s, by what they took before",
        *(len(plan.needs), len(plan.order), at_once),
        _describe_all(plan, seconds, at_once),
    )
    engine = Engine(client, estimates, exchange, params, paths)
    board = Board(seconds, at_once)
    client.subscribe_topic(topic_of(engine.name), board.hear)
    lock = paths.root / "dvc.lock"
    before = read_order(lock)
    try:
        return _run(plan, engine, board, exchange)
    except BaseException:
        client.run(end_stages, engine.name, on_error="ignore")  # of workers that are gone
        raise
    finally:
        restore_order(lock, before, plan.order)


def _known_seconds(plan: Plan, paths: Paths) -> dict[str, float | None]:
    """Of each stage, DVC's own time included; None: it was never timed."""
    known = read_known(paths, count_cores())
    return {name: known[name].seconds + DVC_S if name in known else None for name in plan.needs}


def _describe_all(plan: Plan, seconds: Mapping[str, float | None], at_once: int) -> str:
    known = {name: taken or 0.0 for name, taken in seconds.items()}
    longest = max(remaining_path(plan.needs, known).values())
    n_unknown = sum(taken is None for taken in seconds.values())
    return describe_left(max(longest, sum(known.values()) / at_once), n_unknown)


def _run(plan: Plan, engine: Engine, board: Board, exchange: Exchange) -> Ended:
    failed, sent = [], set()
    with Restorer(exchange) as restorer:
        for outcome in engine.run(plan):
            board.end(outcome)
            sent.add(outcome.stage)
            if outcome.failure is None:
                restorer.restore(outcome.stage)
            else:
                failed.append(outcome)
    return Ended(failed, [name for name in plan.needs if name not in sent])
