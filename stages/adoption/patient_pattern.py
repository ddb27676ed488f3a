"""Who is one patient, as far as names tell: a pattern that groups convincingly, or none.

A pattern is proposed for names that begin alike but for numbers (`person12_bacteria_3.jpeg`,
`00000061_012.png`), up to one of their numbers. It has to make many groups of which some have
several images: that of `COVID-19_0012.png` would make one of all, or one of each.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.adoption.name_shapes import (
    NUMBER,
    Shape,
    escaped,
    groups_well,
    ids_of,
    shape_of,
    word_before,
)
from stages.adoption.patient_folders import folder_patterns
from stages.config.params import MAX_TEXT
from stages.sources.identity import find_restart
from stages.sources.item import SourceItem
from stages.sources.names import split_of, stem_of

LEAST_FILES = 5  # that are called alike
MOST_NUMBERS = 3  # of a name, behind which a patient may end
YEAR = re.compile(r"(19|20)\d\d")
# Names of the figures of a paper, as UCSD COVID-CT has them: `2020.03.01-p12-67%1.png`.
PAPER_FIGURE = r"(.+)-p\d+-\d+"


class PatientPattern(NamedTuple):
    """A pattern for `group`, and what it finds.

    Attributes:
        pattern: regular expression; its first group that takes part is the patient.
        patients_per_class: whether ids begin anew in each class.
        patients: how many it finds,
        images: in so many images.
        why: what they are taken from, in words.
        leaking: how many of them are in two of the splits that came with the data.
    """

    pattern: str
    patients_per_class: bool
    patients: int
    images: int
    why: str
    leaking: int


def find_patient_pattern(items: Sequence[SourceItem]) -> PatientPattern | None:
    """The pattern that groups images by patient, or None where no name tells.

    Args:
        items: images of a source, with their labels and given splits.
    """
    for pattern, why in (*folder_patterns(items), *_of_names(items)):
        found = _weigh(pattern, why, items)
        if found and len(found.pattern) <= MAX_TEXT:
            return found
    return None


# ---- names of files --------------------------------------------------------------------------


def _of_names(items: Sequence[SourceItem]) -> list[tuple[str, str]]:
    """One pattern for all kinds of names of which each groups well."""
    names = [stem_of(PurePosixPath(item.source_path).name) for item in items]
    behind: dict[str, list[str]] = defaultdict(list)  # what follows the patient: beginnings
    examples: list[str] = []
    left = list(dict.fromkeys(names))
    papers = {name: match[1] for name in left if (match := re.match(PAPER_FIGURE, name))}
    if len(papers) >= LEAST_FILES and groups_well(list(papers.values())):
        behind[r"-p\d+-\d+"].append(".+")
        examples.append(next(iter(papers)))
        left = [name for name in left if name not in papers]
    for shape, group in _well_grouping_shapes(left):
        ids = ids_of(shape, group)
        behind[escaped(shape.behind)].append(shape.regex(ids))
        examples.append(group[0])
    if not behind:
        return []
    found = [f"({_either(one)}){end}" for end, one in behind.items()]
    why = "names such as " + ", ".join(repr(name) for name in examples[:3])
    return [(f"^{found[0]}" if len(found) == 1 else f"^(?:{_either(found)})", why)]


def _either(patterns: Iterable[str]) -> str:
    return "|".join(patterns)


def _well_grouping_shapes(names: Sequence[str]) -> list[tuple[Shape, list[str]]]:
    """Beginnings of names, the shortest that groups; longer ones behind it are the same images."""
    found: list[tuple[Shape, list[str]]] = []
    left = list(names)
    for count in range(1, MOST_NUMBERS + 1):
        of_shape: dict[Shape, list[str]] = defaultdict(list)
        for name in left:
            if shape := _shape(name, count):
                of_shape[shape].append(name)
        for shape, group in sorted(of_shape.items(), key=lambda one: -len(one[1])):
            ids = ids_of(shape, group)
            if len(group) >= LEAST_FILES and groups_well(ids, word_before(shape)):
                found.append((shape, group))
                taken = set(group)
                left = [name for name in left if name not in taken]
    return found


def _shape(name: str, count: int) -> Shape | None:
    """A name up to one of its numbers, where that number ends a word and something follows."""
    numbers = list(NUMBER.finditer(name))[:count]
    if len(numbers) < count or numbers[-1].end() == len(name):
        return None
    if name[numbers[-1].end()].isalpha():
        return None
    if YEAR.fullmatch(numbers[0][0]):  # a date, most likely
        return None
    return shape_of(name, numbers)._replace(behind=name[numbers[-1].end()])


# ---- what a pattern finds --------------------------------------------------------------------


def _weigh(pattern: str, why: str, items: Sequence[SourceItem]) -> PatientPattern | None:
    """What a pattern finds in all images, with numbering that begins anew told apart."""
    ids = _search(pattern, items)
    labels = [item.label for item in items]
    splits = [item.split or "" for item in items]
    if any(splits) and find_restart(ids, splits):
        pattern = _from_split_on(pattern, items)
        ids = _search(pattern, items)
        why += "; numbering begins anew in each split, so the split is part of the id"
    per_class = find_restart(ids, labels) is not None
    keys = [f"{i} {c}" if per_class and i else i for i, c in zip(ids, labels, strict=True)]
    found = [key for key in keys if key]
    if not found or len(set(found)) in (1, len(found)):
        return None
    leaking = count_leaking(keys, splits)
    return PatientPattern(pattern, per_class, len(set(found)), len(found), why, leaking)


def count_leaking(ids: Sequence[str | None], splits: Sequence[str]) -> int:
    """How many patients are in two of the splits that came with the data; "" is no split."""
    of_patient: dict[str, set[str]] = defaultdict(set)
    for known, split in zip(ids, splits, strict=True):
        if known and split:
            of_patient[known.casefold()].add(split)
    return sum(len(found) > 1 for found in of_patient.values())


def _search(pattern: str, items: Iterable[SourceItem]) -> list[str | None]:
    """As the listing will: a pattern with a slash on the path, others on the file's name."""
    regex = re.compile(pattern)
    found = []
    for item in items:
        text = item.source_path if "/" in pattern else PurePosixPath(item.source_path).name
        match = regex.search(text)
        found.append(next((part for part in match.groups() if part), None) if match else None)
    return found


def _from_split_on(pattern: str, items: Sequence[SourceItem]) -> str:
    """The same pattern with the id beginning at the folder of the split."""
    folders = {n for i in items for n in PurePosixPath(i.source_path).parts[:-1] if split_of(n)}
    alternatives = "|".join(map(escaped, sorted(folders)))
    bare = pattern.removeprefix("^").removeprefix("(?:^|/)").strip("/")
    plain = re.sub(r"(?<!\\)\((?!\?)", "(?:", bare)
    return f"(?:^|/)((?:{alternatives})/(?:[^/]+/)*{plain})"
