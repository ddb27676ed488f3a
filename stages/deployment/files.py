"""Which files are meant by the paths of a command line."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stages.sources.formats import DIRECTORY_NAME, START_BYTES, recognise
from stages.sources.matching import has_image_ending
from stages.sources.tree import DROPPINGS
from stages.sources.volumes import DIRECTORY

logger = logging.getLogger(__name__)

HIDDEN = "hidden, or left behind by an operating system"
NO_IMAGE = "no image by name or content"
NO_FILE = "neither a file nor a folder"
BACK = "a link back to a folder around it"

# What files of plain pictures begin with.
STARTS = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"II+\0"),
    *(b"MM\0+", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
)


class File(NamedTuple):
    """A file to be predicted, or what is called so and cannot be one.

    Attributes:
        name: as given or, inside a folder given, that path and the one in it.
        problem: why it cannot be looked at; "" where it can.
    """

    name: str
    problem: str = ""


def list_files(paths: Sequence[str]) -> list[File]:
    """The files meant, in the order given; those of a folder at any depth, by their names' bytes.

    A file that is named is meant, whatever it is. Of a folder hidden files are left out, and those
    that neither are called like an image nor begin like one; how many is said in the log.
    """
    left_out: Counter[str] = Counter()
    files: list[File] = []
    for path in paths:
        meant = list(_meant_by(path, left_out))
        if not meant:
            logger.warning("%s: there is no image in it", path)
        files += meant
    for reason, count in left_out.items():
        logger.warning("%d left out: %s", count, reason)
    return files


def _meant_by(path: str, left_out: Counter[str]) -> Iterator[File]:
    if os.path.isdir(path):
        yield from _inside(path, left_out)
    elif os.path.lexists(path):
        yield File(path)
    else:
        yield File(path, "there is no such file or folder")


def _inside(folder: str, left_out: Counter[str]) -> Iterator[File]:
    """Files below a folder. A loop of its own: `os.walk` of Python 3.11 goes as deep as the stack.

    What waits is a stack, the first name on top, each with the real paths of the folders around.
    """
    waiting: list[tuple[str, tuple[str, ...]]] = [(folder, ())]
    while waiting:
        path, around = waiting.pop()
        if not os.path.isdir(path):
            if reason := _why_not(path):
                left_out[reason] += 1
            else:
                yield File(path)
            continue
        real = os.path.realpath(path)
        if real in around:
            left_out[BACK] += 1
            continue
        try:
            names = sorted(os.listdir(path), key=os.fsencode, reverse=True)
        except OSError as error:
            yield File(path, f"cannot be listed ({error.strerror})")
            continue
        for name in names:
            if name.startswith(".") or name.lower() in DROPPINGS:
                left_out[HIDDEN] += 1
            elif name == DIRECTORY_NAME:
                left_out[DIRECTORY] += 1
            else:
                waiting.append((os.path.join(path, name), (*around, real)))


def _why_not(path: str) -> str:
    """Why a file of a folder is not meant; "" where it is."""
    if has_image_ending(path):
        return ""  # whatever is wrong with it, its row says so
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe might never end
            return NO_FILE
        with open(path, "rb") as file:
            start = file.read(START_BYTES)
    except OSError:
        return NO_IMAGE
    return "" if start.startswith(STARTS) or recognise(start) else NO_IMAGE
