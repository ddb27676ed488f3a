"""Pictures that are in a data set more than once, as they are or slightly changed.

Files of equal bytes come first, then pictures of equal pixels, then pictures that look the same:
turned over, cut at the sides, encoded or scaled anew, brighter or darker. These are found in two
steps. Perceptual hashes give candidates quickly, with a loose threshold, for chest images of
different patients have hashes that are alike. Then the two pictures of a candidate are laid on each
other, and their fine structure has to agree.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

# Chosen with 13 planted copies each of 250 CT slices (Soares et al. 2020) and 250 X-rays (Ozturk et
# al. 2020): JPEG quality 60 to 95, half to twice the size, flipped, up to 5 % cut off every side,
# 10 % brighter or darker, several of these; and with 1,800 phantoms.
MAX_HASH_DISTANCE = 18  # of 121 bits; 99 % of each kind of copy lie within 16
MIN_START_CORRELATION = 0.3  # before alignment; 99 % of each kind of copy lie at 0.4 or over
MIN_CORRELATION = 0.87  # 99 % of each kind lie over 0.91; phantoms of two patients, under 0.84

# How a copy may be turned. CT exports stand on their head where rows were written bottom up.
FLIPS = ("same", "flipped", "upside down", "turned")
# Shares cut off left, top, right, bottom. A hash forgives about 2 %, so that 4 % stands for 2 to 6.
CROPS = tuple(itertools.product((0.0, 0.04), repeat=4))

REDUCED_PX = 128  # hashes and structure are taken from the picture reduced to this square
STRUCTURE_PX = 64
CENTRES = (np.arange(STRUCTURE_PX, dtype=np.float32) + 0.5) / STRUCTURE_PX  # of pixels, in sides
BAND_PX = (0.6, 1.2)  # blurs whose difference is kept: edges and vessels, not the body's outline
MARGIN_PX = 4  # left out of correlations: a crop brings in, at the rim, what the other has not
HASH_SIZE = 11  # 11 x 11 bits, the most that fit two 64-bit words
ALIGNMENT_STEPS = 4  # of 1,920 copies three steps left one badly aligned; a fifth gained none
MAX_CUT = 0.1  # share of a side beyond which an alignment has gone astray
DAMPING = 1e-5  # of the trace, added to the normal equations

PAIRS_PER_BLOCK = 2**18  # hash distances computed at once: they stay in the processor's cache
PAIRS_PER_BATCH = 64  # alignments at once

Kind = Literal["bytes", "pixels", "near"]
Floats = NDArray[np.floating]


class Fingerprint(NamedTuple):
    """What is kept of a picture to find its copies.

    Attributes:
        crops: (16, 2) uint64, perceptual hashes of the picture cut as in `CROPS`.
        flips: (4, 2) uint64, perceptual hashes of the picture turned as in `FLIPS`.
        structure: (64, 64) float16, edges of the thumbnail, their heights to the power 0.5, scaled
            to a standard deviation of 1; an even picture gives 0.
    """

    crops: NDArray[np.uint64]
    flips: NDArray[np.uint64]
    structure: NDArray[np.float16]


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


class Candidates(NamedTuple):
    """Pairs (P,) of pictures of which `second`, turned by `flip`, may be `first` cut by `crop`.

    `crop` and `flip` are positions in `CROPS` and `FLIPS`.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    crop: NDArray[np.int64]
    flip: NDArray[np.int64]


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint:
    """Describe a picture so that its copies can be found; pixels are (H, W)."""
    size = (REDUCED_PX, REDUCED_PX)
    reduced = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    flips = [Image.fromarray(flipped) for flipped in _flip_all(np.asarray(reduced))]
    boxes = np.array(CROPS) * (1, 1, -1, -1) * REDUCED_PX + (0, 0, REDUCED_PX, REDUCED_PX)
    crops = [reduced.crop(tuple(box)) for box in np.rint(boxes).astype(int).tolist()]
    small = reduced.convert("F").resize((STRUCTURE_PX, STRUCTURE_PX), Image.Resampling.BOX)
    thin, thick = (gaussian_filter(np.asarray(small), blur) for blur in BAND_PX)
    edges = thin - thick
    # The root keeps strong edges, which all chests share, from outweighing the vessels.
    structure = np.sign(edges) * np.sqrt(np.abs(edges))
    structure /= structure.std() or 1.0
    return Fingerprint(_hash(crops), _hash(flips), structure.astype(np.float16))


