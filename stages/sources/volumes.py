"""Files that hold several pictures, or one of several slices: which of these become images.

A volume is a file of several slices, each of which becomes an image whose path ends in `#` and its
number, from 0. A series is as many files of one slice. All slices of either belong together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.config.errors import UserError
from stages.config.params import AllSlices, MiddleSlices, Slices
from stages.dataset.slice_names import name_slice
from stages.sources.formats import recognise_file
from stages.sources.item import SourceItem
from stages.sources.reading import MAX_VOLUME_FILE_BYTES, read_file
from stages.sources.tree import LeftOut

if TYPE_CHECKING:  # pydicom takes a while to import, and most sources have no such files
    from stages.sources.dicom_header import DicomHeader

DIRECTORY = "DICOMDIR: a list of files, not a picture"
NOT_ASKED_FOR = "not among the slices that `slices` asks for"


class Headers(NamedTuple):
    """What is known of files before their pixels are read, by path inside the source.

    Attributes:
        dicom: of DICOM files; None of one whose header cannot be read.
        frames: how many pictures a file has, of DICOM and NIfTI.
    """

    dicom: Mapping[str, "DicomHeader | None"]
    frames: Mapping[str, int]


class Taken(NamedTuple):
    """The images among some files.

    Attributes:
        items: an item for each image.
        files: path of an image to that of its file.
        left_out: files that give none.
        notes: what there is to say, a sentence each.
    """

    items: list[SourceItem]
    files: dict[str, str]
    left_out: list[LeftOut]
    notes: list[str]


def read_headers(items: Iterable[SourceItem], root: Path) -> Headers:
    """Look into the files of a source for what makes several images of one, or one of several."""
    dicom: dict[str, DicomHeader | None] = {}
    frames: dict[str, int] = {}
    for item in items:
        file = root / item.source_path
        match recognise_file(file):
            case "DICOM":
                from stages.sources.dicom_header import read_header

                header = dicom[item.source_path] = read_header(file)
                frames[item.source_path] = header.frames if header else 1
            case "NIfTI":
                from stages.sources.nifti_file import count_slices

                frames[item.source_path] = count_slices(file)
    return Headers(dicom, frames)


def take_slices(items: Sequence[SourceItem], headers: Headers, slices: Slices, root: Path) -> Taken:
    """Turn files into images: one of each plain file, and the slices asked for of the others.

    Raises:
        UserError: a file is called as a slice of another one is.
    """
    left_out = [LeftOut(path, DIRECTORY, 1) for path in _directories(headers)]
    in_series = _series(items, headers)
    asked_for = {path for paths in in_series.values() for path in _pick(paths, slices)}
    series_of = {path: f"{key}" for key, paths in in_series.items() for path in paths}
    gone = {out.path for out in left_out}
    taken: list[SourceItem] = []
    files: dict[str, str] = {}
    for item in items:
        path = item.source_path
        if path in gone:
            continue
        if path in series_of and path not in asked_for:
            left_out.append(LeftOut(path, NOT_ASKED_FOR, 1))
            continue
        images = _images(item, headers.frames.get(path), slices, root)
        taken += [replace(one, volume=one.volume or series_of.get(path)) for one in images]
        files |= {one.source_path: path for one in images}
    _require_own_paths(taken)
    return Taken(taken, files, left_out, _notes(headers, in_series, asked_for, slices))


def pick_slices(count: int, slices: Slices) -> range:
    """The numbers of the slices asked for, of `count` that lie one behind the other."""
    if isinstance(slices, AllSlices):
        return range(count)
    if isinstance(slices, MiddleSlices):
        wanted = min(count, max(1, round(slices.share * count)))
        first = (count - wanted) // 2
        return range(first, first + wanted)
    return range(min(slices.step, count) // 2, count, slices.step)


def _pick(paths: Sequence[str], slices: Slices) -> list[str]:
    return [paths[number] for number in pick_slices(len(paths), slices)]


def _directories(headers: Headers) -> list[str]:
    return [path for path, header in headers.dicom.items() if header and header.is_directory]


def _series(items: Iterable[SourceItem], headers: Headers) -> dict[tuple[str, str], list[str]]:
    """Of each class and series the files, in the order in which their slices lie."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for item in items:
        header = headers.dicom.get(item.source_path)
        if header and header.series and not header.is_directory:
            found[item.label, header.series].append((header.position, item.source_path))
    return {key: [path for _, path in sorted(places)] for key, places in found.items()}


def _images(item: SourceItem, frames: int | None, slices: Slices, root: Path) -> list[SourceItem]:
    """The images of one file; `frames` is None of plain pictures."""
    if frames is None:
        return [item]
    path = item.source_path
    read = partial(read_file, root / path, MAX_VOLUME_FILE_BYTES)
    if frames == 1:
        return [replace(item, read=read)]
    return [
        replace(
            item,
            source_path=name_slice(path, number, frames),
            read=read,
            frame=number,
            volume=path,
        )
        for number in pick_slices(frames, slices)
    ]


def _require_own_paths(items: Iterable[SourceItem]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.source_path in seen:
            raise UserError(
                f"{item.source_path!r} is a file, and the name of a slice of another; rename it"
            )
        seen.add(item.source_path)


def _notes(
    headers: Headers,
    in_series: Mapping[tuple[str, str], Sequence[str]],
    asked_for: set[str],
    slices: Slices,
) -> list[str]:
    """How many slices of how many volumes and series are images."""
    counts = [count for count in headers.frames.values() if count > 1]
    series = [paths for paths in in_series.values() if len(paths) > 1]
    notes = []
    if counts:
        taken = sum(len(pick_slices(count, slices)) for count in counts)
        notes.append(f"{taken} of {sum(counts)} slices of {len(counts)} volumes are images")
    if series:
        taken = sum(path in asked_for for paths in series for path in paths)
        total = sum(map(len, series))
        notes.append(f"{taken} of {total} slices of {len(series)} series are images")
    return notes
