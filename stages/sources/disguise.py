"""Identifiers and names of files as keyed hashes, for data sets that are grouped by DICOM headers.

Names of exported files are made of names of people, identifiers and dates, in any spelling, and a
broken file does not even tell which; so every name below the class folders is hidden, and not only
those that a header has too. Names in params.yaml stay, and so do those of splits.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.config.errors import UserError
from stages.config.params import Dataset, DicomGroup
from stages.sources.formats import DIRECTORY_NAME
from stages.sources.matching import IMAGE_ENDINGS
from stages.sources.names import composed, split_ending, split_of
from stages.sources.tree import DROPPINGS

HASH_BYTES = 8  # of a million names, two have the same hash once in 40 million sets
MEMBER = re.compile(r"member ('.*?'|\".*?\")")


class Disguise:
    """Hides the names of one data set."""

    def __init__(self, dataset: Dataset, salt: str) -> None:
        """Take the key, and the names that may be shown."""
        self._key = hashlib.blake2b(salt.encode()).digest()
        folders = [folder for names in dataset.classes.values() for folder in names]
        self._shown = {composed(name) for name in (*folders, *dataset.ignore, DIRECTORY_NAME)}

    def hash(self, text: str) -> str:
        """A keyed hash (BLAKE2b, RFC 7693) in hexadecimal digits."""
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=HASH_BYTES).hexdigest()

    def name(self, name: str) -> str:
        """What is written of the name of a file or folder; the ending of a picture stays."""
        if self._may_be_shown(name):
            return name
        return self.hash(composed(name)) + _ending(name)

    def path(self, path: str) -> str:
        """A path inside the source, name by name."""
        return "/".join(self.name(part) if part else "" for part in path.split("/"))

    def message(self, text: str, root: Path) -> str:
        """A message without the names below the folder of the source.

        Messages have names in quotes or between slashes.
        """
        inside = re.compile(rf"(['\"]){re.escape(str(root))}/(.*?)\1")
        text = inside.sub(lambda m: f"{m[1]}{root}/{self.path(m[2])}{m[1]}", text)
        text = MEMBER.sub("a member", text)
        hidden = (name for name in _names_below(root) if not self._may_be_shown(name))
        for name in sorted(hidden, key=len, reverse=True):
            for spelt in {name, repr(name)[1:-1], ascii(name)[1:-1]}:
                if spelt in text:
                    bounded = rf"(?<=['\"/]){re.escape(spelt)}(?=['\"/:;,]|$|\s)"
                    text = re.sub(bounded, self.name(name), text)  # a hash has no backslash
        return text

    def _may_be_shown(self, name: str) -> bool:
        is_known = composed(name) in self._shown or name.lower() in DROPPINGS
        return is_known or split_of(name) is not None


def disguise_of(dataset: Dataset) -> Disguise | None:
    """That of a data set which is grouped by headers; others hide nothing."""
    return Disguise(dataset, dataset.group.salt) if isinstance(dataset.group, DicomGroup) else None


@contextmanager
def hiding_names(dataset: Dataset, root: Path) -> Iterator[None]:
    """Hide the names of files in the errors of the block, where the data set hides any."""
    try:
        yield
    except UserError as error:
        disguise = disguise_of(dataset)
        if disguise is None:
            raise
        raise UserError(*(disguise.message(line, root) for line in error.args)) from None


def _ending(name: str) -> str:
    """The ending of a picture, in small letters; others may be numbers of people too."""
    ending = split_ending(name)[1].lower()
    return ending if ending in IMAGE_ENDINGS else ""


def _names_below(root: Path) -> set[str]:
    """All names of files and folders; none where there is no folder."""
    found: set[str] = set()
    for _, folders, files in os.walk(root):
        found.update(folders, files)
    return found
