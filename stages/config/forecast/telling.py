"""What each stage of a `dvc repro` says first: which of how many it is, and what is left.

`dvc repro` itself says neither. The first stage that it starts asks DVC what has changed, and
writes that down for those behind it. Nothing here fails a stage: what is not known is not said.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from stages.config.forecast.dvc_process import RUN_BY_DVC, DvcProcess, find_dvc
from stages.config.paths import Paths
from stages.config.text import describe_seconds
from stages.config.writing import write_json

logger = logging.getLogger(__name__)

FORESEE = "stages.config.forecast.foresee"
LONGEST_LOOK_S = 10.0
DVC_S = 1.3  # of its own beside each stage: 122 s of a default run of 97, on an AMD EPYC

Seconds = Mapping[str, float | None]


class Forecast(NamedTuple):
    """Of one run of DVC.

    Attributes:
        n_stages: all of those asked for.
        seconds: of each stage that may have to run, in order; None: it was never timed.
    """

    n_stages: int
    seconds: Seconds


def tell_progress(stage: str, paths: Paths) -> None:
    """Say which stage of how many this is, and about how long all will take from here on."""
    if os.environ.get(RUN_BY_DVC) != stage or not (process := find_dvc()):
        return
    written = _read(paths, process)
    is_first = written is None
    forecast = _ask(paths, process) if written is None else _forecast(written)
    if forecast is None or stage not in forecast.seconds or len(forecast.seconds) < 2:
        return
    if is_first:
        logger.info("%s", _describe_all(forecast))
    logger.info("%s: %s", stage, _describe_rest(stage, forecast))


def _read(paths: Paths, process: DvcProcess) -> dict | None:
    """What an earlier stage of the same run wrote down; None: this is the first."""
    path = paths.forecast
    if not path.exists():
        return None
    written: dict = json.loads(path.read_text(encoding="utf-8"))
    is_same = (written["process"], written["since"]) == (process.number, process.since)
    return written if is_same else None


def _ask(paths: Paths, process: DvcProcess) -> Forecast | None:
    """Look ahead, and write it down; that nothing is to be seen, too, lest others look again."""
    seen = _foresee(process.arguments)
    head = {"process": process.number, "since": process.since, "forecast": seen}
    write_json(paths.forecast, head)
    return _forecast(head)


def _foresee(arguments: list[str]) -> object:
    try:
        looked = subprocess.run(
            [sys.executable, "-m", FORESEE, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_LOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(looked.stdout) if looked.returncode == 0 else None


def _forecast(written: dict) -> Forecast | None:
    return None if written["forecast"] is None else Forecast(**written["forecast"])


def _describe_all(forecast: Forecast) -> str:
    return (
        f"dvc: {len(forecast.seconds)} of {forecast.n_stages} stages may have to run; "
        f"{_describe_time(forecast.seconds)}, by what they took before"
    )


def _describe_rest(stage: str, forecast: Forecast) -> str:
    names = list(forecast.seconds)
    done = names.index(stage)
    rest = {name: forecast.seconds[name] for name in names[done:]}
    return f"{done + 1} of {len(names)}, {_describe_time(rest)} left"


def _describe_time(seconds: Seconds) -> str:
    known = [taken for taken in seconds.values() if taken is not None]
    return describe_left(sum(known) + DVC_S * len(known), len(seconds) - len(known))


def describe_left(seconds: float, n_unknown: int) -> str:
    """A time, and how many stages are not in it since they were never timed."""
    about = f"about {describe_seconds(seconds)}"
    if not n_unknown:
        return about
    never = f"{n_unknown} never timed"
    return f"{about} and {never}" if seconds else never
