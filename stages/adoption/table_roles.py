"""Tables in a source: which column names files, labels, patients, splits, and what else is known.

A column is taken for what its name says only where its cells agree: files are those that are
there, splits are train, val or test.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import pandas as pd

from stages.adoption.class_names import known_class, name_classes
from stages.config.errors import UserError
from stages.sources.identity import is_missing, tidy
from stages.sources.matching import has_image_ending
from stages.sources.metadata import NUMBER
from stages.sources.names import split_of, words
from stages.sources.table_file import read_column_names, read_table_file

ENDINGS = (".csv", ".tsv", ".txt")
SHEETS = (".xlsx", ".xls", ".ods")
MOST_TABLES = 20
MOST_BYTES = 50_000_000
LEAST_MATCHED = 0.5  # of the rows, or of the files, that find their counterpart
MOST_LABELS = 40
MOST_CATEGORIES = 30
NUMERIC_SHARE = 0.9
# Names of columns, letters alone.
LABELS = (
    *("label", "labels", "finding", "findings", "findinglabels", "class", "classname", "diagnosis"),
    *("category", "target", "disease", "classification", "type", "covid", "status", "result"),
)
PATIENTS = (
    *("patientid", "patient", "patientno", "patientnumber", "patientname", "subject", "subjectid"),
    *("person", "personid", "case", "caseid", "pid", "pat", "patid", "participant"),
)
SPLITS = ("split", "set", "subset", "partition", "phase", "datasettype", "usage", "group", "fold")
NUMBERS = frozenset(
    "age ageyears patientage offset followup width height originalwidth originalheight "
    "originalimagewidth originalimageheight slice slicenumber days bmi weight".split()
)
CATEGORIES = frozenset(
    "sex gender patientgender patientsex view viewposition position projection viewpoint modality "
    "location country hospital site centre center institution source machine scanner manufacturer "
    "device vendor kernel contrast photometricinterpretation".split()
)


class TableRoles(NamedTuple):
    """What a table is good for.

    Attributes:
        path: inside the source.
        file: column of file names.
        label: column of labels, or None.
        classes: of the labels; {} without them.
        unused: labels of no class, with the count of their images.
        patient: column of patients, or None.
        split: column of given splits, or None.
        metadata: other columns that are worth a look, with their kinds.
        rows: how many rows it has, and
        matched: how many of them name a file; of `files` of the source it names so many.
        files: see above.
        named: paths of these.
    """

    path: str
    file: str
    label: str | None
    classes: dict[str, list[str]]
    unused: dict[str, int]
    patient: str | None
    split: str | None
    metadata: dict[str, Literal["number", "category"]]
    rows: int
    matched: int
    files: int
    named: frozenset[str]


class Tables(NamedTuple):
    """Tables of a source.

    Attributes:
        best: the one that names most of its files, or None.
        others: what there is to say of the others, a sentence each.
    """

    best: TableRoles | None
    others: list[str]


def find_tables(root: Path, files: Sequence[str], *, fewest: int) -> Tables:
    """Look at all tables of a source.

    Args:
        root: its folder.
        files: all files in it.
        fewest: images of the rarest class that is worth being one.
    """
    pictures = [path for path in files if has_image_ending(path)]
    found: list[TableRoles] = []
    others = [
        f"{path}: a spreadsheet, which is not read; save it as CSV to use what it knows"
        for path in files
        if path.lower().endswith(SHEETS)
    ]
    tables = [path for path in files if path.lower().endswith(ENDINGS)]
    for path in tables[:MOST_TABLES]:
        try:
            roles = _read_roles(root, path, pictures, fewest)
        except UserError:
            continue  # a text that is no table, such as a readme
        if roles:
            found.append(roles)
        elif said := _say_list(root / path, path, pictures):
            others.append(said)
    if len(tables) > MOST_TABLES:
        others.append(f"{len(tables) - MOST_TABLES} more tables or texts were not looked at")
    found.sort(key=lambda roles: (-roles.files, -(roles.label is not None)))
    others += [f"{r.path}: names {r.files:,} pictures too; not used" for r in found[1:]]
    return Tables(found[0] if found else None, others)


def _read_roles(root: Path, path: str, pictures: Sequence[str], fewest: int) -> TableRoles | None:
    """What the columns of a table are; None where none names files of the source."""
    if (root / path).stat().st_size > MOST_BYTES:
        return None
    names = read_column_names(root / path, path)
    keys = _Keys(pictures)
    if len(names) < 2 or any(keys.has(name) for name in names):
        return None  # its first row is no names of columns
    rows = read_table_file(root / path, names, path).rows.map(tidy)
    found = {name: keys.found(rows[name]) for name in names}
    counts = {name: len(files) for name, files in found.items()}
    file = max(names, key=lambda name: (counts[name], has_image_ending(str(rows[name].iloc[0]))))
    matched = int(rows[file].map(keys.has).sum())
    few = max(1, int(LEAST_MATCHED * min(len(rows), len(pictures))))
    if counts[file] < few:
        return None
    known = rows[rows[file].map(keys.has)]
    others = [name for name in names if name != file]
    label, classes, unused = _find_label(known, others, fewest)
    patient = _find_patient(known, [name for name in others if name != label])
    split = _find_split(known, others)
    used = {label, patient, split}
    return TableRoles(
        path=path,
        file=file,
        label=label,
        classes=classes,
        unused=unused,
        patient=patient,
        split=split,
        metadata=_find_metadata(known, [name for name in others if name not in used]),
        rows=len(rows),
        matched=matched,
        files=counts[file],
        named=frozenset(found[file]),
    )


class _Keys:
    """Names of files, by which cells are told to be some; the listing matches them strictly."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        for path in paths:
            name = PurePosixPath(path).name.casefold()
            self._names[name] = self._names[_stem(name)] = path

    def has(self, cell: str) -> bool:
        return self._key(cell) is not None

    def found(self, cells: "pd.Series[str]") -> set[str]:
        """The files that some cells name."""
        return {found for cell in cells.unique() if (found := self._key(cell))}

    def _key(self, cell: str) -> str | None:
        if len(cell) < 2 or is_missing(cell):  # 1, 2, 3 are a count
            return None
        name = cell.replace("\\", "/").rpartition("/")[2].casefold()
        return self._names.get(name) or self._names.get(_stem(name))


