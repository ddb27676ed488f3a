"""What is said while stages run: what runs where, how far it is, what is left."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.config.forecast.telling import describe_left
from stages.config.text import visible
from stages.parallelism.runner import Outcome

logger = logging.getLogger(__name__)

SUMMARY_EVERY_S = 30.0
WIDTH = 100  # of a line of a stage that is shown
LATE, LATE_S = 1.5, 10.0  # a stage is, that takes this many times as long as before, and some


class _Running(NamedTuple):
    where: str
    since: float
    line: str


class Board:
    """Hears from the workers, by Dask's events, and from whoever hands out stages."""

    def __init__(self, seconds: Mapping[str, float | None], stages_at_once: int) -> None:
        """Begin with all stages and what each is thought to take; None: nobody knows."""
        self._left = dict(seconds)
        self._total = len(seconds)
        self._at_once = stages_at_once
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._summed_up = time.monotonic()

    def hear(self, event: tuple[float, Any]) -> None:
        """Take an event of `runner`: a stage has begun, or has said a line."""
        _, said = event
        if not isinstance(said, dict):  # Dask tells of its own affairs too
            return
        with self._lock:
            self._note(said["stage"], said["kind"], said["where"], said.get("line", ""))

    def _note(self, stage: str, kind: str, where: str, line: str) -> None:
        now = time.monotonic()
        if kind == "started" and stage in self._left:
            again = " again" if stage in self._running else ""
            self._running[stage] = _Running(where, now, "")
            logger.info("%s: begins%s on %s", stage, again, where)
        elif stage in self._running:
            self._running[stage] = self._running[stage]._replace(line=line)
        if now - self._summed_up > SUMMARY_EVERY_S:
            self._summed_up = now
            self._sum_up(now)

    def _sum_up(self, now: float) -> None:
        for stage, running in sorted(self._running.items()):
            said = visible(running.line)[:WIDTH]
            logger.info("  %s: for %.0f s: %s", stage, now - running.since, said)

    def end(self, outcome: Outcome) -> None:
        """A stage has ended."""
        with self._lock:
            self._running.pop(outcome.stage, None)
            self._left.pop(outcome.stage, None)
            if outcome.failure is not None:
                what = f"failed: {visible(outcome.failure)}"
            else:
                what = "done" if outcome.ran else "had nothing to do"
            logger.info(
                "%s: %s, %.0f s; %d of %d stages, %s",
                *(outcome.stage, what, outcome.seconds),
                *(self._total - len(self._left), self._total, self._time_left()),
            )

    def _time_left(self) -> str:
        """By what stages took before, were all workers busy to the end."""
        now = time.monotonic()
        gone = {stage: now - running.since for stage, running in self._running.items()}
        known = {stage: taken for stage, taken in self._left.items() if taken is not None}
        left = sum(max(0.0, taken - gone.get(stage, 0.0)) for stage, taken in known.items())
        late = [s for s, taken in known.items() if gone.get(s, 0.0) > LATE * taken + LATE_S]
        said = describe_left(left / self._at_once, len(self._left) - len(known))
        return f"{said} left" + (f"; longer than before: {', '.join(late)}" if late else "")
