"""A command of DVC that ends with whoever started it: `python -m … repro --single-item <stage>`.

A worker that is killed leaves its children at work, and they would write the files that another
worker is told to make. Standard input is held open by the worker alone, and so ends with it. Then
what DVC has started is killed; DVC itself notices, and ends without a half-written file of its own.
"""

import os
import sys
import threading
import time

LOOK_EVERY_S = 0.1


def main() -> None:
    """DVC's command line, whose commands are killed when standard input ends."""
    leash = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # what DVC starts would hold the leash too
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    from dvc.cli import main as dvc

    sys.exit(dvc(["--wait-for-lock", *sys.argv[1:]]))


def _end_with(leash: int) -> None:
    while os.read(leash, 1):
        pass
    import psutil

    this = psutil.Process()
    while True:  # it may be about to start its command
        for child in this.children(recursive=True):
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