def _stem(name: str) -> str:
    return PurePosixPath(name).stem if has_image_ending(name) else name


def _bare(name: str) -> str:
    return "".join(words(name))


def _by_name(columns: Iterable[str], known: Sequence[str]) -> list[str]:
    """Columns of known names, in the order of these."""
    called = [(known.index(_bare(name)), name) for name in columns if _bare(name) in known]
    return [name for _, name in sorted(called)]


def _find_label(
    rows: pd.DataFrame, columns: Sequence[str], fewest: int
) -> tuple[str | None, dict[str, list[str]], dict[str, int]]:
    """The column of labels, its classes, and labels that are none with their counts."""
    for name in _by_name(columns, LABELS):
        counts = Counter(str(text) for text in rows[name] if not is_missing(text))
        if not 2 <= len(counts) <= max(MOST_LABELS, len(rows) // 20):
            continue
        single = {text: n for text, n in counts.items() if "|" not in text}
        classes = _label_classes(single)
        of_class = {key: sum(single[text] for text in texts) for key, texts in classes.items()}
        classes = {key: texts for key, texts in classes.items() if of_class[key] >= fewest}
        if len(classes) < 2:
            continue
        used = {text for texts in classes.values() for text in texts}
        return name, classes, {text: n for text, n in counts.items() if text not in used}
    return None, {}, {}


def _label_classes(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Classes of labels; of labels of which some are known the others are no class."""
    known = [text for text in counts if known_class(text)]
    if len({known_class(text) for text in known}) < 2:
        return name_classes([sorted(counts)])
    classes: dict[str, list[str]] = {}
    for text in sorted(known):
        classes.setdefault(str(known_class(text)), []).append(text)
    ordered = name_classes([list(classes)])
    return {name: classes[name] for name in ordered}


def _find_patient(rows: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """A column called like patients that has several, not all of them unknown."""
    for name in _by_name(columns, PATIENTS):
        known = rows[name][~rows[name].map(is_missing)]
        if known.nunique() > 1 and len(known) >= len(rows) / 2:
            return name
    return None


def _find_split(rows: pd.DataFrame, columns: Sequence[str]) -> str | None:
    for name in _by_name(columns, SPLITS):
        known = [text for text in rows[name].unique() if not is_missing(text)]
        if len(known) > 1 and all(split_of(text) for text in known):
            return name
    return None


def _find_metadata(
    rows: pd.DataFrame, columns: Collection[str]
) -> dict[str, Literal["number", "category"]]:
    """Columns that describe an image without naming its class, by name and content."""
    found: dict[str, Literal["number", "category"]] = {}
    for name in columns:
        cells = [text for text in rows[name] if not is_missing(text)]
        if len(set(cells)) < 2 or name == "image_id":
            continue
        numeric = sum(NUMBER.fullmatch(text) is not None for text in cells) / len(cells)
        if _bare(name) in NUMBERS and numeric >= NUMERIC_SHARE:
            found[name] = "number"
        elif _bare(name) in CATEGORIES and len(set(cells)) <= MOST_CATEGORIES:
            found[name] = "category"
    return found


def _say_list(file: Path, path: str, pictures: Sequence[str]) -> str | None:
    """What there is to say of a list of files without names of columns, such as those of COVIDx."""
    try:
        text = file.read_text(encoding="utf-8")[:1_000_000]
    except (OSError, UnicodeDecodeError):
        return None
    keys = _Keys(pictures)
    lines = [line for line in text.splitlines() if line.strip()]
    cells = [[line.strip(), *re.split(r"[\s,;|]+", line.strip())] for line in lines]
    named = sum(any(keys.has(cell) for cell in row) for row in cells)
    if not lines or named < LEAST_MATCHED * len(lines):
        return None
    columns = max(len(row) - 1 for row in cells)
    what = "files" if columns == 1 else f"files with {columns - 1} more words to each"
    return (
        f"{path}: a list of {named:,} {what}, without names of columns, which is not read; a CSV "
        "with the columns file, label, patient, split, as far as they are known, would be"
    )
