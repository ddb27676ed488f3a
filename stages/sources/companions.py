"""Masks, overlays and other companions of pictures, which would pass for pictures of a class.

Below a class folder lie patients and studies, but in public sets also kinds of pictures:
COVID/images beside COVID/masks. A folder is taken for such a kind by its name; where its name is
a word, not a number, also because it holds files of the same names as the folder beside it, or
because the same two folders lie in every class. Which kind shows the class nobody can know here:
the run stops, and `ignore` decides, with the name of the folder or with `!` and its name. `!*`
keeps what is only suspected, but neither masks nor splits: these have to be named.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from stages.config.errors import UserError
from stages.sources.names import (
    PICTURE_ENDINGS,
    composed,
    has_digit,
    is_kind,
    kind_in_file_name,
    pieces,
    split_of,
    stem_of,
    words,
)
from stages.sources.tree import ClassFolder, Tree

# More folders of names side by side are taken for patients: public sets have two to five kinds.
MOST_KINDS = 8
ENOUGH = 0.5  # share of the names of the smaller folder that two kinds of pictures have in common
LEAST_SHAPES = 4  # of file names, digits aside, from which they are no count
SHOWN = 5  # names in a message
NO_PICTURES = "are by their names no pictures of a class"
PICTURES = frozenset({"image", "images", "img", "imgs", "picture", "pictures", "original", "raw"})
SUFFIX = re.compile(r"(.+?)[-_. ]+([^\W\d_]{2,})")  # `a_lung`: base and word


class CompanionsFound(UserError):
    """Folders or files below class folders that may be no pictures of their class.

    Attributes:
        entries: names or patterns that `ignore` would take.
        folders: whether they are folders.
        named: whether their names say what they are; else it is suspected.
    """

    def __init__(self, line: str, entries: Sequence[str], *, folders: bool, named: bool) -> None:
        """Make a message of one line."""
        super().__init__(line)
        self.entries = tuple(entries)
        self.folders, self.named = folders, named


class _Level(NamedTuple):
    """What a folder holds.

    Attributes:
        folders: of each folder the paths below it, without the endings of files.
        loose: names of the files beside these, without endings.
    """

    folders: dict[str, list[str]]
    loose: list[str]


class _Found(NamedTuple):
    """A suspect: what to write into `ignore`, how many files that takes out, one of them."""

    entry: str
    files: int
    example: str


def require_pictures_alone(folders: Sequence[ClassFolder], tree: Tree) -> None:
    """Stop where folders or files below class folders are no pictures of their class.

    Raises:
        CompanionsFound: with their names, how many files they are, and what to add to `ignore`.
    """
    levels = {folder.path: _levels(folder) for folder in folders}
    every = {path: level for found in levels.values() for path, level in found.items()}
    named = [(path, name) for path, level in every.items() for name in level.folders]
    kinds = [(path, name) for path, name in named if is_kind(name) and not split_of(name)]
    _refuse(kinds, every, tree, tree.kept_by_name, NO_PICTURES)
    _refuse_files(folders, tree)
    same_files, everywhere = _with_same_files(every), _in_every_class(folders, levels, tree)
    _refuse(same_files, every, tree, tree.kept, "hold files of the same names")
    _refuse(everywhere, every, tree, tree.kept, "lie in every class")


def _levels(folder: ClassFolder) -> dict[Path, _Level]:
    """What the class folder and each folder below it hold."""
    levels: dict[Path, _Level] = defaultdict(lambda: _Level(defaultdict(list), []))
    for file in folder.files:
        *around, name = file.relative_to(folder.path).parts
        stem = stem_of(name)
        levels[file.parent].loose.append(stem)
        here = folder.path
        for number, name in enumerate(around, start=1):
            levels[here].folders[name].append("/".join((*around[number:], stem)))
            here = here / name
    return levels


# ---- folders ---------------------------------------------------------------------------------


def _with_same_files(levels: Mapping[Path, _Level]) -> Iterator[tuple[Path, str]]:
    """Folders that hold what the folder beside them, or the files beside them, are called."""
    for path, level in levels.items():
        names = [name for name in level.folders if not split_of(name)]
        if len(names) > MOST_KINDS:
            names = [name for name in names if not has_digit(name)]
        if len(names) > MOST_KINDS:
            continue
        for first, second in combinations(names, 2):
            are_words = not has_digit(first) and not has_digit(second)
            if _are_alike(level.folders[first], level.folders[second], are_words=are_words):
                yield from ((path, first), (path, second))
        for name in names:
            if _are_alike(level.folders[name], level.loose, are_words=not has_digit(name)):
                yield path, name


def _are_alike(first: Sequence[str], second: Sequence[str], *, are_words: bool) -> bool:
    """Whether most files of the smaller list have a namesake in the other.

    Slices of patients are counted alike, so between folders with numbers in their names only
    names that are no mere count tell anything.
    """
    for change in (set, _without_last_word):
        one, other = change(first), change(second)
        shared = one & other
        if shared and len(shared) >= ENOUGH * min(len(one), len(other)):
            return are_words or _are_no_count(shared)
    return False


def _without_last_word(stems: Sequence[str]) -> set[str]:
    """`a_lung`, `b_lung` as a, b; as they were where different ones would become one."""
    bases = {match[1] if (match := SUFFIX.fullmatch(stem)) else stem for stem in stems}
    return bases if len(bases) == len(set(stems)) else set(stems)


def _are_no_count(stems: Iterable[str]) -> bool:
    """Whether names such as UUIDs differ in more than numbers; `front` and `side` recur too."""
    names = [stem.rpartition("/")[2] for stem in stems]
    shapes = {re.sub(r"\d+", "#", name) for name in names if has_digit(name)}
    return len(shapes) >= max(LEAST_SHAPES, len(names) / 2)


def _in_every_class(
    folders: Sequence[ClassFolder], levels: Mapping[Path, Mapping[Path, _Level]], tree: Tree
) -> Iterator[tuple[Path, str]]:
    """Two or more folders side by side, named by words, that lie as deep in every class."""
    of_class: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for folder in folders:
        for path, level in levels[folder.path].items():
            depth = len(path.relative_to(folder.path).parts)
            of_class[folder.label] |= {(depth, _folded(name)) for name in level.folders}
    common = set.intersection(*of_class.values()) if len(of_class) > 1 else set()
    for folder in folders:
        for path, level in levels[folder.path].items():
            depth = len(path.relative_to(folder.path).parts)
            found = [
                name
                for name in level.folders
                if (depth, _folded(name)) in common
                and not (has_digit(name) or split_of(name) or path / name in tree.kept)
            ]
            if 1 < len(found) <= MOST_KINDS:
                yield from ((path, name) for name in found)


def _folded(name: str) -> str:
    return composed(name).casefold().strip()


def _refuse(
    found: Iterable[tuple[Path, str]],
    levels: Mapping[Path, _Level],
    tree: Tree,
    kept: Set[Path],
    what: str,
) -> None:
    """Stop on folders that are not kept."""
    suspects = sorted({(path, name) for path, name in found if path / name not in kept})
    if not suspects:
        return
    files: Counter[str] = Counter()
    for path, name in suspects:
        files[name] += len(levels[path].folders[name])
    examples = {name: tree.inside(path / name) for path, name in reversed(suspects)}
    listed = [_Found(name, files[name], f"{examples[name]}/") for name in sorted(files)]
    _stop(tree, "folders", listed, what)


# ---- files -----------------------------------------------------------------------------------


def _refuse_files(folders: Sequence[ClassFolder], tree: Tree) -> None:
    """Stop on files that are companions of others in the same folder."""
    in_folder: dict[Path, list[Path]] = defaultdict(list)
    for folder in folders:
        for file in folder.files:
            in_folder[file.parent].append(file)
    for find, kept, what in (
        (_named_kinds, tree.kept_by_name, NO_PICTURES),
        (_suffixed, tree.kept, "are called like files beside them but for a last word"),
        (_twins, tree.kept, "are called alike but for their endings"),
    ):
        found: dict[str, list[Path]] = defaultdict(list)
        for files in in_folder.values():
            for pattern, file in find([file for file in files if file not in kept]):
                found[pattern].append(file)
        if found:
            listed = [
                _Found(pattern, len(files), tree.inside(min(files)))
                for pattern, files in sorted(found.items())
            ]
            _stop(tree, "files", listed, what)


def _named_kinds(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Files such as `a_mask.png`; with less telling words (`a_seg.png`) only beside an `a.png`."""
    kinds = {file: kind for file in files if (kind := kind_in_file_name(stem_of(file.name)))}
    rest = Counter(kind.rest for kind in kinds.values())
    for file in files:
        if file not in kinds:
            called = tuple(pieces(stem_of(file.name)))
            rest.update((called, called[:-1]))  # `a.png`, `a_ct.png`
    for file, kind in kinds.items():
        shorter = kind.rest[:-1]  # `a_mask_2.png` beside `a.png`
        has_partner = rest[kind.rest] > 1 or (shorter and shorter in rest)
        if kind.is_plain or has_partner:
            yield kind.pattern, file


