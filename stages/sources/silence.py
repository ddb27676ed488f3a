"""Libraries kept from speaking: their warnings quote what is in a file, and who is shown."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
