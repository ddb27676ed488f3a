"""How far something long is: a bar on a terminal, else a line now and then."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

logger = logging.getLogger(__name__)

DELAY_S = 1.0  # what is done by then is not worth a word
LINE_EVERY_S = 10.0


def progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Hand on the items, and say on standard error how many of them are done.

    Args:
        items: `total` of them.
        what: the work in a word or two, such as `ct: decoding`.
        total: how many there are.
    """
    if sys.stderr.isatty():
        # leave: the stage's own lines say what came of it.
        yield from tqdm(items, what, total, leave=False, delay=DELAY_S, file=sys.stderr)
    else:
        yield from _in_lines(items, what, total)


def _in_lines(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    start = time.monotonic()
    said = start + DELAY_S - LINE_EVERY_S  # the first line after DELAY_S
    for done, item in enumerate(items):
        if done and (now := time.monotonic()) - said >= LINE_EVERY_S:
            left = (now - start) / done * (total - done)
            logger.info("%s: %d of %d, about %.0f s left", what, done, total, left)
            said = now
        yield item