def _suffixed(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Files such as `a_lung.png` beside `a.png` or `a_ct.png`, where most have such a one."""
    of_base: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in files:
        stem = stem_of(file.name)
        of_base[stem][""] = file
        match = SUFFIX.fullmatch(stem)
        if match:
            of_base[match[1]][stem[len(match[1]) :]] = file
    count = Counter(suffix for found in of_base.values() if len(found) > 1 for suffix in found)
    common = [{s: f for s, f in found.items() if count[s] > 1} for found in of_base.values()]
    together = [found for found in common if len(found) > 1]
    # Two thirds: of pictures every second one has a companion.
    if len({file for found in together for file in found.values()}) >= len(files) * 2 / 3:
        for found in together:
            yield from ((f"*{suffix}.*", file) for suffix, file in found.items() if suffix)


def _twins(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Files such as `a.jpg` and `a.png`, where half of all names are there twice."""
    endings: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in files:
        if file.suffix.lower() in PICTURE_ENDINGS:
            endings[stem_of(file.name)][file.suffix] = file
    twice = [found for found in endings.values() if len(found) > 1]
    if len(twice) > 1 and len(twice) >= ENOUGH * len(endings):
        for found in twice:
            yield from ((f"*{suffix}", file) for suffix, file in found.items())


def _stop(tree: Tree, what: str, found: Sequence[_Found], why: str) -> None:
    """Name suspects, and the two ways to decide."""
    listed = ", ".join(
        f"{one.entry!r} ({one.files:,} files, such as {one.example!r})" for one in found[:SHOWN]
    )
    more = f" and {len(found) - SHOWN} others" if len(found) > SHOWN else ""
    first = next((one.entry for one in found if not PICTURES & {*words(one.entry)}), found[0].entry)
    everything = "" if why == NO_PICTURES else " ('!*' for all)"
    raise CompanionsFound(
        f"{tree.root}: {what} below class folders {why}: {listed}{more}; add those that do not "
        f"show the class to ignore, such as {first!r}, and those that do with a '!', such as "
        f"{f'!{first}'!r}{everything}",
        [one.entry for one in found],
        folders=what == "folders",
        named=why == NO_PICTURES,
    )
