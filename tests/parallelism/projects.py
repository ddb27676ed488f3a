"""Small pipelines under DVC, for tests of what runs them."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY, load_raw_params, shrink, write_params

QUICK, SLOW = 0.2, 3.0  # seconds of a stage

# A stage that says when it ran, and by whom it was seen.
WORK = """
import json, os, sys, time
from pathlib import Path

name, seconds = sys.argv[1], float(sys.argv[2])
start = time.time()
notes = Path("notes"); notes.mkdir(exist_ok=True)
tries = notes / f"{name}.tries"
tries.write_text(str(int(tries.read_text()) + 1 if tries.exists() else 1))
(notes / f"{name}.pid").write_text(str(os.getpid()))
print(f"{name} at work", flush=True)
time.sleep(seconds)
if name in Path("bad.txt").read_text().split():
    sys.exit(f"error: {name}: this is what went wrong")
Path("out").mkdir(exist_ok=True)
Path(f"out/{name}").write_text(f"made by {name}")
span = {"start": start, "end": time.time(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
(notes / f"{name}.json").write_text(json.dumps(span))
"""


def make_project(folder: Path, seconds: float = QUICK) -> Path:
    """Make a repository of a diamond: two trainings from one preparation, each evaluated, compared.

    `bad.txt`, which no stage depends on, names stages that fail.
    """
    folder.mkdir(parents=True)
    (folder / "stages").symlink_to(REPOSITORY / "stages")
    write_params(folder / "params.yaml", shrink(load_raw_params()))
    (folder / "work.py").write_text(WORK, encoding="utf-8")
    (folder / "bad.txt").write_text("", encoding="utf-8")
    (folder / "dvc.yaml").write_text(_graph(seconds), encoding="utf-8")
    (folder / ".gitignore").write_text("/out\n/notes\n/data\n/stages\n", encoding="utf-8")
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
        run(folder, *command.split())
    return folder


def _graph(seconds: float) -> str:
    return f"""
stages:
  prepare:
    cmd: python work.py prepare {seconds}
    deps: [work.py]
    outs: [out/prepare]
  train:
    foreach: [a, b]
    do:
      cmd: python work.py train@${{item}} {seconds}
      deps: [work.py, out/prepare]
      outs: ["out/train@${{item}}"]
  evaluate:
    foreach: [a, b]
    do:
      cmd: python work.py evaluate@${{item}} {seconds}
      deps: [work.py, "out/train@${{item}}"]
      outs: ["out/evaluate@${{item}}"]
  compare:
    cmd: python work.py compare {seconds}
    deps: [work.py, out/evaluate@a, out/evaluate@b]
    outs: [out/compare]
"""


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command of the test's environment; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", *command] if command[0] != "git" else command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout
