"""How long a matrix takes over 1 to 64 workers, simulated from recorded times; the critical path.

    python -m tests.benchmarks.schedule                    # of the default run, and of 200 cases
    python -m tests.benchmarks.schedule --run <folder>     # times of a finished run in that clone
    python -m tests.benchmarks.schedule --run <folder> --write    # the times first runs go by

A worker has one core: a stage whose processes took more CPU than wall time takes its CPU seconds.
What DVC takes beside each stage, loading, hashing, caching, is a constant (`--dvc`).
"""

import argparse
import csv
import heapq
import io
import json
import subprocess
from collections.abc import Collection, Mapping
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from stages.config.forecast.estimates import DEFAULT_RUN, remaining_path
from stages.config.forecast.plan import read_graph
from stages.config.writing import write_text
from stages.modeling.compute import describe_device

WORKERS = (1, 2, 4, 8, 16, 32, 64)
CASES = 200
PER_CASE = ("train", "evaluate", "cam")
Graph = Mapping[str, Collection[str]]


class Recorded(NamedTuple):
    """Of one stage of a run: seconds by the clock, of all cores; MB of its largest process."""

    wall: float
    cpu: float
    peak: float
    in_worker: bool


def main() -> None:
    """Print the tables, or write the times that a first run goes by."""
    args = _parse()
    if args.write:
        _write(_read_notes(args.run), args.run)
        return
    times = _read_notes(args.run) if args.run else _read_default_run()
    graph = _graph_of(args.run or Path())
    graph = {name: before for name, before in graph.items() if name in times}
    seconds = {name: max(times[name].wall, times[name].cpu) + args.dvc for name in graph}
    _show(f"the run, {len(graph)} stages", graph, seconds)
    many, longer = grow(graph, seconds, CASES)
    _show(f"{CASES} cases like those of the run, {len(many)} stages", many, longer)


def simulate(graph: Graph, seconds: Mapping[str, float], workers: int) -> float:
    """Wall time when each free worker takes, of what is ready, the stage with the longest way."""
    longest = remaining_path(graph, seconds)
    missing = {name: len(before) for name, before in graph.items()}
    behind: dict[str, list[str]] = {name: [] for name in graph}
    for name, before in graph.items():
        for other in before:
            behind[other].append(name)
    ready = [(-longest[name], name) for name, count in missing.items() if not count]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[name], name))
        now, ended = heapq.heappop(running)
        for name in behind[ended]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready, (-longest[name], name))
    return now


def critical_path(graph: Graph, seconds: Mapping[str, float]) -> list[str]:
    """The chain of stages that no number of workers makes shorter."""
    longest = remaining_path(graph, seconds)
    behind: dict[str, list[str]] = {name: [] for name in graph}
    for name, before in graph.items():
        for other in before:
            behind[other].append(name)
    path = [max(longest, key=lambda name: longest[name])]
    while behind[path[-1]]:
        path.append(max(behind[path[-1]], key=lambda name: longest[name]))
    return path


def grow(
    graph: Graph, seconds: Mapping[str, float], cases: int
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Give the graph copies of its cases, in turn, until there are so many."""
    own = [name.partition("@")[2] for name in graph if name.startswith("train@")]
    grown = {name: list(before) for name, before in graph.items()}
    longer = dict(seconds)
    for number in range(cases - len(own)):
        case, copy = own[number % len(own)], f"-{number}"
        for stage in (f"{verb}@{case}" for verb in PER_CASE):
            before = (f"{o}{copy}" if o.partition("@")[2] == case else o for o in graph[stage])
            grown[stage + copy] = list(before)
            longer[stage + copy] = seconds[stage]
    for last in ("compare", "report"):
        new = [name for name in grown if name not in graph]
        # What many cases add to tables and pages: in proportion.
        longer[last] = seconds[last] * cases / len(own)
        grown[last] = [*grown.pop(last), *new]
    return grown, longer


def _show(what: str, graph: Graph, seconds: Mapping[str, float]) -> None:
    total = sum(seconds.values())
    path = critical_path(graph, seconds)
    print(f"{what}: {total:,.0f} s of one core")
    chain = " > ".join(f"{name} {seconds[name]:.0f}" for name in path)
    print(f"  critical path {sum(seconds[name] for name in path):,.0f} s: {chain}")
    print("  workers  wall, s  of one worker's  workers busy")
    for workers in WORKERS:
        wall = simulate(graph, seconds, workers)
        print(f"  {workers:7}  {wall:7,.0f}  {wall / total:15.2f}  {total / wall / workers:11.0%}")


def _graph_of(run: Path) -> Graph:
    with chdir(run):  # DVC names stages as seen from here
        return read_graph(Path())


def _read_notes(run: Path) -> dict[str, Recorded]:
    notes = {}
    for path in sorted((run / "data" / "scratch" / "times").glob("[!.]*.json")):
        spent = json.loads(path.read_text(encoding="utf-8"))
        wall = spent["startup"] + spent["work"]
        notes[path.stem] = Recorded(wall, spent["cpu"], spent["peak"], spent["in_worker"])
    return notes


def _read_default_run() -> dict[str, Recorded]:
    lines = DEFAULT_RUN.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {
        row["stage"]: Recorded(
            float(row["seconds"]), float(row["cpu_seconds"]), float(row["memory_mb"]), False
        )
        for row in rows
    }


def _write(times: Mapping[str, Recorded], run: Path) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=run, capture_output=True, text=True, check=True
    )
    text = io.StringIO()
    text.write(
        f"# Of each stage of the default run: {describe_device('cpu')}, {commit.stdout.strip()}.\n"
        "# Written by `python -m tests.benchmarks.schedule --run <folder> --write`.\n"
    )
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["stage", "seconds", "cpu_seconds", "memory_mb"])
    for name in _graph_of(run):
        if name in times:
            noted = times[name]
            rows.writerow([name, f"{noted.wall:.1f}", f"{noted.cpu:.1f}", f"{noted.peak:.0f}"])
    write_text(DEFAULT_RUN, text.getvalue())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, help="a clone with a finished run")
    parser.add_argument("--write", action="store_true", help="the table that first runs go by")
    parser.add_argument("--dvc", type=float, default=2.2, help="seconds of DVC beside each stage")
    args = parser.parse_args()
    if args.write and not args.run:
        parser.error("--write takes the times of --run")
    return args


if __name__ == "__main__":
    main()
