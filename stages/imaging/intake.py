"""Every image of a source decoded once, into arrays and a table."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.params import Dataset, FilesTruth
from stages.config.progress import progress
from stages.config.writing import write_csv
from stages.dataset.arrays import write_image_rows
from stages.dataset.image_set import FINGERPRINTS, IMAGES, TRUTH
from stages.dataset.truth import ALL_BITS
from stages.imaging.decode import decode_frames
from stages.imaging.decoded import DecodedImage
from stages.imaging.fingerprint import fingerprint, open_fingerprints
from stages.imaging.pool import map_images
from stages.imaging.preprocess import prepare_picture
from stages.imaging.square import fit_square
from stages.imaging.suspicion import find_suspicions
from stages.imaging.truth import DrawnTruth, draw_truth
from stages.sources.item import RawImage, SourceItem, UnreadableImage
from stages.sources.listing import Listing

REJECTED, SUSPICIOUS = "rejected.csv", "suspicious.csv"
DECODER = "decoder"  # before what one says of a file that it read
# Images from which workers, who import for about 2 s each, gain time: an image takes some 15 ms.
POOLED_FROM = 500
# Slices of one file that a worker reads at once: a file is opened anew for as many more.
SLICES_AT_ONCE = 128


class Decoded(NamedTuple):
    """One image on its way to the array."""

    square: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    known_truth: int
    unusable_masks: dict[str, str]
    facts: dict[str, Any]  # the manifest's columns that come from the file
    pixel_hash: str
    fingerprint: np.void
    suspicions: list[str]


class Suspicious(NamedTuple):
    """A picture that a person should look at; all the same it is one of the set."""

    file: str
    what: str


class Listed(NamedTuple):
    """The readable images: a row each, and what tells two of them to be alike.

    Attributes:
        manifest: a row per image, and what groups it: pixel_hash, and the volume or series.
        fingerprints: a memory map.
        suspicious: pictures to be looked at.
        known_truth: of each image the bits of the truth that are known.
        unusable_masks: path of a mask to why it cannot be used.
    """

    manifest: pd.DataFrame
    fingerprints: NDArray[np.void]
    suspicious: list[Suspicious]
    known_truth: list[int]
    unusable_masks: dict[str, str]


class Rejected(NamedTuple):
    """A file that gave no image."""

    file: str
    reason: str


def count_suspicious(suspicious: Iterable[Suspicious]) -> dict[str, int]:
    """How many pictures there are of each kind, which is what stands before a colon."""
    return dict(Counter(entry.what.partition(":")[0] for entry in suspicious))


def array_names(dataset: Dataset) -> list[str]:
    """Files of arrays that a data set has."""
    has_truth = dataset.is_phantom or dataset.truth.kind == "files"
    return [IMAGES, TRUTH] if has_truth else [IMAGES]


def decode_source(
    listing: Listing, dataset: Dataset, folder: Path, scratch: Path
) -> tuple[Listed, list[Rejected]]:
    """Stream every image into images.npy (and truth.npy); memory holds a few images only.

    Args:
        listing: what the source has.
        dataset: its entry of params.yaml.
        folder: of the prepared set; rejected.csv and suspicious.csv are written there too.
        scratch: folder for fingerprints, 17 kB per image; the caller's to remove.
    """
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    suspicious: list[Suspicious] = []
    known_truth: list[int] = []
    unusable_masks: dict[str, str] = {}
    decode_items = partial(_decode_items, dataset=dataset)
    parts = ((part,) for part in _by_file(listing.items))
    found = map_images(decode_items, parts, use_pool=len(listing.items) >= POOLED_FROM)
    results = chain.from_iterable(found)
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        write_image_rows(folder, array_names(dataset), dataset.size_px) as arrays,
        (scratch / FINGERPRINTS).open("wb") as fingerprints,
    ):
        decoded = zip(listing.items, results, strict=True)
        for item, result in progress(decoded, "decoding", len(listing.items)):
            if isinstance(result, Rejected):
                rejected.append(result)
                continue
            arrays[IMAGES].append(result.square)
            if result.truth is not None:
                arrays[TRUTH].append(result.truth)
            known_truth.append(result.known_truth)
            unusable_masks |= result.unusable_masks
            rows.append(_manifest_row(item, result))
            fingerprints.write(result.fingerprint.tobytes())
            suspicious += [Suspicious(item.source_path, what) for what in result.suspicions]
    write_csv(folder / REJECTED, pd.DataFrame(rejected, columns=Rejected._fields))
    write_csv(folder / SUSPICIOUS, pd.DataFrame(suspicious, columns=Suspicious._fields))
    described = open_fingerprints(scratch / FINGERPRINTS)
    listed = Listed(pd.DataFrame(rows), described, suspicious, known_truth, unusable_masks)
    return listed, rejected


def _by_file(items: Iterable[SourceItem]) -> Iterator[list[SourceItem]]:
    """Plain images one by one, slices of a file together, but not too many of them."""
    for file, members in groupby(items, lambda item: item.frame is not None and item.volume):
        part: list[SourceItem] = []
        for item in members:
            part.append(item)
            if not file or len(part) == SLICES_AT_ONCE:
                yield part
                part = []
        if part:
            yield part


def _decode_items(items: Sequence[SourceItem], dataset: Dataset) -> list[Decoded | Rejected]:
    """Read one file, and the pictures of it that are asked for."""
    try:
        raw = items[0].read()
    except UnreadableImage as error:
        return [Rejected(item.source_path, str(error)) for item in items]
    file = _File(raw, hashlib.sha256(raw.content).hexdigest())
    images = decode_frames(raw.content, dataset.grey, [item.frame for item in items])
    return [
        Rejected(item.source_path, str(image))
        if isinstance(image, UnreadableImage)
        else _describe(item, file, image, dataset)
        for item, image in zip(items, images, strict=True)
    ]


class _File(NamedTuple):
    """What was read, and its hash."""

    raw: RawImage
    sha256: str


def _describe(item: SourceItem, file: _File, image: DecodedImage, dataset: Dataset) -> Decoded:
    """All that is kept of one picture."""
    square, (x0, y0, x1, y1) = prepare_picture(image.pixels, dataset.size_px)
    height, width = image.pixels.shape
    facts = {
        "sha256": file.sha256,
        "file_bytes": len(file.raw.content),
        "width": width,
        "height": height,
        "mode": image.mode,
        "format": image.format,
        **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
    }
    truth = file.raw.truth
    drawn = None if truth is None else DrawnTruth(truth, ALL_BITS, {})
    if item.truth is not None and isinstance(dataset.truth, FilesTruth):
        drawn = draw_truth(item.truth, (height, width), dataset.truth.lung_values)
    shape = str(image.pixels.shape).encode()
    pixel_hash = hashlib.sha256(shape + image.pixels.tobytes()).hexdigest()
    suspicions = [
        *(f"{DECODER}: {complaint}" for complaint in image.complaints),
        *find_suspicions(image.pixels, dataset.modality),
    ]
    return Decoded(
        square,
        None if drawn is None else fit_square(drawn.bits, dataset.size_px, "nearest")[0],
        0 if drawn is None else drawn.known,
        {} if drawn is None else drawn.unusable,
        facts,
        pixel_hash,
        fingerprint(image.pixels),
        suspicions,
    )


def _manifest_row(item: SourceItem, decoded: Decoded) -> dict[str, Any]:
    path_hash = hashlib.sha256(item.source_path.encode()).hexdigest()
    return {
        # From the path, so that ids stay when files are added, and are safe as file names.
        "image_id": f"{item.label}-{path_hash[:10]}",
        "source_path": item.source_path,
        "label": item.label,
        "subgroup": item.subgroup,
        "given_split": item.split,
        "given_fold": item.fold,
        "patient_id": item.patient_id,
        "volume": item.volume,
        "pixel_hash": decoded.pixel_hash,
        **decoded.facts,
    }
