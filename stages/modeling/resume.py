"""A training in progress on disk, from which a killed one goes on to the same bits.

DVC deletes the outputs of a stage before it runs it, so this lies outside of them, in data/scratch.
A file is one epoch's end; the newest two stay. Each has a JSON file beside it, written after it,
that says what it is of and what its bytes are: without one, or with other bytes, it was cut off.

A file is used by the very training that wrote it and by no other. Its fingerprint is of all that
determines the bits: start weights, random states, images, parameters, code, libraries, processor,
precision and threads.
"""

import json
import logging
import shutil
import time
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stages.config.errors import UserError
from stages.config.writing import replacing, write_json
from stages.modeling.checkpoint import library_versions
from stages.modeling.compute import Hardware, describe_device

if TYPE_CHECKING:
    from _hashlib import HASH

logger = logging.getLogger(__name__)

# The share of a training's time that writing may take. A kill costs the epoch that it falls into
# and, of the finished ones, those since the last write: at most fifty times as long as a write
# takes, so that an epoch longer than that is always written. Measured: cnn3, 3 MB in 0.02 s, is
# written every second or two; ResNet-18, 180 MB in 0.5 s, every half minute; VGG-16, 235 MB in
# 1.5 s, every minute and a half.
COST_SHARE = 0.02
# What the first write is reckoned to take; later ones are reckoned by the one before.
BYTES_PER_S = 200e6
LATENCY_S = 0.02  # of two files flushed to the disk
KEPT = 2  # files: should the newest be damaged, there is the one before
# Packages that a training's result depends on, as dvc.yaml has them; `config` says what is asked,
# and that is in the fingerprint as a value.
CODE = ("dataset", "imaging", "modeling", "phantoms")
STAGES = Path(__file__).parents[1]


class Checkpoints:
    """The files of one training.

    Args:
        folder: theirs alone; made when the first is written.
        facts: what the training is of that does not show in its start, such as its parameters.
    """

    def __init__(self, folder: Path, facts: Iterable[object]) -> None:
        self._folder = folder
        self._facts = list(facts)
        self._fingerprint = ""
        self._bytes_per_s = BYTES_PER_S
        self._since = time.perf_counter()

    def open(self, start: Iterable[object], hardware: Hardware) -> dict[str, Any] | None:
        """Bind the files to a training; the state to go on from, if there is one.

        Files of another training and damaged ones are removed, which the log says.

        Args:
            start: what the training begins with: tensors, numbers, text, and containers of them.
            hardware: device and precision.
        """
        self._fingerprint = _fingerprint(start, self._facts, _machine(hardware), _code())
        self._since = time.perf_counter()
        for note in sorted(self._folder.glob("epoch-*.json"), reverse=True):
            try:
                state = self._read(note)
            except _UnusableError as why:
                logger.warning("%s: %s; removed", note.with_suffix(".pt"), why)
                _remove(note)
            else:
                logger.info("%s: the training goes on from here", note.with_suffix(".pt"))
                return state
        shutil.rmtree(self._folder, ignore_errors=True)  # of a file that was cut off
        return None

    def offer(self, epoch: int, state: Mapping[str, Any], *, is_last: bool) -> None:
        """Write the end of an epoch, unless the time since the last write does not pay for it.

        A disk that does not take it is no reason to stop: the log says so, the training goes on.

        Args:
            epoch: that is finished.
            state: tensors, numbers, text, and containers of them.
            is_last: nothing is to follow, so the files before are needed no more.
        """
        size = _count_bytes(state)
        cost = LATENCY_S + size / self._bytes_per_s
        if (time.perf_counter() - self._since) * COST_SHARE < cost:
            return
        start = time.perf_counter()
        try:
            self._write(self._folder / f"epoch-{epoch:06d}.pt", state)
        except (UserError, RuntimeError) as error:  # torch's for a file that it cannot write
            logger.warning("%s: no checkpoint of epoch %d: %s", self._folder, epoch, error)
        else:
            for note in sorted(self._folder.glob("epoch-*.json"))[: -1 if is_last else -KEPT]:
                _remove(note)
            self._bytes_per_s = size / (time.perf_counter() - start)
        self._since = time.perf_counter()

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        with replacing(path) as partial:
            torch.save(dict(state), partial)
            digest = _digest_file(partial)
        write_json(path.with_suffix(".json"), {"of": self._fingerprint, "sha256": digest})

    def _read(self, note: Path) -> dict[str, Any]:
        path = note.with_suffix(".pt")
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            if said["of"] != self._fingerprint:
                raise _UnusableError(
                    "of a training with other parameters, code, data, libraries or processor"
                )
            if said["sha256"] != _digest_file(path):
                raise _UnusableError("damaged or cut off, so the one before it is looked at")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, UnpicklingError) as error:
            raise _UnusableError(f"cannot be read ({error})") from None
        return state


class _UnusableError(Exception):
    """A file that no training may go on from; its message says why."""


def _remove(note: Path) -> None:
    note.unlink(missing_ok=True)
    note.with_suffix(".pt").unlink(missing_ok=True)


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _machine(hardware: Hardware) -> list[object]:
    """What makes other bits of the same work."""
    return [
        *hardware,
        describe_device(hardware.device),
        torch.backends.cpu.get_cpu_capability(),
        torch.get_num_threads(),
        library_versions(),
    ]


@cache  # a case may have many runs
def _code() -> list[tuple[str, bytes]]:
    """The source files of the packages that a training's result depends on."""
    files = sorted(file for package in CODE for file in (STAGES / package).rglob("*.py"))
    return [(file.relative_to(STAGES).as_posix(), file.read_bytes()) for file in files]


def _fingerprint(*parts: Iterable[object]) -> str:
    digest = sha256()
    for part in parts:
        for value in part:
            _digest(digest, value)
    return digest.hexdigest()


def _digest(digest: "HASH", value: object) -> None:
    """Take in a value, with its kind and length, so that no two of different structure agree."""
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        _digest(digest, list(value.items()))
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} of".encode())
        for part in value:
            _digest(digest, part)
    else:
        text = repr(value).encode()
        digest.update(f"{len(text)}:".encode() + text)


def _count_bytes(value: object) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_count_bytes(part) for part in value.values())
    return sum(map(_count_bytes, value)) if isinstance(value, list | tuple) else 8
