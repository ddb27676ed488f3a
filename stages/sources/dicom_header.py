"""What the header of a DICOM file says of its pictures: who is shown, how many, where they lie.

Identifiers stand here in clear, while a source is listed; `disguise` makes what is written.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from stages.sources.dicom_file import (
    count_frames,
    numbers_of,
    open_dicom,
    reading_dicom,
    text_of,
)
from stages.sources.formats import DIRECTORY_NAME
from stages.sources.identity import is_missing, tidy
from stages.sources.item import UnreadableImage

KEYWORDS = (
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated"),
    *("ImageOrientationPatient", "ImagePositionPatient"),
    *("PatientAge", "PatientBirthDate", "StudyDate", "PatientSex", "ViewPosition", "Manufacturer"),
)
# DICOM PS3.5, 6.2: age string.
AGE = re.compile(r"(\d{1,3})([DWMY])")
DAYS_OF = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
# Of older people the age may tell who they are (HIPAA, 45 CFR 164.514(b)(2)(i)(C)).
OLDEST = 90.0
SEXES = ("M", "F", "O")

Facts = dict[str, float | str | None]


class DicomHeader(NamedTuple):
    """What is known of a file without its pixels.

    Attributes:
        is_directory: whether it lists other files, as a DICOMDIR, and has no picture.
        frames: how many pictures it has; 1 also where that cannot be told, which reading will say.
        patient: the patient's identifier, or else the study's; None: neither is there.
        series: the identifier of the series, of a slice; None of other pictures.
        position: of such a slice, mm along the axis of its series.
        facts: age in years, sex, view and manufacturer; None where nothing is said.
    """

    is_directory: bool
    frames: int
    patient: str | None
    series: str | None
    position: float
    facts: Facts


def read_header(file: Path) -> DicomHeader | None:
    """The header of a DICOM file; None where it cannot be read."""
    try:
        with reading_dicom():
            return _describe(open_dicom(file, KEYWORDS), file)
    except UnreadableImage:
        return None


def _describe(data: Dataset, file: Path) -> DicomHeader:
    try:
        frames = count_frames(data, file.stat().st_size)
    except UnreadableImage:
        frames = 1
    position = _position(data)
    series = text_of(data, "SeriesInstanceUID")
    kind = text_of(data.file_meta, "MediaStorageSOPClassUID")
    return DicomHeader(
        kind == MediaStorageDirectoryStorage or file.name.upper() == DIRECTORY_NAME,
        frames,
        _known(data, "PatientID") or _known(data, "StudyInstanceUID"),
        series if series and position is not None and frames == 1 else None,
        position or 0.0,
        _facts(data),
    )


def _known(data: Dataset, keyword: str) -> str | None:
    """An identifier in one spelling, since case and blanks tell no two people apart."""
    text = tidy(text_of(data, keyword))
    return None if is_missing(text) else f"{keyword} {text.casefold()}"


def _position(data: Dataset) -> float | None:
    """Where a slice lies along the normal of its plane (DICOM PS3.3, C.7.6.2.1.1)."""
    axes = numbers_of(data, "ImageOrientationPatient")
    place = numbers_of(data, "ImagePositionPatient")
    if len(axes) != 6 or len(place) != 3:
        return None
    return float(np.dot(np.cross(axes[:3], axes[3:]), place))


def _facts(data: Dataset) -> Facts:
    sex = text_of(data, "PatientSex").upper()[:1]
    view = tidy(text_of(data, "ViewPosition")).upper()
    manufacturer = tidy(text_of(data, "Manufacturer"))
    return {
        "age": _age(data),
        "sex": sex if sex in SEXES else None,
        "view": None if is_missing(view) else view,
        "manufacturer": None if is_missing(manufacturer) else manufacturer,
    }


def _age(data: Dataset) -> float | None:
    """Whole years when the picture was taken, at most `OLDEST`, which also stands for more."""
    said = AGE.fullmatch(text_of(data, "PatientAge").upper())
    if said and int(said[1]):
        return min(OLDEST, float(int(said[1]) * DAYS_OF[said[2]] // DAYS_OF["Y"]))
    born, taken = (_date(data, name) for name in ("PatientBirthDate", "StudyDate"))
    if born is None or taken is None or taken < born:
        return None
    return min(OLDEST, float(taken[0] - born[0] - (taken[1:] < born[1:])))


def _date(data: Dataset, keyword: str) -> tuple[int, int, int] | None:
    match = DATE.match(text_of(data, keyword))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
