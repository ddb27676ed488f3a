"""Work in progress that nobody will go on with."""

import logging
import shutil
from collections.abc import Collection

from stages.config.lock import is_running
from stages.config.params import Params
from stages.config.paths import Paths

logger = logging.getLogger(__name__)


def clean_scratch(params: Params, paths: Paths) -> None:
    """Remove what killed stages of entries that params.yaml no longer has left in data/scratch.

    What the stage of an entry left is its own to go on with, or to remove when it runs next. A
    stage at work, started before its entry was taken out, is left alone.
    """
    entries: dict[str, Collection[str]] = {
        "fetch": params.downloads,
        "prepare": params.datasets,
        "train": params.cases,
        "weights": params.weights,
    }
    for folder in paths.scratch("").glob("*-*"):
        stage, _, entry = folder.name.partition("-")
        is_known = stage not in entries or entry in entries[stage]
        if is_known or is_running(paths, f"{stage}@{entry}"):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        logger.info("%s: removed; params.yaml has no %r any more", folder, entry)
