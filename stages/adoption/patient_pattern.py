"""Who is one patient, as far as names tell: a pattern that groups convincingly, or none.

A pattern is proposed for names that begin alike but for numbers (`person12_bacteria_3.jpeg`,
`00000061_012.png`), up to one of their numbers. It has to make many groups of which some have
several images: that of `COVID-19_0012.png` would make one of all, or one of each.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.sources.identity import find_restart
from stages.sources.item import SourceItem
from stages.sources.names import has_digit, is_kind, split_of, stem_of, words

PATIENT_WORDS = frozenset("patient pat pt person subject subj sub case p id study".split())
# Numbers behind these count something else.
OTHER_WORDS = frozenset(
    "fold batch part set class label img image images slice frame fig figure page aug copy day "
    "view version v year series seg mask gr vol volume no nr num file photo pic scan screenshot "
    "train val test".split()
)
FEWEST_PATIENTS, FEWEST_NAMED_PATIENTS = 10, 3  # with a word for patients before the number
LARGEST_SHARE, LARGEST_NAMED_SHARE = 0.2, 0.5  # of the images, in one group
LEAST_SHARED = 0.1  # share of the images that are not the only one of their patient
LEAST_FILES = 5  # that are called alike
MOST_NUMBERS = 3  # of a name, behind which a patient may end
MANY_DIGITS = 5  # of a number, from which on all such have as many
YEAR = re.compile(r"(19|20)\d\d")
NUMBER = re.compile(r"\d+")
# Names of the figures of a paper, as UCSD COVID-CT has them: `2020.03.01-p12-67%1.png`.
PAPER_FIGURE = r"(.+)-p\d+-\d+"
NO_PATIENT_FOLDERS = frozenset("fold batch part set class label aug version".split())
PICTURE_FOLDERS = frozenset({"image", "images", "img", "imgs", "picture", "pictures", "original"})


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


class _Shape(NamedTuple):
    """Names that begin alike but for the digits of their numbers.

    Attributes:
        parts: what stands before each number.
        widths: how many digits the numbers of many digits have; 0 of others, which may have any.
        behind: the sign behind the last number; "" where none is told.
    """

    parts: tuple[str, ...]
    widths: tuple[int, ...]
    behind: str = ""

    def regex(self, ids: Sequence[str] = ()) -> str:
        r"""Matches such a beginning, as in `person\d+`, `\d{8}`; numbers that all ids have stay."""
        numbers = [rf"\d{{{width}}}" if width else r"\d+" for width in self.widths]
        for place, digits in enumerate(zip(*(NUMBER.findall(one) for one in ids), strict=True)):
            if len(set(digits)) == 1:
                numbers[place] = digits[0]
        pairs = zip(self.parts, numbers, strict=True)
        return "".join(_escaped(part) + number for part, number in pairs)


def _shape_of(text: str, numbers: Sequence[re.Match[str]]) -> _Shape:
    starts = [0, *(number.end() for number in numbers)]
    parts = [text[s : number.start()] for s, number in zip(starts, numbers, strict=False)]
    widths = [len(number[0]) if len(number[0]) >= MANY_DIGITS else 0 for number in numbers]
    return _Shape(tuple(parts), tuple(widths))


def _escaped(text: str) -> str:
    """As `re.escape`, which also escapes blanks and dashes, which mean nothing here."""
    return re.escape(text).replace("\\-", "-").replace("\\ ", " ")


def find_patient_pattern(items: Sequence[SourceItem]) -> PatientPattern | None:
    """The pattern that groups images by patient, or None where no name tells.

    Args:
        items: images of a source, with their labels and given splits.
    """
    patterns = [*_of_folders(items), *_of_names(items)]
    for pattern, why in patterns:
        if found := _weigh(pattern, why, items):
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
    if len(papers) >= LEAST_FILES and _groups_well(list(papers.values())):
        behind[r"-p\d+-\d+"].append(".+")
        examples.append(next(iter(papers)))
        left = [name for name in left if name not in papers]
    for shape, group in _well_grouping_shapes(left):
        ids = _ids(shape, group)
        behind[_escaped(shape.behind)].append(shape.regex(ids))
        examples.append(group[0])
    if not behind:
        return []
    found = [f"({_either(one)}){end}" for end, one in behind.items()]
    why = "names such as " + ", ".join(repr(name) for name in examples[:3])
    return [(f"^{found[0]}" if len(found) == 1 else f"^(?:{_either(found)})", why)]


def _either(patterns: Iterable[str]) -> str:
    return "|".join(patterns)


def _ids(shape: _Shape, names: Iterable[str]) -> list[str]:
    """The beginnings of names of a shape."""
    regex = re.compile(shape.regex())
    return [match[0] for name in names if (match := regex.match(name))]


def _well_grouping_shapes(names: Sequence[str]) -> list[tuple[_Shape, list[str]]]:
    """Beginnings of names, the shortest that groups; longer ones behind it are the same images."""
    found: list[tuple[_Shape, list[str]]] = []
    left = list(names)
    for count in range(1, MOST_NUMBERS + 1):
        of_shape: dict[_Shape, list[str]] = defaultdict(list)
        for name in left:
            if shape := _shape(name, count):
                of_shape[shape].append(name)
        for shape, group in sorted(of_shape.items(), key=lambda one: -len(one[1])):
            ids = _ids(shape, group)
            if len(group) >= LEAST_FILES and _groups_well(ids, _word_before(shape)):
                found.append((shape, group))
                taken = set(group)
                left = [name for name in left if name not in taken]
    return found


def _shape(name: str, count: int) -> _Shape | None:
    """A name up to one of its numbers, where that number ends a word and something follows."""
    numbers = list(NUMBER.finditer(name))[:count]
    if len(numbers) < count or numbers[-1].end() == len(name):
        return None
    if name[numbers[-1].end()].isalpha():
        return None
    if YEAR.fullmatch(numbers[0][0]):  # a date, most likely
        return None
    return _shape_of(name, numbers)._replace(behind=name[numbers[-1].end()])


def _word_before(shape: _Shape) -> str:
    """The word right before the last number."""
    before = words(shape.parts[-1])
    return before[-1] if before else ""


def _groups_well(ids: Sequence[str], word: str = "") -> bool:
    """Whether so many groups of such sizes are likely people."""
    if word in OTHER_WORDS:
        return False
    named = word in PATIENT_WORDS
    sizes = Counter(ids)
    shared = sum(size for size in sizes.values() if size > 1)
    fewest = FEWEST_NAMED_PATIENTS if named else FEWEST_PATIENTS
    largest = LARGEST_NAMED_SHARE if named else LARGEST_SHARE
    return (
        len(sizes) >= fewest
        and max(sizes.values()) <= largest * len(ids)
        and shared >= LEAST_SHARED * len(ids)
    )


# ---- names of folders ------------------------------------------------------------------------


def _of_folders(items: Sequence[SourceItem]) -> list[tuple[str, str]]:
    """Patterns on the folders between class folder and files, the outermost first."""
    around = [PurePosixPath(item.source_path).parts[:-1] for item in items]
    depth = _class_depth(items, around)
    if depth is None:
        return []
    inner = [[name for name in parts[depth:] if not _is_no_patient(name)] for parts in around]
    for level in range(max(map(len, inner), default=0)):
        names = [parts[level] for parts in inner if len(parts) > level]
        # Folders have to be said apart from other folders, so all files have to lie in one.
        if len(names) == len(items) and _groups_well(names, _folder_word(names)):
            return [(_folder_pattern(items, around, depth, names), _folder_why(names))]
    return []


def _class_depth(items: Sequence[SourceItem], around: Sequence[tuple[str, ...]]) -> int | None:
    """How many folders lie around the patients: up to those in which all are of one class."""
    for depth in range(1, min(map(len, around), default=0) + 1):
        labels: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for item, parts in zip(items, around, strict=True):
            labels[parts[:depth]].add(item.label)
        if all(len(found) == 1 for found in labels.values()):
            return depth
    return None


def _is_no_patient(name: str) -> bool:
    """Whether a folder is a split, or one of pictures in general."""
    spelt = words(name)
    is_general = bool(spelt) and set(spelt) <= PICTURE_FOLDERS
    return is_general or is_kind(name) or split_of(name) is not None


def _folder_word(names: Sequence[str]) -> str:
    """What numbered folders are of: patients, unless the word before the number says otherwise."""
    if sum(map(has_digit, names)) < len(names) / 2:
        return ""
    shape, _ = Counter(_folder_shape(name) for name in names if has_digit(name)).most_common(1)[0]
    word = _word_before(shape)
    return word if word in NO_PATIENT_FOLDERS else "patient"


def _folder_why(names: Sequence[str]) -> str:
    return f"folders below the class folders, such as {names[0]!r}"


def _folder_pattern(
    items: Sequence[SourceItem],
    around: Sequence[tuple[str, ...]],
    depth: int,
    names: Sequence[str],
) -> str:
    """On the folder's own name where all are called alike, else on its place."""
    shapes = Counter(_folder_shape(name) for name in names)
    shape, count = shapes.most_common(1)[0]
    if count == len(names) and any(part for part in shape.parts if words(part)):
        ids = _ids(shape, names)
        is_numbered = len(set(ids)) == len(set(names))  # else what follows tells patients apart
        return f"/({shape.regex()})[^/]*/" if is_numbered else f"/({shape.regex()}[^/]*)/"
    classes = sorted({parts[depth - 1] for parts in around})
    between = sorted({n for parts in around for n in parts[depth:] if _is_no_patient(n)})
    optional = f"(?:(?:{'|'.join(map(_escaped, between))})/)*" if between else ""
    return f"(?:^|/)(?:{'|'.join(map(_escaped, classes))})/{optional}([^/]+)/"


def _folder_shape(name: str) -> _Shape:
    """A folder's name up to its first number, so that `patient12 (CT)` is one of `patient`."""
    number = NUMBER.search(name)
    return _shape_of(name, [number]) if number else _Shape((name,), (0,))


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
    alternatives = "|".join(map(_escaped, sorted(folders)))
    bare = pattern.removeprefix("^").removeprefix("(?:^|/)").strip("/")
    plain = re.sub(r"(?<!\\)\((?!\?)", "(?:", bare)
    return f"(?:^|/)((?:{alternatives})/(?:[^/]+/)*{plain})"
