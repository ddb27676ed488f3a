"""Stages are sent out as soon as what they wait for is there, the longest way first."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from distributed import Client, Future, as_completed

from stages.config.forecast.estimates import Estimate, remaining_path
from stages.config.forecast.plan import Plan
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_text
from stages.parallelism.clones import Exchange
from stages.parallelism.clusters import GPU, MEMORY, offered_resources
from stages.parallelism.runner import Job, Outcome, run_stage

ON_GPU = ("weights", "train", "external")  # stages that compute on one where there is one


class Engine:
    """Sends out the stages of a plan; which worker has one is Dask's to say.

    A stage goes to a worker that has the memory and the GPU which it needs to spare. One whose
    worker is lost goes to another.
    """

    def __init__(
        self,
        client: Client,
        estimates: Mapping[str, Estimate],
        exchange: Exchange,
        params: Params,
        paths: Paths,
    ) -> None:
        """Keep who works, what is known, and where logs go."""
        self._params = params
        self._client = client
        self._estimates = estimates
        self._exchange = exchange
        self._paths = paths
        self.name = uuid.uuid4().hex  # of this run

    def run(self, plan: Plan) -> Iterator[Outcome]:
        """Give each stage that has ended, failed ones too; what waits for these is not sent out."""
        seconds = {name: self._estimates[name].seconds for name in plan.needs}
        longest = remaining_path(plan.needs, seconds)
        sorter = TopologicalSorter(plan.needs)
        sorter.prepare()
        ended = as_completed()
        names: dict[Future, str] = {}
        while True:
            for name in sorter.get_ready():
                future = self._send(name, longest[name])
                names[future] = name
                ended.add(future)
            if not names:
                return
            future = next(ended)
            outcome = _outcome(names.pop(future), future)
            if self._exchange.through_remote:
                self._keep(outcome)
            if outcome.failure is None:
                sorter.done(outcome.stage)
            yield outcome

    def _send(self, name: str, priority: float) -> Future:
        offers = offered_resources(self._client)  # now: jobs of a cluster come one by one
        needed = self._needed(name, offers)
        gpus = int(needed.get(GPU, 0)) if any(GPU in offer for offer in offers) else None
        job = Job(name, self.name, gpus, self._exchange)
        verb, _, entry = name.partition("@")
        # By the first part Dask tells kinds of tasks apart; by the last, runs of several people.
        key = (verb, entry, self.name)
        return self._client.submit(
            run_stage, job, key=key, priority=priority, resources=needed, pure=False
        )

    def _needed(self, name: str, offers: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Of what workers offer; no more than the largest has, or the stage would wait for ever."""
        wanted = {MEMORY: self._estimates[name].memory_mb}
        if gpus := _count_gpus(name, self._params):
            wanted[GPU] = gpus
        most = {kind: max((o.get(kind, 0) for o in offers), default=0) for kind in wanted}
        return {kind: min(amount, most[kind]) for kind, amount in wanted.items() if most[kind]}

    def _keep(self, outcome: Outcome) -> None:
        """Put down the log; and the times that a worker noted in another folder."""
        write_text(self._paths.log(outcome.stage), outcome.log)
        if outcome.spent is not None:
            write_text(self._paths.time(outcome.stage), outcome.spent)


def _count_gpus(name: str, params: Params) -> int:
    """How many a stage computes on, where there are any."""
    verb, _, entry = name.partition("@")
    if verb == "train" and entry in params.cases:
        return params.recipe(params.case(entry).recipe).devices
    return int(verb in ON_GPU)


def _outcome(name: str, future: Future) -> Outcome:
    """What the worker returned; of an error of the engine itself, that."""
    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    return Outcome(name, f"{type(error).__name__}: {error}", True, 0.0, f"{error!r}\n", None)
