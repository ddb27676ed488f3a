"""How every benchmark measures: sides in turn, medians, one ratio from one run, and on what."""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple, Self

import psutil

Costs = dict[str, list["Cost"]]


class Cost(NamedTuple):
    """What some work took.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of all threads and worker processes; steadier than the clock beside other jobs.
        peak_mib: largest resident memory of the process so far, memory maps included.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float

    def per(self, count: float) -> Self:
        """The same for one of `count` equal pieces of work; memory is not divided."""
        return self._replace(seconds=self.seconds / count, cpu_seconds=self.cpu_seconds / count)


class Stopwatch:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._seconds, self._cpu_seconds = time.perf_counter(), _cpu_seconds()

    def cost(self) -> Cost:
        """What was spent since."""
        seconds = time.perf_counter() - self._seconds
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
        return Cost(seconds, _cpu_seconds() - self._cpu_seconds, peak)


def _cpu_seconds() -> float:
    """Of this process, of its living descendants, and of those that it waited for."""
    living = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        time.process_time()
        + (waited_for.ru_utime + waited_for.ru_stime)
        + sum(times.user + times.system for times in living)
    )


def timed(work: Callable[[], object]) -> Callable[[], Cost]:
    """A side that does some work in this process."""

    def run() -> Cost:
        watch = Stopwatch()
        work()
        return watch.cost()

    return run


def in_child(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a module in a fresh process whose last line is its cost (`hand_back`)."""
    command = [sys.executable, "-m", module, *arguments]
    env = None if environment is None else dict(environment)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def hand_back(cost: Cost) -> None:
    """Print a cost for the parent process."""
    print(json.dumps(cost), flush=True)


def interleave(sides: Mapping[str, Callable[[], Cost]], rounds: int) -> Costs:
    """Run every side once per round, forwards and backwards in turn, so that drift meets all."""
    costs: Costs = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            costs[name].append(sides[name]())
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    """Each figure's median by itself."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def show(title: str, costs: Costs, *, unit: str) -> None:
    """Print the medians of all sides, and how many times the first takes what each other takes."""
    medians = {name: median(of_side) for name, of_side in costs.items()}
    print(f"\n{title}")
    print(f"{'side':<24}{f's/{unit}':>12}{f'{unit}/s':>12}{f'CPU s/{unit}':>16}{'peak MiB':>10}")
    for name, cost in medians.items():
        print(
            f"{name:<24}{cost.seconds:>12.4g}{1 / cost.seconds:>12.4g}"
            f"{cost.cpu_seconds:>16.4g}{cost.peak_mib:>10.0f}"
        )
    first, *others = costs
    for name in others:
        by_round = [a.seconds / b.seconds for a, b in zip(costs[first], costs[name], strict=True)]
        print(
            f"ratio {first} / {name}: {medians[first].seconds / medians[name].seconds:.2f} "
            f"(by round {min(by_round):.2f} to {max(by_round):.2f}); "
            f"by CPU seconds {medians[first].cpu_seconds / medians[name].cpu_seconds:.2f}"
        )
    print(f"medians of {len(costs[first])} rounds; {describe_run()}")


def describe_run() -> str:
    """Hardware, load of the machine, commit and torch, to be written beside every figure."""
    # torch is imported here: a parent that held it would pass its memory off as its children's,
    # since a process that is forked begins with the peak of the one it came from.
    from stages.modeling.compute import describe_device

    memory = psutil.virtual_memory().total / 2**30
    load = " ".join(f"{value:.1f}" for value in psutil.getloadavg())
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{describe_device('cpu')}, {memory:.0f} GiB, load {load}; commit {commit}; "
        f"torch {version('torch')}"
    )


def parser(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The command line that all have; a script adds its sizes."""
    made = argparse.ArgumentParser(
        description=(doc or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--rounds", type=int, default=rounds, help="times that every side runs")
    return made
