"""One process per stage and entry at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from stages.config.errors import UserError
from stages.config.paths import Paths


@contextmanager
def only_one(paths: Paths, name: str) -> Iterator[None]:
    """Hold a lock file: a killed `dvc repro` leaves its stage running as an orphan.

    A second `dvc repro` would start the same stage beside it, both writing the same files.

    Raises:
        UserError: another process holds it.
    """
    path = paths.scratch("locks") / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path}: another process is running this stage (an interrupted `dvc repro` "
                "leaves its stage at work); wait for it or stop it, then run again"
            ) from None
        yield
