"""Download what data sets and weights need, once, so that DVC keeps it.

Reads:  downloads.<name>
Writes: data/downloads/<name>/: the files, or what they hold, and .download.json
"""

import logging
import os
import shutil

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.downloads.fetching import fetch_files
from stages.downloads.receipt import write_receipt

logger = logging.getLogger(__name__)


def fetch_download(params: Params, name: str, paths: Paths) -> None:
    """Write the folder of one download, whole or not at all.

    What is half here stays in scratch, for the next run to go on with.
    """
    files = params.download(name)
    scratch = paths.scratch(f"fetch-{name}")
    folder = scratch / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        fetched = fetch_files(files, folder, scratch, name)
    except UserError as error:
        raise UserError(f"params.yaml: {error}") from None
    write_receipt(folder, files, fetched)
    target = paths.download(name)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, target)
    shutil.rmtree(scratch, ignore_errors=True)
    for file in filter(None, (found.name for found in fetched.values())):
        if (target / file).is_file():
            logger.info("%s: for source.path", target / file)


if __name__ == "__main__":
    run_stage(fetch_download, __doc__, section="downloads")
