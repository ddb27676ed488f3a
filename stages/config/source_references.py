"""Checks of where images come from: downloads, and what one key of a data set says of another."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from stages.config.params import (
    Dataset,
    DicomMetadata,
    Params,
    RemoteFile,
    SourceMetadata,
    WindowGrey,
)
from stages.config.paths import download_of

PHANTOM_CLASSES = {
    "ct": ("covid", "normal"),
    "ct_b": ("covid", "normal"),
    "xray": ("infected", "normal"),
    "xray3": ("covid", "pneumonia", "normal"),
}
# What DVC watches where something is made by code: the code.
TRUTH_CODE = "stages/dataset/truth.py"
PHANTOM_CODE = "stages/phantoms"


def find_source_problems(params: Params) -> Iterator[str]:
    """One line per contradiction in `downloads` and `datasets`, and of paths in downloads."""
    for name, files in params.downloads.items():
        yield from _download_problems(f"downloads.{name}", files)
    yield from _download_path_problems(params)
    for name, dataset in params.datasets.items():
        yield from _dataset_problems(f"datasets.{name}", dataset)


def _download_problems(where: str, files: Mapping[str, RemoteFile]) -> Iterator[str]:
    for name, file in files.items():
        if file.address.startswith("http"):
            yield from _web_address_problems(f"{where}.{name}", file)
        elif file.address.startswith("kaggle:"):
            for key in ("file", "sha256"):
                if getattr(file, key) is not None:
                    yield (
                        f"{where}.{name}.{key}: got {getattr(file, key)!r} with an address of "
                        "kaggle:, which gives a folder; allowed: null (Kaggle's own sums are "
                        "compared, and /versions/3 behind the address keeps to one state)"
                    )
    names = Counter(file.file for file in files.values() if file.file and not file.unpack)
    for name, count in names.items():
        if count > 1:
            yield f"{where}: got {name!r} as the name of {count} files; allowed: each once"


def _web_address_problems(where: str, file: RemoteFile) -> Iterator[str]:
    try:
        address = urlsplit(file.address)
        is_one = bool(address.hostname) and address.port != 0
    except ValueError:  # of the port, or of brackets
        is_one = False
    if not is_one:
        yield f"{where}.address: got {file.address!r}, which names no server; correct it"
        return
    if address.username is not None:
        yield (
            f"{where}.address: got a user or password in it, which Git would keep; allowed: the "
            "address without them, and these in ~/.netrc"
        )
    if address.scheme == "http" and file.sha256 is None:
        yield (
            f"{where}.address: got {file.address!r} without a sha256; allowed: https, or http with "
            "the hash of the file, since anybody on the way can change it"
        )


def _download_path_problems(params: Params) -> Iterator[str]:
    """Paths in data/downloads name a download: what lies there otherwise, DVC does not know."""
    given = {
        **{f"datasets.{n}.source.path": d.source.path for n, d in params.datasets.items()},
        **{f"datasets.{n}.truth.path": d.truth.path for n, d in params.datasets.items()},
        **{f"weights.{n}.source.path": w.source.path for n, w in params.weights.items()},
    }
    for where, path in given.items():
        name = download_of(path)
        if name is not None and name not in params.downloads:
            known = ", ".join(f"data/downloads/{name}/..." for name in params.downloads) or "none"
            yield (
                f"{where}: got {path!r}, but downloads has no entry {name!r}; allowed in "
                f"data/downloads: {known}; add the entry, or give a path outside that folder"
            )


def _dataset_problems(where: str, dataset: Dataset) -> Iterator[str]:
    names = list(dataset.classes)
    if dataset.positive not in names:
        yield unknown(f"{where}.positive", dataset.positive, "a class", names)
    yield from _implies_problems(where, dataset)
    total = dataset.split.train + dataset.split.val + dataset.split.test
    if not math.isclose(total, 1, abs_tol=1e-6):
        yield f"{where}.split: train + val + test is {total:g}; allowed: a sum of 1"
    if isinstance(dataset.grey, WindowGrey) and dataset.grey.low >= dataset.grey.high:
        yield (
            f"{where}.grey: got a low of {dataset.grey.low:g}; allowed: under high, "
            f"{dataset.grey.high:g}"
        )
    yield from _folder_problems(where, dataset)
    yield from _source_problems(where, dataset)
    yield from _table_problems(where, dataset)
    yield from _truth_problems(where, dataset)
    yield from _metadata_problems(where, dataset)
    yield from _header_problems(where, dataset)


def _truth_problems(where: str, dataset: Dataset) -> Iterator[str]:
    truth = dataset.truth
    if truth.kind == "source":
        yield from path_problems(f"{where}.truth", truth.path, TRUTH_CODE)
        return
    if dataset.is_phantom:
        yield f"{where}.truth.kind: got files; allowed for phantoms, which bring theirs: source"
    if truth.lungs is None and truth.boxes is None:
        yield f"{where}.truth: got neither lungs nor boxes; allowed: one or both, or kind: source"
    if truth.lungs is None and truth.lung_values:
        yield f"{where}.truth.lung_values: got values without lungs; allowed: []"
    if truth.boxes is None and truth.findings:
        yield f"{where}.truth.findings: got findings without boxes; allowed: []"


def _table_problems(where: str, dataset: Dataset) -> Iterator[str]:
    table = dataset.table
    takes_patients = dataset.group.kind == "table"
    if takes_patients and (table is None or table.patient is None):
        yield (
            f"{where}.group.kind: got table, but table.patient is no column; allowed: a column, "
            "or another kind"
        )
    if table is None:
        return
    if dataset.is_phantom:
        yield f"{where}.table: got a table; allowed for phantoms: null"
    if table.patient is not None and not takes_patients:
        yield (
            f"{where}.table.patient: got {table.patient!r}, which group {{kind: "
            f"{dataset.group.kind}}} leaves aside; allowed: null, or group.kind table"
        )


def _header_problems(where: str, dataset: Dataset) -> Iterator[str]:
    """Tables name files in clear, which a data set that is grouped by headers writes nowhere."""
    if isinstance(dataset.metadata, DicomMetadata):
        if dataset.is_phantom:
            yield f"{where}.metadata: got headers of DICOM; allowed for phantoms: null"
        columns = dataset.metadata.columns
        if len(set(columns)) < len(columns):
            yield f"{where}.metadata.columns: got {columns}; allowed: each column once"
    if dataset.group.kind != "dicom":
        return
    hides = "group {kind: dicom}, which writes no name of a file in clear"
    if dataset.is_phantom:
        yield f"{where}.group.kind: got dicom; allowed for phantoms: none or pattern"
    if dataset.table is not None:
        yield f"{where}.table: got a table; allowed with {hides}: null"
    if isinstance(dataset.metadata, SourceMetadata):
        yield f"{where}.metadata: got a table; allowed with {hides}: kind dicom, or null"
    if dataset.truth.kind == "files":
        yield f"{where}.truth.kind: got files; allowed with {hides}: source"


def _metadata_problems(where: str, dataset: Dataset) -> Iterator[str]:
    metadata, table = dataset.metadata, dataset.table
    if not isinstance(metadata, SourceMetadata):
        return
    if dataset.is_phantom:
        yield f"{where}.metadata: got a table; allowed for phantoms: null"
    names = [" ".join(name.split()) for name in metadata.columns]
    for number, name in enumerate(names):
        if name in ("", "image_id") or name in names[:number]:
            yield (
                f"{where}.metadata.columns: got {name!r}; allowed: each column once, with a name "
                "that is not image_id"
            )
    if table is not None and table.path == metadata.table and table.label in metadata.columns:
        yield (
            f"{where}.metadata.columns: got {table.label!r}, which is the label; allowed: columns "
            "that describe an image without naming its class"
        )


def _implies_problems(where: str, dataset: Dataset) -> Iterator[str]:
    names = list(dataset.classes)
    for name, others in dataset.implies.items():
        if name not in names:
            yield unknown(f"{where}.implies", name, "a class", names)
        for other in others:
            if other not in names or other == name:
                allowed = [known for known in names if known != name]
                yield unknown(f"{where}.implies.{name}", other, "another class", allowed)
    for first, second in itertools.combinations(names, 2):
        if _labels(dataset, first) == _labels(dataset, second):
            yield (
                f"{where}.implies: got {first} and {second} with the same labels; "
                "allowed: labels that tell every class from the others"
            )


def _labels(dataset: Dataset, name: str) -> set[str]:
    return {name, *dataset.implies.get(name, [])}


def _folder_problems(where: str, dataset: Dataset) -> Iterator[str]:
    owner: dict[str, str] = dict.fromkeys(dataset.ignore, "ignore")
    for name, folders in dataset.classes.items():
        for folder in folders:
            if folder in owner:
                yield (
                    f"{where}.classes.{name}: folder {folder!r} is already in "
                    f"{owner[folder]}; allowed: each folder once"
                )
            owner[folder] = f"classes.{name}"


def _source_problems(where: str, dataset: Dataset) -> Iterator[str]:
    if not dataset.is_phantom:
        return
    yield from path_problems(f"{where}.source", dataset.source.path, PHANTOM_CODE)
    cohort = dataset.cohort
    if cohort is None:
        yield f"{where}.cohort: got None; allowed for a source of phantoms: who is to be drawn"
        return
    expected = PHANTOM_CLASSES[cohort.kind]
    for key, got in (
        ("cohort.patients", cohort.patients),
        ("cohort.marker_share", cohort.marker_share),
        ("classes", dataset.classes),
    ):
        if set(got) != set(expected):
            yield (
                f"{where}.{key}: got the classes {', '.join(got)}; allowed for phantoms of kind "
                f"{cohort.kind}: exactly {', '.join(expected)}"
            )


def path_problems(where: str, got: str, code: str) -> Iterator[str]:
    """What code makes has that code for its path."""
    if got != code:
        yield f"{where}.path: got {got!r}; allowed here: {code!r}, which makes it"


def unknown(where: str, got: str, what: str, known: Iterable[str]) -> str:
    """A line on a name that nothing has."""
    return f"{where}: got {got!r}, which is not {what}; allowed: {', '.join(known)}"
