"""Kill a process of `python -m stages.parallel`, run after run; each must end as `dvc repro` does.

A clone in a temporary folder runs once with `dvc repro`. Then another one, fresh in each run, runs
side by side, and at a random moment a process of it is killed with -9: Dask's worker, the DVC of a
stage, or the stage. It must end well by itself, and every output and dvc.lock be the first clone's,
byte by byte.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from tests.clones import make_clone, run_python
from tests.conftest import load_raw_params, shrink
from tests.faults.kills import read_outputs

# By what their command lines have.
PARTS = {"worker": "multiprocessing.spawn", "dvc": "stage_process", "stage": "-m stages."}
BEGIN = 0.15  # of a run, by which stages have begun


def main() -> None:
    """Print what was killed in each run, and how many ended with the same outputs."""
    args = _parse()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        original = make_clone(folder / "original", shrink(load_raw_params()))
        expected, duration = _run_alone(Path(shutil.copytree(original, folder / "alone")))
        killed = []
        for number in range(1, args.runs + 1):
            clone = Path(shutil.copytree(original, folder / "killed"))
            killed.append(_run_killed(clone, rng.uniform(BEGIN, 1) * duration, args.kill, rng))
            print(f"run {number}: killed {killed[-1]}", flush=True)
            _require_same(expected, clone)
            shutil.rmtree(clone)
    print(f"{args.runs} of {args.runs} runs ended with the same {len(expected)} files")
    print(Counter(name.partition(" ")[0] for name in killed))


def _run_alone(clone: Path) -> tuple[dict[str, str], float]:
    """What `dvc repro` makes, and how long side by side takes about: two thirds of its time."""
    start = time.monotonic()
    done = run_python(clone, "-m", "dvc", "repro")
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return read_outputs(clone), (time.monotonic() - start) * 2 / 3


def _run_killed(clone: Path, after_s: float, part: str, rng: random.Random) -> str:
    log = clone.with_suffix(".log")
    with log.open("w") as said:
        run = subprocess.Popen(
            [sys.executable, "-m", "stages.parallel", "--workers", "2"],
            cwd=clone,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        time.sleep(after_s)
        name = _kill_one(run.pid, part, rng)
        code = run.wait()
    if code:
        sys.exit(f"after {name} was killed:\n{log.read_text()}")
    return name


def _kill_one(pid: int, part: str, rng: random.Random) -> str:
    """One of the processes of a part, or of any; what it was."""
    parts = [part] if part != "any" else list(PARTS)
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:  # it has just ended
            continue
        name = next((p for p in parts if PARTS[p] in command), None)
        if name and "resource_tracker" not in command:
            found.append((name, command, process))
    if not found:
        return "nothing: no such process at the moment"
    name, command, process = rng.choice(found)
    process.kill()
    return f"{name} ({command.rpartition('-m ')[2][:80]})" if name != "worker" else name


def _require_same(expected: dict[str, str], clone: Path) -> None:
    made = read_outputs(clone)
    differs = sorted(n for n in expected.keys() | made.keys() if expected.get(n) != made.get(n))
    if differs:
        sys.exit(f"{len(differs)} of {len(expected)} files differ: {', '.join(differs[:10])}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill", choices=["any", *PARTS], default="worker")
    return parser.parse_args()


if __name__ == "__main__":
    main()
