"""Which pictures may be copies of which: those that have several keypoints in common.

Descriptors become words of some bits, in several ways (locality-sensitive hashing with random
projections, Charikar 2002); equal words stand beside each other in a sorted table on disk. A
picture is compared with those alone that share its words, and a word leads to so many pictures and
no more, so that the time for one picture does not grow with the set, but for a logarithm.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.progress import progress
from stages.imaging.fingerprint import (
    FLIPS,
    KEYPOINTS,
    POSITIONS,
    flip_positions,
    flipped_order,
)

# Chosen with copies of some CT slices (Soares et al. 2020) and X-rays (Ozturk et al. 2020), of the
# kinds that `tests/benchmarks/duplicates.py` names: in the worst, 8 keypoints in common agreed on
# how the two pictures lie.
TABLES = 8  # ways to make words
SPARE_BITS = 4  # of a word, beyond those that tell all keypoints of a set apart
MAX_BITS = 32
MIN_MATCHES = 5  # keypoints in common
MAX_SHIFT = 0.25  # of a side, between keypoints in common
MAX_PER_WORD = 16  # pictures that a word leads to: the last ones before the picture
MAX_CANDIDATES = 6  # of a picture: those with most keypoints in common

INDEXED_PER_BLOCK = 1024  # pictures
QUERIES_PER_BLOCK = 64  # pictures looked up at once
SAMPLE = 250  # pictures that say where the bits are cut
SHIFT = np.uint64(32)  # an entry of a table is a word, and the number of a keypoint


class Pictures(NamedTuple):
    """Those rows (N,) of some records of `FINGERPRINT` that are looked at."""

    records: NDArray[np.void]
    rows: NDArray[np.int64]

    def blocks(self, size: int, what: str) -> Iterator[tuple[int, NDArray[np.void]]]:
        """The number of the first picture, and the records, of `size` pictures after the other.

        What is done with them, and how far that is, goes into the log.
        """
        starts = range(0, len(self.rows), size)
        for start in progress(starts, f"{what}, {size} at once", len(starts)):
            yield start, self.records[self.rows[start : start + size]]


class Candidate(NamedTuple):
    """A picture `second` that, turned as `FLIPS` says at `flip`, may be a copy of `first`.

    `keypoints` (M, 2) are numbers of keypoints in common, of the first and of the second.
    """

    first: int
    second: int
    flip: int
    keypoints: NDArray[np.int64]


class Words:
    """Turns descriptors into words; the same for all pictures that are compared."""

    def __init__(self, pictures: list[Pictures]) -> None:
        count = sum(len(some.rows) for some in pictures) * KEYPOINTS
        self.bits = min(MAX_BITS, int(np.ceil(np.log2(max(2, count)))) + SPARE_BITS)
        # Of whole numbers, so that sums are exact and words the same on every machine.
        signs = np.random.default_rng(0).integers(-1, 2, size=(128, TABLES * self.bits))
        self._projections = signs.astype(np.float32)
        sample = [
            some.records[some.rows[:: max(1, len(some.rows) // SAMPLE)]]["descriptors"]
            for some in pictures
        ]
        described = np.concatenate([one.reshape(-1, 128) for one in sample])
        described = described[described.any(axis=1)]
        turned = np.concatenate([described[:, flipped_order(flip)] for flip in range(len(FLIPS))])
        # Cut at the medians, bits tell most.
        self._cuts = (
            np.median(turned.astype(np.float32) @ self._projections, axis=0)
            if len(turned)
            else np.zeros(TABLES * self.bits)
        )

    def of(self, descriptors: NDArray[np.uint8], flip: int) -> NDArray[np.uint64]:
        """(TABLES, M) words of descriptors (M, 128) of pictures turned over."""
        turned = descriptors[:, flipped_order(flip)].astype(np.float32)
        bits = (turned @ self._projections > self._cuts).reshape(-1, TABLES, self.bits)
        powers = np.uint64(1) << np.arange(self.bits, dtype=np.uint64)
        return np.ascontiguousarray((bits * powers).sum(axis=-1, dtype=np.uint64).T)


class Index:
    """Tables on disk that lead from words to the keypoints of some pictures.

    Attributes:
        cut_words: how often a word led to more pictures than were looked at.
        cut_candidates: how many candidates were not looked at since a picture had better ones.
    """

    def __init__(self, pictures: Pictures, words: Words, scratch: Path) -> None:
        self.cut_words = self.cut_candidates = 0
        self._pictures, self._words = pictures, words
        self._positions = np.empty((len(pictures.rows), KEYPOINTS, 2), dtype=np.uint8)
        shape = (TABLES, len(pictures.rows) * KEYPOINTS)
        scratch.mkdir(parents=True, exist_ok=True)
        self._tables = np.lib.format.open_memmap(
            scratch / "words.npy", mode="w+", dtype=np.uint64, shape=shape
        )
        for start, records in pictures.blocks(INDEXED_PER_BLOCK, "indexing pictures"):
            self._positions[start : start + len(records)] = records["positions"]
            described = records["descriptors"].reshape(-1, 128)
            numbers = np.arange(len(described), dtype=np.uint64) + np.uint64(start * KEYPOINTS)
            entries = words.of(described, 0) << SHIFT | numbers
            entries[:, ~described.any(axis=1)] = np.iinfo(np.uint64).max
            self._tables[:, start * KEYPOINTS :][:, : len(described)] = entries
        for table in self._tables:
            table.sort()

    def candidates(self, queries: Pictures, *, before: bool) -> Iterator[Candidate]:
        """Candidates, query by query, the best first; `first` is a picture of the index.

        Args:
            queries: the pictures to look for.
            before: whether the queries are the pictures of the index, so that of each the earlier
                ones alone are looked at; else all are.
        """
        last = len(self._pictures.rows)
        if not last:
            return
        for start, records in queries.blocks(QUERIES_PER_BLOCK, "looking for copies"):
            numbers = np.arange(start, start + len(records))
            limits = numbers if before else np.full(len(records), last)
            hits = [self._hits(records, limits, flip) for flip in range(len(FLIPS))]
            for second, first, flip, keypoints in self._best(np.unique(np.concatenate(hits))):
                yield Candidate(first, start + second, flip, keypoints)

    def _hits(
        self, records: NDArray[np.void], limits: NDArray[np.int64], flip: int
    ) -> NDArray[np.int64]:
        """Keypoints that share a word and lie in the same region, packed as in `_pack`."""
        described = records["descriptors"].reshape(-1, 128)
        words = self._words.of(described, flip) << SHIFT
        ends = words | np.repeat(limits * KEYPOINTS, KEYPOINTS).astype(np.uint64)
        is_keypoint = np.flatnonzero(described.any(axis=1))
        positions = flip_positions(records["positions"], flip).reshape(-1, 2)
        found = [np.empty(0, dtype=np.int64)]
        for table, word, end in zip(self._tables, words, ends, strict=True):
            for keypoint, entry in self._before(table, is_keypoint, word, end):
                is_near = self._are_near(positions[keypoint], entry)
                found.append(_pack(keypoint[is_near], entry[is_near], flip))
        return np.concatenate(found)

    def _before(
        self,
        table: NDArray[np.uint64],
        keypoints: NDArray[np.int64],
        words: NDArray[np.uint64],
        ends: NDArray[np.uint64],
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Keypoints, and entries of the same word that stand before their ends, the last first."""
        at = np.searchsorted(table, ends[keypoints])
        for back in range(1, MAX_PER_WORD + 2):
            # Before the first entry lies the last one, of no word or of another.
            is_same = (at >= back) & (table[at - back] >> SHIFT == words[keypoints] >> SHIFT)
            keypoints, at = keypoints[is_same], at[is_same]
            if back > MAX_PER_WORD:
                self.cut_words += len(keypoints)
            elif len(keypoints):
                yield keypoints, (table[at - back] & np.uint64(2**32 - 1)).astype(np.int64)

    def _are_near(
        self, positions: NDArray[np.uint8], entries: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        pictures, keypoints = np.divmod(entries, KEYPOINTS)
        of_entries = self._positions[pictures, keypoints].astype(np.int64)
        return (np.abs(positions - of_entries) <= MAX_SHIFT * POSITIONS).all(axis=1)

    def _best(self, hits: NDArray[np.int64]) -> Iterator[tuple[int, int, int, NDArray[np.int64]]]:
        """Of each query (second) those pictures (first) with most keypoints in common."""
        pairs, starts, counts = np.unique(hits >> PAIR_BITS, return_index=True, return_counts=True)
        is_enough = counts >= MIN_MATCHES
        pairs, starts, counts = pairs[is_enough], starts[is_enough], counts[is_enough]
        seconds = pairs >> (FIRST_BITS + FLIP_BITS)
        order = np.lexsort((pairs, -counts, seconds))
        rank = np.arange(len(order)) - np.searchsorted(seconds[order], seconds[order])
        self.cut_candidates += int((rank >= MAX_CANDIDATES).sum())
        for one in order[rank < MAX_CANDIDATES].tolist():
            matches = hits[starts[one] : starts[one] + counts[one]] & (2**PAIR_BITS - 1)
            keypoints = np.stack(np.divmod(matches, KEYPOINTS)[::-1], axis=1)
            second, rest = divmod(int(pairs[one]), 2 ** (FIRST_BITS + FLIP_BITS))
            first, flip = divmod(rest, len(FLIPS))
            yield second, first, flip, keypoints


# A hit in one number: second picture (in its block), first picture, flip, their keypoints.
KEYPOINT_BITS, FLIP_BITS, FIRST_BITS = 6, 2, 32
PAIR_BITS = 2 * KEYPOINT_BITS


def _pack(keypoints: NDArray[np.int64], entries: NDArray[np.int64], flip: int) -> NDArray[np.int64]:
    second, of_second = np.divmod(keypoints, KEYPOINTS)
    first, of_first = np.divmod(entries, KEYPOINTS)
    pair = (second << FIRST_BITS | first) << FLIP_BITS | flip
    return pair << PAIR_BITS | of_second << KEYPOINT_BITS | of_first
