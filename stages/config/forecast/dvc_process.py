"""Which `dvc` has started this stage, and with which words."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

RUN_BY_DVC = "DVC_STAGE"  # a variable that DVC sets for the commands of stages: the stage's name
ABOVE = 2  # between DVC and a stage there may be a shell


class DvcProcess(NamedTuple):
    """A process of DVC.

    Attributes:
        number: of the process.
        since: when it began, s since 1970; numbers are given again.
        arguments: what stood behind `dvc` on its command line.
    """

    number: int
    since: float
    arguments: list[str]


def find_dvc() -> DvcProcess | None:
    """That which runs this stage; None where it cannot be told."""
    import psutil  # 20 ms

    try:
        for parent in psutil.Process().parents()[:ABOVE]:
            arguments = arguments_of(parent.cmdline())
            if arguments is not None:
                return DvcProcess(parent.pid, parent.create_time(), arguments)
    except psutil.Error:  # it has ended, or is somebody else's
        return None
    return None


def arguments_of(words: Sequence[str]) -> list[str] | None:
    """What stands behind `dvc`, its script or `python -m dvc` on a command line; None: neither."""
    if list(words[1:3]) == ["-m", "dvc"]:
        return list(words[3:])
    for place in (0, 1):
        if len(words) > place and Path(words[place]).name == "dvc":
            return list(words[place + 1 :])
    return None
