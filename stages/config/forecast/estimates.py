"""How long a stage will take and how much memory, by what it took before."""

import csv
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from stages.config.paths import Paths

# Of each stage of the default run, on the machine that the file names.
DEFAULT_RUN = Path(__file__).with_name("default_run.csv")


class Estimate(NamedTuple):
    """Of one run of a stage.

    Attributes:
        seconds: from its start to its end, DVC's own time aside.
        memory_mb: held at a time, by the process and its workers.
    """

    seconds: float
    memory_mb: float


UNKNOWN = Estimate(seconds=10.0, memory_mb=1000.0)


def estimate(stages: Collection[str], paths: Paths, cores: int) -> dict[str, Estimate]:
    """Of each stage: as it was noted on this machine, else in the default run, else as its like.

    Its like are the other entries of the same stage, such as other trainings: their mean time and
    their largest memory.

    Args:
        stages: names such as `train@ct-cnn-full`.
        paths: where times are noted.
        cores: worker processes of a stage that uses such; all of them hold memory.
    """
    known = read_known(paths, cores)
    return {name: known.get(name) or _of_its_like(name, known) for name in stages}


def read_known(paths: Paths, cores: int) -> dict[str, Estimate]:
    """Of each stage that was timed, on this machine or else in the default run; see `estimate`."""
    return _read_default_run() | _read_noted(paths, cores)


def remaining_path(
    needs: Mapping[str, Collection[str]], seconds: Mapping[str, float]
) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the longest chain that waits for it.

    Args:
        needs: of each stage what it waits for, every stage after those.
        seconds: of each stage.
    """
    longest = dict.fromkeys(needs, 0.0)  # of what waits, at first
    for name in reversed(list(needs)):
        longest[name] += seconds[name]
        for other in needs[name]:
            longest[other] = max(longest[other], longest[name])
    return longest


def _read_noted(paths: Paths, cores: int) -> dict[str, Estimate]:
    noted = {}
    for path in paths.time("x").parent.glob("[!.]*.json"):
        spent = json.loads(path.read_text(encoding="utf-8"))
        try:
            processes = 1 + cores if spent["in_worker"] else 1
            seconds = spent["startup"] + spent["work"]
            noted[path.stem] = Estimate(seconds, spent["peak"] * processes)
        except KeyError:  # an earlier version noted other things
            continue
    return noted


def _read_default_run() -> dict[str, Estimate]:
    lines = DEFAULT_RUN.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["stage"]: Estimate(float(row["seconds"]), float(row["memory_mb"])) for row in rows}


def _of_its_like(name: str, known: Mapping[str, Estimate]) -> Estimate:
    verb = name.partition("@")[0]
    alike = [noted for other, noted in known.items() if other.partition("@")[0] == verb]
    if not alike:
        return UNKNOWN
    return Estimate(
        fmean(noted.seconds for noted in alike), max(noted.memory_mb for noted in alike)
    )
