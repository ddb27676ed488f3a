"""Kill a small pipeline again and again; what it ends with must be what one left alone ends with.

A clone in a temporary folder runs once undisturbed. Another one is started with `dvc repro` and
killed with -9 at a random moment, as often as asked: the stage alone, DVC alone (its stage goes on
as an orphan), or both. Whenever it gets to its end it begins anew. At last it runs until it is
done, and every output and dvc.lock are held against the first clone's, byte by byte.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

from tests.clones import make_clone
from tests.conftest import load_raw_params, shrink

# As of this pipeline's own training time; the product writes when a write has been paid for.
EVERY_EPOCH = ("COST_SHARE = 0.02", "COST_SHARE = 1e9")
WAIT_S = 60.0  # for an orphan to end
STARTED = "---- dvc repro"
SHORTEST_S = 8.0  # DVC needs some seconds to get to a stage
PASSES = 2  # through the pipeline, in all kills
# DVC 3.67 writes these in place: killed in that moment it leaves half a file, and says so. What
# README.md tells its user to do is done here.
HALF_A_LOCK = {
    "RWLock-file": ".dvc/tmp/rwlock",
    "dvc.lock' validation failed": "dvc.lock",
    "dvc.lock', YAML file structure is corrupted": "dvc.lock",
}
REFUSED = "another process is running this stage"
WENT_ON = "the training goes on from here"
NO_OUTPUTS = ("data/scratch/", "plots/times.html")


class Kill(NamedTuple):
    """What was killed, while which stage ran, if one did."""

    target: str
    stage: str


def main() -> None:
    """Run both clones and print how many kills the outputs came through."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=15, help="of each training")
    parser.add_argument("--folder", type=Path, help="for the clones, which stay there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _run(options, options.folder or Path(temporary))


def _run(options: argparse.Namespace, folder: Path) -> None:
    original, alone, killed = (folder / name for name in ("original", "alone", "killed"))
    make_eager_clone(original, options.epochs)  # edits of the code meanwhile change nothing
    duration = _run_alone(shutil.copytree(original, alone))
    expected = read_outputs(alone)
    print(f"alone: {duration:.0f} s, {len(expected)} files", flush=True)
    shutil.copytree(original, killed)
    log = (folder / "log").open("a+", encoding="utf-8")
    kills = []
    for kill in _kill_often(killed, log, options, duration):
        if kill:
            kills.append(kill)
            print(f"kill {len(kills)}: {kill.target} during {kill.stage}", flush=True)
        else:
            _require_same(expected, killed)
            shutil.rmtree(killed)
            shutil.copytree(original, killed)
    _finish(killed, log)
    _require_same(expected, killed)
    _report(kills, log, expected)


def _run_alone(folder: Path) -> float:
    start = time.monotonic()
    if _start(folder, sys.stdout).wait():
        sys.exit("the pipeline fails without being killed")
    return time.monotonic() - start


def make_eager_clone(folder: Path, epochs: int) -> None:
    """A clone with tiny parameters, in which every epoch is written."""
    make_clone(folder, _params(epochs))
    module = folder / "stages" / "modeling" / "resume.py"
    text = module.read_text(encoding="utf-8")
    assert EVERY_EPOCH[0] in text
    module.write_text(text.replace(*EVERY_EPOCH), encoding="utf-8")


def _params(epochs: int) -> dict[str, Any]:
    """Two single trainings, one of folds and seeds, and one of pretext weights."""
    raw = shrink(load_raw_params())
    raw["recipes"]["short"] |= {"epochs": epochs, "patience": epochs}
    averaged = raw["recipes"]["short"] | {"ema": 0.9, "schedule": "onecycle", "optimizer": "adamw"}
    raw["recipes"]["averaged"] = averaged
    raw["protocols"]["folds"] = raw["protocols"]["once"] | {"folds": 2, "seeds": [1, 2]}
    source = {"kind": "pretext", "path": "stages/phantoms"}
    raw["weights"]["cnn3-pretext"] = {"model": "cnn3", "source": source}
    raw["pretext"] |= {"images": 60, "size_px": 80}
    first = raw["cases"]["full-ce"]
    raw["cases"]["full-folds"] = first | {"protocol": "folds", "sampler": "weighted"}
    raw["cases"]["full-ema"] = first | {"recipe": "averaged", "weights": "cnn3-pretext"}
    return raw


def _kill_often(
    folder: Path, log: IO[str], options: argparse.Namespace, duration: float
) -> Iterator[Kill | None]:
    """At moments spread over a run, each start going on where the last was killed; None: done."""
    rng = random.Random(options.seed)
    longest = max(SHORTEST_S, PASSES * 2 * duration / options.kills)
    number = 0
    while number < options.kills:
        dvc = _start(folder, log)
        try:
            dvc.wait(timeout=rng.uniform(1, longest))
        except subprocess.TimeoutExpired:
            number += 1
            yield _kill(dvc, rng, folder)
            continue
        if dvc.returncode:
            _mend(folder, log)
        else:
            yield None


def _start(folder: Path, log: IO[str]) -> subprocess.Popen[bytes]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    print(STARTED, file=log, flush=True)
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _kill(dvc: subprocess.Popen[bytes], rng: random.Random, folder: Path) -> Kill:
    """One of the stage alone, DVC alone, both."""
    stages = list(_stages_in(folder))
    names = ", ".join(stage for _, stage in stages) or "DVC's own work"
    target = rng.choice(["the stage", "dvc", "both"] if stages else ["dvc"])
    if target != "the stage":
        dvc.send_signal(signal.SIGKILL)
    if target != "dvc":
        for process, _ in stages:
            process.kill()
    dvc.wait()
    return Kill(target, names)


def _stages_in(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Processes that run a stage of the clone."""
    for process in psutil.process_iter():
        try:
            command, where = process.cmdline(), process.cwd()
        except psutil.Error:
            continue
        is_stage = command[1:2] == ["-m"] and command[2].startswith("stages.")
        if is_stage and where == str(folder.resolve()):
            yield process, " ".join(command[2:]).removeprefix("stages.")


def _mend(folder: Path, log: IO[str]) -> None:
    """Wait for the orphan that refused a start, or take away the half of a file that DVC left."""
    log.seek(0)
    text = log.read()
    last = text[text.rfind(STARTED) :]
    halves = [name for said, name in HALF_A_LOCK.items() if said in last]
    for name in halves:
        print(f"DVC left half of {name}; removed", flush=True)
        (folder / name).unlink()
    if not halves and REFUSED not in last:
        sys.exit(f"the pipeline does not run on after the kills:\n{last}")
    psutil.wait_procs([process for process, _ in _stages_in(folder)], timeout=WAIT_S)


def _finish(folder: Path, log: IO[str]) -> None:
    """Run until all is done; an orphan at work may refuse its stage at first."""
    while _start(folder, log).wait():
        _mend(folder, log)


def read_outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that the pipeline made, by its path, and of dvc.lock."""
    files = [path for part in ("data", "metrics", "plots") for path in (folder / part).rglob("*")]
    names = {path.relative_to(folder).as_posix(): path for path in files if path.is_file()}
    names["dvc.lock"] = folder / "dvc.lock"
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith(NO_OUTPUTS)
    }


def _require_same(expected: dict[str, str], folder: Path) -> None:
    found = read_outputs(folder)
    differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if differing:
        sys.exit(f"{len(differing)} of {len(expected)} files differ, among them {differing[:5]}")


def _report(kills: Sequence[Kill], log: IO[str], expected: dict[str, str]) -> None:
    log.seek(0)
    text = log.read()
    for what, found in (
        ("killed", Counter(kill.target for kill in kills)),
        ("during", Counter(kill.stage.split()[0] for kill in kills)),
    ):
        print(f"{what}:", ", ".join(f"{name} {count}" for name, count in found.most_common()))
    print("trainings that went on from a checkpoint:", text.count(WENT_ON))
    print("starts beside an orphan that were refused:", text.count(REFUSED))
    print(f"{len(kills)} of {len(kills)} kills: all {len(expected)} files are the same, to the bit")


if __name__ == "__main__":
    main()