def _flip_all(pictures: NDArray) -> list[NDArray]:
    """(..., H, W) pictures turned in each of the ways of `FLIPS`."""
    turns = (np.s_[..., :, :], np.s_[..., :, ::-1], np.s_[..., ::-1, :], np.s_[..., ::-1, ::-1])
    return [np.ascontiguousarray(pictures[turn]) for turn in turns]


def _hash(pictures: Sequence[Image.Image]) -> NDArray[np.uint64]:
    """(V, 2) perceptual hashes (pHash: signs of low DCT frequencies about their median)."""
    bits = np.zeros((len(pictures), 128), dtype=np.bool_)
    for row, picture in zip(bits, pictures, strict=True):
        row[: HASH_SIZE**2] = imagehash.phash(picture, hash_size=HASH_SIZE).hash.ravel()
    return np.packbits(bits, axis=1).view(np.uint64)


def find_duplicates(
    file_hashes: Sequence[str],
    pixel_hashes: Sequence[str],
    fingerprints: Sequence[Fingerprint],
    *,
    near: bool = True,
) -> list[DuplicatePair]:
    """List the pairs of images that show the same picture.

    Of several equal images each is paired with the first of them only, and only that one is
    compared further. So the pairs connect all images of a picture, but do not list all its pairs.

    Args:
        file_hashes: (N,) equal where the bytes of the files are.
        pixel_hashes: (N,) equal where the decoded pixels are.
        fingerprints: (N,) of the decoded pixels.
        near: whether pictures that are merely alike are looked for: every pair is compared.
    """
    byte_pairs, files = _equal_pairs(file_hashes, range(len(file_hashes)), "bytes")
    pixel_pairs, pictures = _equal_pairs(pixel_hashes, files, "pixels")
    if not near:
        return byte_pairs + pixel_pairs
    near_pairs = [
        pair._replace(first=pictures[pair.first], second=pictures[pair.second])
        for pair in _near_pairs([fingerprints[row] for row in pictures])
    ]
    return byte_pairs + pixel_pairs + near_pairs


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


def _near_pairs(fingerprints: Sequence[Fingerprint]) -> list[DuplicatePair]:
    """Pairs of pictures, none of them equal, that look the same; in order of rows."""
    if len(fingerprints) < 2:
        return []
    structures = np.stack([one.structure for one in fingerprints])
    candidates = _find_candidates(fingerprints)
    pairs: list[DuplicatePair] = []
    for start in range(0, len(candidates.first), PAIRS_PER_BATCH):
        batch = Candidates(*(part[start : start + PAIRS_PER_BATCH] for part in candidates))
        pairs.extend(_confirmed(batch, structures))
    return sorted(pairs)


def _find_candidates(fingerprints: Sequence[Fingerprint]) -> Candidates:
    """The pairs whose hashes are alike, each once, in the crop and flip that fit best."""
    found = np.concatenate(list(_similar_hashes(fingerprints)))  # (M, 5)
    ends = np.sort(found[:, :2], axis=1)
    order = np.lexsort((found[:, 4], ends[:, 1], ends[:, 0]))
    _, best = np.unique(ends[order], axis=0, return_index=True)
    return Candidates(*found[order[best], :4].T)


