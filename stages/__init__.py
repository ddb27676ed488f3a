"""The pipeline: each module here is a verb, each package a subject (a noun).

A verb is a DVC stage, named in dvc.yaml, or a command for people; `python -m stages` lists both.
Packages never import verbs, and import each other in one direction only:
config -> dataset -> phantoms -> sources -> downloads, imaging -> modeling -> evaluation, explain
-> reporting; what serves commands alone comes behind: adoption, deployment, parallelism.
"""

import os
import sys
from types import TracebackType

OLDEST_PYTHON = (3, 11)  # as pyproject.toml has it

if sys.version_info < OLDEST_PYTHON:
    sys.exit(
        f"error: Python {sys.version_info[0]}.{sys.version_info[1]} is too old; needed: "
        f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, which then makes the environment"
    )


def _explain_missing_package(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """One line for what is not installed; all else, and a module of our own, as Python has it."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in ("", "stages"):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(
        f"error: the package of {package!r} is not installed for {sys.executable}; activate the "
        "environment (`. .venv/bin/activate`), or `pip install -r requirements.txt` in it\n"
    )


sys.excepthook = _explain_missing_package

# Threads that wait for each other sleep instead of spinning. Measured with two threads on two
# cores: no slower alone, 2 to 3 times faster when another process takes one of the cores.
# OpenMP reads this when torch is first imported, so it stands here, before any of that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
