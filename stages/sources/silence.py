"""Libraries kept from speaking, since what they say quotes files, and who is shown in them."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from stages.sources.item import UnreadableImage

NOTHING = logging.CRITICAL + 1


@contextmanager
def silent(*names: str) -> Iterator[None]:
    """Without warnings, and without log lines of the loggers of these names and below them."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(NOTHING)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def reading_quietly(
    *names: str, damage: tuple[type[Exception], ...], reason: str
) -> Iterator[None]:
    """As `silent`, and with one reason for whatever a library raises on damaged files.

    Args:
        names: of its loggers.
        damage: what it raises.
        reason: what is said of the file.

    Raises:
        UnreadableImage: with the reason, or as the block raises it.
    """
    with silent(*names), np.errstate(all="ignore"):
        try:
            yield
        except UnreadableImage:
            raise
        except MemoryError:
            raise UnreadableImage("takes more memory than there is") from None
        except damage:
            raise UnreadableImage(reason) from None
