"""One process per stage and entry at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.config.writing import ADVICE, HOST, explain_refusal

TURN_S = 1.0  # by which the clocks of files and of processes may differ


@contextmanager
def only_one(paths: Paths, name: str) -> Iterator[None]:
    """Hold a lock file: a killed `dvc repro` leaves its stage running as an orphan.

    A second `dvc repro` would start the same stage beside it, both writing the same files. The
    system gives the lock back when its holder ends, however it ends.

    Raises:
        UserError: another process holds it, which is named; or the file cannot be written.
    """
    path = paths.lock(name)
    with _opened(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path}: another process is running this stage{_holder(path)} (an interrupted "
                "`dvc repro` leaves its stage at work); wait for it or stop it, then run again"
            ) from None
        lock.truncate(0)
        lock.write(f"{HOST} {os.getpid()}")
        lock.flush()
        yield


def is_running(paths: Paths, name: str) -> bool:
    """Whether a process holds the lock of a stage."""
    path = paths.lock(name)
    if not path.exists():
        return False
    with _opened(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="utf-8")  # "w" would take the holder's number out
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        raise UserError(explain_refusal(path, error)) from None
    with lock:
        yield lock


def _holder(path: Path) -> str:
    """`: process 12, since 14:05:00`, as far as it can be told."""
    host, _, number = path.read_text(encoding="utf-8").partition(" ")
    if not number.isdecimal():  # the holder has only just got the lock
        return ""
    if host != HOST:
        return f": process {number} on {host}"
    import psutil  # 20 ms, for this message alone

    try:
        process = psutil.Process(int(number))
        started = process.create_time()
        # Or a dead process wrote the file, and a younger one was given its number.
        if started > path.stat().st_mtime + TURN_S:
            return ""
        since = time.strftime("%H:%M:%S", time.localtime(started))
        return f": process {number}, since {since}"
    except psutil.Error:
        return ""
