"""From a file to what the models of a case are given."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.params import Grey, LungCrop
from stages.dataset.image_set import DatasetInfo
from stages.dataset.slice_names import name_slice
from stages.deployment.files import File
from stages.imaging.boxes import Box
from stages.imaging.decode import decode_all
from stages.imaging.decoded import DecodedImage
from stages.imaging.lungs import OK
from stages.imaging.preprocess import preprocess
from stages.imaging.suspicion import find_suspicions
from stages.sources.formats import recognise_file
from stages.sources.item import UnreadableImage
from stages.sources.reading import MAX_FILE_BYTES, MAX_VOLUME_FILE_BYTES, read_file


class Place(NamedTuple):
    """Where a row of a view lies in its picture.

    Attributes:
        picture: (H, W) uint8, as `prepare` keeps it, without padding.
        box: the crop, in pixels of `picture`.
        view_box: where the crop lies in the row of the view.
    """

    picture: NDArray[np.uint8]
    box: Box
    view_box: Box


class ViewRow(NamedTuple):
    """A picture as the models are given it.

    Attributes:
        image: (S, S) uint8, a row of the view of the case.
        size: width and height of the picture as decoded, in pixels.
        place: of the image in the picture; None where nobody asks for it.
    """

    image: NDArray[np.uint8]
    size: tuple[int, int]
    place: Place | None


class Picture(NamedTuple):
    """One picture of a file.

    Attributes:
        name: of the file; of one that holds several, with the number of the picture behind it.
        row: None where it cannot be read.
        warnings: what a person should know of it.
        error: why it cannot be read; "" where it can.
    """

    name: str
    row: ViewRow | None
    warnings: tuple[str, ...] = ()
    error: str = ""


def open_pictures(file: File, info: DatasetInfo, *, keep_place: bool) -> list[Picture]:
    """Every picture of a file, made into a row of the view that the case was trained on.

    Args:
        file: to be read.
        info: of that view.
        keep_place: whether overlays are to be drawn.
    """
    try:
        if file.problem:
            raise UnreadableImage(file.problem)
        path = Path(file.name)
        limit = MAX_VOLUME_FILE_BYTES if recognise_file(path) else MAX_FILE_BYTES
        content = read_file(path, limit).content
    except UnreadableImage as error:
        return [Picture(file.name, None, error=str(error))]
    return [
        Picture(name, None, error=str(found))
        if isinstance(found, UnreadableImage)
        else _make(name, found, info, keep_place)
        for name, found in _decode_all(file.name, content, info.preprocessing.grey)
    ]


def _decode_all(
    name: str, content: bytes, grey: Grey
) -> Iterator[tuple[str, DecodedImage | UnreadableImage]]:
    """The pictures that a file holds, each with its name, or why it cannot be read."""
    for frame, found in decode_all(content, grey):
        yield (name if frame.of == 1 else name_slice(name, *frame)), found


def _make(name: str, decoded: DecodedImage, info: DatasetInfo, keep_place: bool) -> Picture:
    height, width = decoded.pixels.shape
    picture, row = preprocess(decoded.pixels, info.preprocessing, info.modality)
    warnings = [
        *(f"decoder: {complaint}" for complaint in decoded.complaints),
        *find_suspicions(decoded.pixels, info.modality),
    ]
    assert info.preprocessing.view is not None  # that of a case
    if isinstance(info.preprocessing.view.crop, LungCrop) and row.quality != OK:
        warnings.append(f"lungs not trusted ({row.quality}): the centre was cropped")
    place = Place(picture, row.box, row.view_box) if keep_place else None
    return Picture(name, ViewRow(row.image, (width, height), place), tuple(warnings))
