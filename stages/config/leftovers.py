"""Outputs of entries that params.yaml no longer has.

DVC forgets a stage whose entry is gone and leaves its files where they are. They would stand among
those of the matrix (in `dvc metrics show`), and in folders that `compare` and `report` watch as a
whole, which then differ from those of every other clone.
"""

import logging
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.config.forecast.dvc_process import RUN_BY_DVC
from stages.config.lock import is_running
from stages.config.params import Params
from stages.config.paths import Paths

logger = logging.getLogger(__name__)


def remove_leftovers(params: Params, paths: Paths) -> None:
    """Remove them before the folders are read; DVC's run-cache has them, should one come back.

    Only what dvc.lock names as the output of such a stage goes. What `fetch` downloaded stays. A
    stage that is run by hand removes nothing. `compare` and `report` do this, each for the folders
    that it watches: `check` is not run where DVC has seen a params.yaml before.
    """
    if RUN_BY_DVC not in os.environ:
        return
    for stage, path in _leftovers(params, paths):
        if is_running(paths, stage):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        logger.info("%s: removed; params.yaml has no entry for %s any more", path, stage)


def _leftovers(params: Params, paths: Paths) -> Iterator[tuple[str, Path]]:
    """Stage and output of each that is still there."""
    lock = paths.root / "dvc.lock"
    if not lock.exists():
        return
    # By the library alone: DVC wrote it, and it is longer than what people write may be.
    read: Any = YAML(typ="safe").load(lock) or {}
    stages = {name: _outputs(of_stage) for name, of_stage in read.get("stages", {}).items()}
    gone = {name for name in stages if _is_gone(name, _entries(params))}
    living = set().union(*(stages[name] for name in stages.keys() - gone))
    for name in sorted(gone):
        for path in sorted(stages[name] - living):
            if (found := paths.root / path).exists():
                yield name, found


def _outputs(of_stage: Any) -> set[str]:
    return {out["path"] for out in of_stage.get("outs", [])}


def _entries(params: Params) -> dict[str, Collection[str]]:
    """Of each stage of dvc.yaml that runs over a section, its entries."""
    return {
        "prepare": params.datasets,
        "crop": params.views,
        "audit": params.views,
        "weights": params.weights,
        "train": params.cases,
        "evaluate": params.cases,
        "cam": params.cases,
        "external": params.external,
    }


def _is_gone(stage: str, entries: dict[str, Collection[str]]) -> bool:
    verb, _, entry = stage.partition("@")
    return verb in entries and entry not in entries[verb]