def _similar_hashes(fingerprints: Sequence[Fingerprint]) -> Iterator[NDArray[np.int64]]:
    """Arrays (M, 5) of first, second, crop, flip, distance in bits, block by block of firsts."""
    # Contiguous along the images, which is what makes this fast.
    crops = np.stack([one.crops for one in fingerprints], axis=-1)  # (16, 2, N)
    flips = np.stack([one.flips for one in fingerprints], axis=-1)  # (4, 2, N)
    n = len(fingerprints)
    rows = max(1, PAIRS_PER_BLOCK // n)
    for start in range(0, n, rows):
        block = crops[:, :, start : start + rows, None]
        for crop, flip in np.ndindex(len(CROPS), len(FLIPS)):
            bits = np.bitwise_count(block[crop, 0] ^ flips[flip, 0])
            bits += np.bitwise_count(block[crop, 1] ^ flips[flip, 1])
            first, second = np.divmod(np.flatnonzero(bits <= MAX_HASH_DISTANCE), n)
            variant = np.full((2, len(first)), [[crop], [flip]])
            found = np.stack([first + start, second, *variant, bits[first, second]], axis=1)
            yield found[first + start != second].astype(np.int64)


def _confirmed(candidates: Candidates, structures: NDArray[np.float16]) -> Iterator[DuplicatePair]:
    """Those of the candidates whose fine structure agrees once they are laid on each other."""
    first = structures[candidates.first].astype(np.float32)
    turned = np.stack(_flip_all(structures[candidates.second].astype(np.float32)))
    second = turned[candidates.flip, np.arange(len(first))]
    cut = np.array(CROPS, dtype=np.float32)[candidates.crop]  # (P, 4)
    likely = _correlation(_cut_out(first, cut), second) >= MIN_START_CORRELATION
    first, second, cut = first[likely], second[likely], cut[likely]
    cut = _align(first, second, cut)
    correlation = _correlation(_cut_out(first, cut), second)
    pairs = (part[likely].tolist() for part in candidates)
    for one, other, _, flip, agreement in zip(*pairs, correlation.tolist(), strict=True):
        if agreement >= MIN_CORRELATION:
            earlier, later = sorted((one, other))
            yield DuplicatePair(earlier, later, "near", FLIPS[flip], 1 - agreement)


def _align(first: Floats, second: Floats, cut: Floats) -> Floats:
    """Refine what is cut off the first pictures so that they fit the second ones best.

    Gauss-Newton steps on the squared difference, in the position of the four edges and the gain
    (Lucas and Kanade 1981, with the warp x -> left + (1 - left - right) x).

    Args:
        first: (P, S, S).
        second: (P, S, S).
        cut: (P, 4) shares cut off left, top, right, bottom to start from.
    """
    across, down = CENTRES, CENTRES[:, None]
    for _ in range(ALIGNMENT_STEPS):
        picture = _cut_out(first, cut)
        slope_y, slope_x = np.gradient(picture, 1 / STRUCTURE_PX, axis=(1, 2))
        slope_x /= (1 - cut[:, 0] - cut[:, 2])[:, None, None]
        slope_y /= (1 - cut[:, 1] - cut[:, 3])[:, None, None]
        moves = [slope_x * (1 - across), slope_y * (1 - down), -slope_x * across, -slope_y * down]
        design = np.stack([*moves, picture], axis=1).reshape(-1, 5, STRUCTURE_PX**2)
        normal = design @ design.transpose(0, 2, 1)
        # Without it, edges along which a picture does not change could move anywhere.
        normal += DAMPING * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(5)
        solution = np.linalg.solve(normal, design @ second.reshape(-1, STRUCTURE_PX**2, 1))
        cut = np.clip(cut + solution[:, :4, 0], -MAX_CUT, MAX_CUT).astype(np.float32)
    return cut


def _cut_out(pictures: Floats, cut: Floats) -> Floats:
    """(P, S, S): what is left of pictures (P, S, S) after a cut (P, 4), scaled to the same size.

    Bilinear; where a share is negative the picture is continued with zeros.
    """
    columns = _sampling(cut[:, 0], cut[:, 2])
    rows = _sampling(cut[:, 1], cut[:, 3])
    return rows @ pictures @ columns.transpose(0, 2, 1)


def _sampling(before: Floats, after: Floats) -> Floats:
    """(P, S, S) weights of S pixels (last axis) in S samples, with shares (P,) cut at both ends."""
    samples = before[:, None] + (1 - before - after)[:, None] * CENTRES  # (P, S)
    return np.maximum(0, 1 - STRUCTURE_PX * np.abs(samples[:, :, None] - CENTRES))


def _correlation(first: Floats, second: Floats) -> Floats:
    """(P,) Pearson correlation of pictures (P, S, S) inside the margin; 0 for even ones."""
    inside = np.s_[:, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    first, second = (part[inside] for part in (first, second))
    first, second = (part - part.mean(axis=(1, 2), keepdims=True) for part in (first, second))
    products = (first * second).sum(axis=(1, 2))
    norms = np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    return products / np.where(norms > 0, norms, 1)
