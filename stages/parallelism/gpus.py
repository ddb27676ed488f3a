"""The GPUs of a machine, each lent to one stage at a time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

VISIBLE = "CUDA_VISIBLE_DEVICES"


def list_gpus() -> list[str]:
    """Names by which CUDA knows those that this process may use, such as 0 or GPU-8f…."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip()]
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [str(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def lend_gpus(count: int | None) -> Iterator[dict[str, str]]:
    """Give variables by which a stage sees so many GPUs that no other stage of this worker sees.

    Dask starts no more stages than there are GPUs for. None: it is not counted who uses them.
    """
    if count is None:
        yield {}
        return
    shelf = _shelf()
    lent = [shelf.take() for _ in range(count)]
    try:
        yield {VISIBLE: ",".join(lent)} if shelf.has_any else {}
    finally:
        for name in lent:
            shelf.give_back(name)


class _Shelf:
    def __init__(self, names: list[str]) -> None:
        self.has_any = bool(names)
        self._free = names
        self._changed = threading.Condition()

    def take(self) -> str:
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            return self._free.pop(0)

    def give_back(self, name: str) -> None:
        with self._changed:
            self._free.append(name)
            self._changed.notify()


@cache
def _shelf() -> _Shelf:
    """Of this worker's process."""
    return _Shelf(list_gpus())
