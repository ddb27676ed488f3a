"""Which file a row of a table means, where names in tables and on disk are not spelt alike.

The strictest reading that finds a file wins: first the same path, then the end of one (a name
alone, or a folder more or less around), then the same name in another folder; each first as it
stands, then tidied (spaces, Unicode form, slashes), without case, and without the ending. A row
that fits several files equally well gets none of them, and a file that has a row is no other's
unless that is the only one it could mean.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from stages.sources.identity import tidy
from stages.sources.names import PACKED_VOLUME, split_ending

# Endings that tables leave out or spell otherwise; of other names the part behind the last dot
# belongs to the name.
IMAGE_ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp"}
    | {".jp2", ".pgm", ".ppm", ".pnm", ".dcm", ".dicom"}
    | {".nii", PACKED_VOLUME}
)

Parts = tuple[str, ...]  # of a path


class Found(NamedTuple):
    """What the name in a row means: one file, none, or several that fit equally well."""

    files: tuple[str, ...]
    how: str


class _Spelling(NamedTuple):
    """One way to read names."""

    said: str
    of_row: Callable[[str], Parts]
    of_file: Callable[[str], Parts]
    keeps_ending: bool = True  # of a row that has one


class _Place(NamedTuple):
    """Where a file may stand whose name is the row's."""

    said: str
    holds: Callable[[Parts, Parts], bool]  # parts of the row, parts of the file
    needs_only_one: bool  # whether no other row or file may have that name


def has_image_ending(path: str) -> bool:
    """Whether a name looks like that of an image."""
    return split_ending(path)[1].lower() in IMAGE_ENDINGS


def match_names(names: Iterable[str], files: Sequence[str]) -> dict[str, Found]:
    """Find the file of every name that has one.

    Args:
        names: what the rows say: paths, names or names without their ending.
        files: paths inside the source, each once.

    Returns:
        Name to its file, or to the several that it fits; names that fit none are left out.
    """
    distinct = list(dict.fromkeys(names))
    indexes = [_Index(spelling, distinct, files) for spelling in SPELLINGS]
    rules = [(place, index) for place in PLACES for index in indexes]
    found: dict[str, Found] = {}
    taken: set[str] = set()
    for place, index in rules:
        fitting = index.find(place, found, taken)
        found |= fitting
        taken.update(files[0] for files, _ in fitting.values() if len(files) == 1)
    # What is left may be second rows of files, but not by another ending: that is another file.
    for place, index in rules:
        if place.needs_only_one or not index.spelling.keeps_ending:
            continue
        found |= index.find(place, found, set())
    return found


class _Index:
    """Files and rows by the last part of their names, in one spelling."""

    def __init__(self, spelling: _Spelling, names: Sequence[str], files: Sequence[str]) -> None:
        self.spelling = spelling
        self.parts = {name: spelling.of_row(name) for name in names}
        self.files: Mapping[str, list[tuple[Parts, str]]] = defaultdict(list)
        for file in files:
            parts = spelling.of_file(file)
            self.files[_last(parts)].append((parts, file))
        self.n_rows: Mapping[str, int] = defaultdict(int)
        for parts in self.parts.values():
            self.n_rows[_last(parts)] += 1
        self.names = [name for name, parts in self.parts.items() if _last(parts) in self.files]

    def find(self, place: _Place, found: Mapping[str, Found], taken: set[str]) -> dict[str, Found]:
        """Names not found yet to the files, not taken yet, that they fit at that place."""
        how = place.said + self.spelling.said
        return {
            name: Found(files, how)
            for name in self.names
            if name not in found and (files := self._look_up(name, place, taken))
        }

    def _look_up(self, name: str, place: _Place, taken: set[str]) -> tuple[str, ...]:
        parts = self.parts[name]
        alike = self.files[_last(parts)]
        if place.needs_only_one and (self.n_rows[_last(parts)] > 1 or len(alike) > 1):
            return ()
        return tuple(f for found, f in alike if f not in taken and place.holds(parts, found))


def _last(parts: Parts) -> str:
    return parts[-1] if parts else ""


def _as_it_stands(path: str) -> Parts:
    return tuple(path.split("/"))


def _tidied(path: str) -> Parts:
    """Parts without `.`, `..` and empty ones, whichever way the slashes lean."""
    parts = (tidy(part) for part in path.replace("\\", "/").split("/"))
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _without_case(parts: Callable[[str], Parts]) -> Callable[[str], Parts]:
    return lambda path: tuple(part.casefold() for part in parts(path))


def _without_ending(path: str) -> Parts:
    parts = _tidied(path)
    return (*parts[:-1], split_ending(parts[-1])[0]) if parts else parts


def _without_image_ending(path: str) -> Parts:
    return _without_ending(path) if has_image_ending(tidy(path)) else _tidied(path)


def _is_end(row: Parts, file: Parts) -> bool:
    """Whether one is the end of the other."""
    shorter = min(len(row), len(file))
    return row[-shorter:] == file[-shorter:]


SPELLINGS = (
    _Spelling("", _as_it_stands, _as_it_stands),
    _Spelling(", tidied", _tidied, _tidied),
    _Spelling(", without case", _without_case(_tidied), _without_case(_tidied)),
    _Spelling(", without ending", _tidied, _without_ending),
    _Spelling(", without case and ending", _without_case(_tidied), _without_case(_without_ending)),
    _Spelling(", other ending", _without_image_ending, _without_ending, keeps_ending=False),
    _Spelling(
        ", other ending and case",
        _without_case(_without_image_ending),
        _without_case(_without_ending),
        keeps_ending=False,
    ),
)
PLACES = (
    _Place("path", lambda row, file: row == file, needs_only_one=False),
    _Place("name", lambda row, file: len(row) == 1 and row == file[-1:], needs_only_one=False),
    _Place("end of path", _is_end, needs_only_one=False),
    _Place("name in another folder", lambda _row, _file: True, needs_only_one=True),
)
