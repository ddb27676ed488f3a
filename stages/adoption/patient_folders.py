"""Patterns for patients that have a folder each, below the class folders."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from stages.adoption.name_shapes import (
    NUMBER,
    Shape,
    escaped,
    groups_well,
    ids_of,
    shape_of,
    word_before,
)
from stages.sources.item import SourceItem
from stages.sources.names import has_digit, is_kind, split_of, words

NO_PATIENT_FOLDERS = frozenset("fold batch part set class label aug version".split())
PICTURE_FOLDERS = frozenset({"image", "images", "img", "imgs", "picture", "pictures", "original"})


def folder_patterns(items: Sequence[SourceItem]) -> list[tuple[str, str]]:
    """Patterns on the folders between class folder and files, the outermost first."""
    around = [PurePosixPath(item.source_path).parts[:-1] for item in items]
    depth = _class_depth(items, around)
    if depth is None:
        return []
    inner = [[name for name in parts[depth:] if not _is_no_patient(name)] for parts in around]
    for level in range(max(map(len, inner), default=0)):
        names = [parts[level] for parts in inner if len(parts) > level]
        # Folders have to be said apart from other folders, so all files have to lie in one.
        if len(names) == len(items) and groups_well(names, _folder_word(names)):
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
    word = word_before(shape)
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
        ids = ids_of(shape, names)
        is_numbered = len(set(ids)) == len(set(names))  # else what follows tells patients apart
        return f"/({shape.regex()})[^/]*/" if is_numbered else f"/({shape.regex()}[^/]*)/"
    classes = sorted({parts[depth - 1] for parts in around})
    between = sorted({n for parts in around for n in parts[depth:] if _is_no_patient(n)})
    optional = f"(?:(?:{'|'.join(map(escaped, between))})/)*" if between else ""
    return f"(?:^|/)(?:{'|'.join(map(escaped, classes))})/{optional}([^/]+)/"


def _folder_shape(name: str) -> Shape:
    """A folder's name up to its first number, so that `patient12 (CT)` is one of `patient`."""
    number = NUMBER.search(name)
    return shape_of(name, [number]) if number else Shape((name,), (0,))
