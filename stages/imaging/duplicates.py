"""Pictures that are in a data set more than once, as they are or slightly changed.

Files of equal bytes come first, then pictures of equal pixels, then pictures that look the same:
turned over or by a few degrees, cut at the sides, framed, written on, encoded or scaled anew,
brighter or darker. These are found in two steps. Keypoints in common give candidates quickly, and
chest images of different patients have some in common too. Then the two pictures of a candidate are
laid on each other, and their fine structure has to agree.
"""

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.slice_names import SLICE_NUMBER
from stages.imaging.alignment import agreement, finer_first, fit_matches, refine
from stages.imaging.candidates import Candidate, Index, Pictures, Words
from stages.imaging.fingerprint import (
    FLIPS,
    POSITIONS,
    THUMBNAIL_PX,
    flip_picture,
    flip_positions,
)

logger = logging.getLogger(__name__)

# Chosen with copies of every second CT slice and X-ray (see `candidates`), and with phantoms.
MIN_START_AGREEMENT = 0.6  # before the alignment is refined; of copies it is over 0.7
MIN_AGREEMENT = 0.94  # copies by one change: 0.95 or over; two patients' of 4,000 phantoms: under

Kind = Literal["bytes", "pixels", "near"]


class DuplicatePair(NamedTuple):
    """Two images, by position, that show the same picture.

    Attributes:
        first: the earlier image.
        second: the later one.
        kind: what is equal or alike: the bytes of the files, the pixels, or the looks.
        change: one of `FLIPS`, how the one is turned against the other.
        distance: 1 - correlation of the fine structure; 0 for equal ones.
    """

    first: int
    second: int
    kind: Kind
    change: str
    distance: float


def name_pictures(manifest: pd.DataFrame) -> list[str]:
    """(N,) names that are equal where files are, and the number of a slice in them.

    Args:
        manifest: (N,) rows with source_path and sha256.
    """
    slices = manifest["source_path"].str.extract(SLICE_NUMBER)[0].fillna("")
    return (manifest["sha256"] + slices).tolist()


def find_duplicates(
    file_hashes: Sequence[str],
    pixel_hashes: Sequence[str],
    fingerprints: NDArray[np.void],
    *,
    near: bool,
    scratch: Path,
) -> list[DuplicatePair]:
    """List the pairs of images that show the same picture.

    Of several equal images each is paired with the first of them only, and only that one is
    compared further. So the pairs connect all images of a picture, but do not list all its pairs.

    Args:
        file_hashes: (N,) equal where the bytes of the files, and slices in them, are.
        pixel_hashes: (N,) equal where the decoded pixels are.
        fingerprints: (N,) records of `FINGERPRINT` of the decoded pixels.
        near: whether pictures that are merely alike are looked for.
        scratch: folder for tables of some 4 kB per image; what is written there can be removed.
    """
    byte_pairs, files = _equal_pairs(file_hashes, range(len(file_hashes)), "bytes")
    pixel_pairs, rows = _equal_pairs(pixel_hashes, files, "pixels")
    if not near:
        return byte_pairs + pixel_pairs
    pictures = Pictures(fingerprints, np.array(rows, dtype=np.int64))
    index = Index(pictures, Words([pictures]), scratch)
    return byte_pairs + pixel_pairs + _alike(index, pictures, pictures, before=True)


def find_shared(
    fingerprints: NDArray[np.void], others: NDArray[np.void], *, scratch: Path
) -> list[DuplicatePair]:
    """List the pairs of an image of one set and an image of another that look the same.

    Equal ones are among them. `first` is a position in the one set, `second` one in the other.

    Args:
        fingerprints: (N,) records of `FINGERPRINT`.
        others: (M,) of the other set.
        scratch: folder for tables of some 4 kB per image of the one set.
    """
    known, asked = (
        Pictures(some, np.arange(len(some), dtype=np.int64)) for some in (fingerprints, others)
    )
    index = Index(known, Words([known, asked]), scratch)
    return _alike(index, known, asked, before=False)


def _equal_pairs(
    keys: Sequence[Hashable], rows: Sequence[int], kind: Kind
) -> tuple[list[DuplicatePair], list[int]]:
    """Pairs of rows with equal keys, and the rows that are the first of their key."""
    first_of: dict[Hashable, int] = {}
    pairs = []
    for row in rows:
        first = first_of.setdefault(keys[row], row)
        if first != row:
            pairs.append(DuplicatePair(first, row, kind, FLIPS[0], 0.0))
    return pairs, list(first_of.values())


def _alike(index: Index, known: Pictures, asked: Pictures, *, before: bool) -> list[DuplicatePair]:
    """Pairs of pictures that look the same, by their rows; one of the index comes first."""
    pairs: dict[tuple[int, int], DuplicatePair] = {}
    for candidate in index.candidates(asked, before=before):
        first, second = known.rows[candidate.first], asked.rows[candidate.second]
        found = _compare(known.records[first], asked.records[second], candidate)
        if found >= MIN_AGREEMENT:
            pair = DuplicatePair(int(first), int(second), "near", FLIPS[candidate.flip], 1 - found)
            # A picture that is nearly symmetric is alike in two ways.
            other = pairs.setdefault(pair[:2], pair)
            if pair.distance < other.distance:
                pairs[pair[:2]] = pair
    if index.cut_words or index.cut_candidates:
        logger.info(
            "near-duplicates: %d times a keypoint was shared with more pictures than are looked "
            "at; %d pairs of pictures were not compared since one of them had better candidates",
            index.cut_words,
            index.cut_candidates,
        )
    return sorted(pairs.values())


def _compare(first: np.void, second: np.void, candidate: Candidate) -> float:
    """How well two pictures agree once they are laid on each other; -1 where they cannot be."""
    positions = np.stack(
        [
            first["positions"][candidate.keypoints[:, 0]],
            flip_positions(second["positions"], candidate.flip)[candidate.keypoints[:, 1]],
        ]
    )
    rough = fit_matches(*((positions + 0.5) * (THUMBNAIL_PX / POSITIONS) - 0.5))
    if rough is None:
        return -1.0
    turned = flip_picture(second["thumbnail"], candidate.flip)
    one, other, rough = finer_first(first["thumbnail"], turned, rough)
    if agreement(one, other, rough) < MIN_START_AGREEMENT:
        return -1.0
    refined = refine(one, other, rough)
    return -1.0 if refined is None else agreement(one, other, refined)
