"""Where the class folders of a source are, which splits lie around them, and what is neither.

The listing (`stages/sources/folder.py`) wants all folders at class level named, as a class or as
ignored; here names and places are weighed to say which. Its rules decide in the end.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stages.adoption.class_names import bare, known_class
from stages.adoption.folder_tree import Folder
from stages.sources.names import is_kind, split_of, words

# Folders of what comes with a set without being of it, by all of their words.
NO_CLASS = frozenset(
    "doc docs documentation figure figures fig figs code codes src script scripts notebook "
    "notebooks model models weight weights checkpoint checkpoints result results output outputs "
    "plot plots assets asset baseline baselines demo demos example examples sample samples "
    "metadata meta readme paper papers utils tests logs log backup raw original originals "
    "image images img imgs picture pictures data dataset unlabelled unlabeled method methods "
    "csv txt table tables splits".split()
)
MOST_CLASSES = 20  # more folders side by side are patients
MOST_NUMBERED = 6  # folders called alike but for a number, from which on they are patients


class Ignored(NamedTuple):
    """A folder that is no class folder: what to write into `ignore`, and why.

    Attributes:
        entry: of `ignore`.
        reason: in words.
        may_belong: whether it has class folders of its own.
    """

    entry: str
    reason: str
    may_belong: bool


class Level(NamedTuple):
    """Class folders side by side, and the split that they are of."""

    folder: Folder
    split: str | None
    classes: tuple[Folder, ...]


class Layout(NamedTuple):
    """A reading of a source.

    Attributes:
        levels: one, or one for each of the splits that came as folders around classes.
        ignored: other folders on the way to these and beside them.
    """

    levels: tuple[Level, ...]
    ignored: tuple[Ignored, ...]

    @property
    def names(self) -> list[str]:
        """Names of class folders, each once."""
        return list(dict.fromkeys(f.name for level in self.levels for f in level.classes))

    @property
    def is_sure(self) -> bool:
        """Whether two classes or more are called as in other sets."""
        return _count_known(self.levels) >= 2


class _Reading(NamedTuple):
    levels: tuple[Level, ...]

    def rank(self) -> tuple[int, int, bool, int]:
        """What makes it better than another: known classes, pictures, no masks, nearness."""
        pictures = sum(f.count_pictures() for level in self.levels for f in level.classes)
        folder = self.levels[0].folder
        is_plain = not any(is_kind(part) for part in folder.path.split("/"))
        return min(2, _count_known(self.levels)), pictures, is_plain, -_depth(folder)


def find_layout(top: Folder) -> Layout | None:
    """The best reading of a source as class folders, or None where it has none."""
    readings = list(_readings(top))
    if not readings:
        return None
    best = max(readings, key=_Reading.rank)
    return Layout(best.levels, tuple(_find_ignored(top, best.levels)))


def _readings(folder: Folder) -> Iterator[_Reading]:
    """All places at which class folders may stand, below a folder."""
    inner = [f for f in folder.folders.values() if f.count_pictures()]
    splits = [f for f in inner if split_of(f.name)]
    if splits:
        yield from _split_readings(splits)
    classes = _class_folders(inner)
    if classes and not splits:
        yield _Reading((Level(folder, None, classes),))
    for child in inner:
        if not split_of(child.name):
            yield from _readings(child)


def _split_readings(splits: Sequence[Folder]) -> Iterator[_Reading]:
    """Split folders with class folders in them; those that lack a class are left out."""
    levels = []
    for folder in splits:
        inner = [reading for reading in _readings(folder) if len(reading.levels) == 1]
        if inner:
            best = max(inner, key=_Reading.rank).levels[0]
            levels.append(best._replace(split=split_of(folder.name)))
    if not levels:
        return
    labels = {label for level in levels for label in _labels(level)}
    whole = [level for level in levels if set(_labels(level)) == labels]
    if not whole:  # no split has all classes: those of the largest are what there is
        largest = max(levels, key=lambda level: level.folder.count_pictures())
        whole = [level for level in levels if set(_labels(level)) == set(_labels(largest))]
    yield _Reading(tuple(whole))


def _class_folders(folders: Sequence[Folder]) -> tuple[Folder, ...]:
    """Those of some folders side by side that may each be a class."""
    found = [f for f in folders if not (split_of(f.name) or is_kind(f.name) or _is_other(f.name))]
    known = [f for f in found if known_class(f.name)]
    if len(found) < 2 or len(found) > MOST_CLASSES:
        return ()
    shapes = {re.sub(r"\d+", "#", f.name.lower()) for f in found}
    if not known and len(found) > MOST_NUMBERED and len(shapes) == 1 and "#" in shapes.pop():
        return ()
    return tuple(found)


def _is_other(name: str) -> bool:
    """Whether a folder is of code, documents or pictures in general, by its name."""
    spelt = words(name)
    return bool(spelt) and all(word in NO_CLASS for word in spelt)


def _find_ignored(top: Folder, levels: Sequence[Level]) -> Iterator[Ignored]:
    """Every folder on the way to the class folders that is not on it."""
    kept = {f.path for level in levels for f in level.classes}
    ways = {"", *kept}
    for path in kept:
        parts = path.split("/")
        ways.update("/".join(parts[:n]) for n in range(1, len(parts)))
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        for child in folder.folders.values():
            if child.path not in ways:
                has_classes = next(_readings(child), None) is not None
                yield Ignored(as_entry(child.path), _why_ignored(child, has_classes), has_classes)
            elif child.path not in kept:
                waiting.append(child)


def _why_ignored(folder: Folder, has_classes: bool) -> str:
    count = folder.count_pictures()
    if not count:
        return "no pictures in it"
    if has_classes:
        return f"{count:,} pictures in other class folders; these may be the same pictures again"
    if is_kind(folder.name):
        return f"{count:,} masks or the like, by its name"
    if split_of(folder.name):
        return f"{count:,} pictures in a {split_of(folder.name)} folder that lacks class folders"
    return f"{count:,} pictures that are in no class folder"


def as_entry(path: str) -> str:
    """An entry of `ignore` that means this path inside the source and no other."""
    return "/" + re.sub(r"([\\*?\[\] ])", r"\\\1", path)


def _labels(level: Level) -> list[str]:
    """Classes of a level, in one spelling."""
    return sorted({known_class(f.name) or bare(f.name) or f.name for f in level.classes})


def _count_known(levels: Sequence[Level]) -> int:
    return len({known for f in levels[0].classes if (known := known_class(f.name))})


def _depth(folder: Folder) -> int:
    return folder.path.count("/") + bool(folder.path)
