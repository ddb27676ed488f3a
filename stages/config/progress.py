"""How far something long is: a bar on a terminal, else a line now and then."""

import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from stages.config.text import describe_seconds

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

logger = logging.getLogger(__name__)

DELAY_S = 1.0  # what is done by then is not worth a word
LINE_EVERY_S = 10.0
# By the monotonic clock. Of all loops: where one short loop follows the other, as those over the
# batches of epochs do, each would have its line.
_last_line_s = -math.inf


def progress(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Hand on the items, and say how many of them are done: a bar on a terminal, else in the log.

    Args:
        items: `total` of them; a line of a loop within another one of these says of both.
        what: the work in a word or two, such as `ct: decoding`.
        total: how many there are; None where nobody knows.
    """
    if not logger.isEnabledFor(logging.WARNING):
        yield from items  # a further process of a training, of which the first one speaks
    elif _columns():
        from tqdm import tqdm  # 60 ms, of which every stage without a terminal is spared

        # leave: the stage's own lines say what came of it.
        yield from tqdm(items, what, total, leave=False, delay=DELAY_S, file=sys.stderr)
    else:
        yield from _in_lines(items, what, total)


def _columns() -> int:
    """Of the terminal; 0 where there is none, or one that does not say, in which no bar shows."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 0


def _in_lines(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    global _last_line_s
    loop = _Loop(what, total)
    _loops.append(loop)
    try:
        for item in items:
            now = time.monotonic()
            is_worth_it = loop.done and now - loop.start >= DELAY_S
            if is_worth_it and now - _last_line_s >= LINE_EVERY_S:
                logger.info("%s", _say(loop, now))
                _last_line_s = now
            yield item
            loop.note_done()
    finally:
        _loops.remove(loop)


class _Loop:
    """How far a loop is."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what = what
        self.total = total
        self.start = self.last = time.monotonic()
        self.done = 0

    def note_done(self) -> None:
        """One more."""
        self.done += 1
        self.last = time.monotonic()

    def say(self, now: float) -> str:
        if self.total is None:
            return f"{self.what}: {self.done} so far"
        so_far = f"{self.what}: {self.done} of {self.total}"
        if not self.done:
            return so_far
        # What the one under way has taken so far is its own: half a training does not make those
        # before it slower. Once it has taken longer than they did, it counts as one of them.
        pace = max((self.last - self.start) / self.done, (now - self.start) / (self.done + 1))
        left = max(pace * self.total - (now - self.start), 0)
        return f"{so_far}, about {describe_seconds(left)} left"


_loops: list[_Loop] = []  # under way, the outermost first


def _say(loop: _Loop, now: float) -> str:
    """Where a loop is, behind those that it is a part of."""
    around = (other for other in _loops[: _loops.index(loop)] if other.total != 1)
    return "; ".join(each.say(now) for each in (*around, loop))


class ByteProgress:
    """How much of a download is here, told by whoever gets it."""

    def __init__(self, what: str) -> None:
        """Name the work in a word or two."""
        self.what = what
        self._bar: tqdm[None] | None = None
        self._start: tuple[float, int] | None = None  # when, and what was there by then
        self._said = 0.0

    def __enter__(self) -> Self:
        if _columns():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self.what,
                unit="B",
                unit_scale=True,
                leave=False,
                delay=DELAY_S,
                file=sys.stderr,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def at(self, done: int, total: int | None) -> None:
        """So many bytes are here, of so many; None: nobody knows."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if self._start is None or done < self._start[1]:
            self._start = now, done
            self._said = now + DELAY_S - LINE_EVERY_S
        if now - self._said >= LINE_EVERY_S:
            logger.info("%s: %s", self.what, self._line(now, done, total))
            self._said = now

    def _line(self, now: float, done: int, total: int | None) -> str:
        assert self._start is not None  # set before a line is said
        since, before = self._start
        if total is None or done == before:
            return f"{done / 1e6:,.1f} MB"
        left = (now - since) / (done - before) * (total - done)
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB, about {describe_seconds(left)} left"
