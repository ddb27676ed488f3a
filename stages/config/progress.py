"""How far something long is: a bar on a terminal, else a line now and then."""

import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

DELAY_S = 1.0  # what is done by then is not worth a word
LINE_EVERY_S = 10.0
# By the monotonic clock. Of all loops: where one short loop follows the other, as epochs do, each
# would have its line.
_last_line_s = -math.inf


def progress(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Hand on the items, and say how many of them are done: a bar on a terminal, else in the log.

    Args:
        items: `total` of them; of a loop within another one of these the lines take turns.
        what: the work in a word or two, such as `ct: decoding`.
        total: how many there are; None where nobody knows.
    """
    if _columns():
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
    start = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - start >= DELAY_S and now - _last_line_s >= LINE_EVERY_S:
            logger.info("%s: %s", what, _say(done, total, now - start))
            _last_line_s = now
        yield item


def _say(done: int, total: int | None, spent_s: float) -> str:
    if total is None:
        return f"{done} so far"
    return f"{done} of {total}, about {spent_s / done * (total - done):.0f} s left"
