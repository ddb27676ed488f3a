"""The pipeline in a DVC repository of its own, as a fresh clone has it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY, write_params

COPIED = (
    *("stages", ".dvc/config", ".dvcignore", "dvc.yaml", ".dvc/plots", "data/.gitignore"),
    *(".gitignore", "metrics/external/.gitkeep"),
)


def make_clone(folder: Path, raw_params: dict[str, Any]) -> Path:
    """Code, settings and these parameters; nothing has run in it, and nothing is committed."""
    for name in COPIED:
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    write_params(folder / "params.yaml", raw_params)
    return folder


def run_python(
    folder: Path, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python <arguments>` there; the stages' `python`, too, is the one that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | (environ or {}) | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
