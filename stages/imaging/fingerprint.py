"""What is kept of a picture to find its copies: some of its keypoints, and a thumbnail.

Both are taken from the picture stretched to a square, so that a copy stretched to another shape
looks the same. Keypoints are those of SIFT (Lowe 2004), all upright: a copy is turned by a few
degrees at most, or over, and of a picture turned over the descriptors are the same numbers in
another order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.imaging.opencv import cv2

# How a copy may be turned. CT exports stand on their head where rows were written bottom up.
FLIPS = ("same", "flipped", "upside down", "turned")

DESCRIBED_PX = 128  # keypoints are looked for in the picture reduced to this square: some 6 ms
THUMBNAIL_PX = 64
KEYPOINTS = 64  # the strongest ones
POSITIONS = 256  # steps of a keypoint's position along a side
MIN_CONTRAST = 0.005  # low, so that flat pictures have keypoints too; the strongest are kept

# A row per picture. A picture of fewer keypoints ends with descriptors of zeros.
FINGERPRINT = np.dtype(
    [
        ("positions", np.uint8, (KEYPOINTS, 2)),  # x, y
        ("descriptors", np.uint8, (KEYPOINTS, 128)),
        ("thumbnail", np.uint16, (THUMBNAIL_PX, THUMBNAIL_PX)),  # sums of 2 x 2 grey levels
    ]
)


def fingerprint(pixels: NDArray[np.uint8]) -> np.void:
    """Describe a picture (H, W) so that its copies can be found; a record of `FINGERPRINT`."""
    size = (DESCRIBED_PX, DESCRIBED_PX)
    # Pillow's box filter takes whole pixels only, by which a cut copy would differ.
    reduced = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    record = np.zeros((), dtype=FINGERPRINT)
    # Sums, since the vessels of a smooth X-ray are hardly more than a grey level high.
    cells = np.asarray(reduced).reshape(THUMBNAIL_PX, 2, THUMBNAIL_PX, 2)
    record["thumbnail"] = cells.sum(axis=(1, 3), dtype=np.uint16)
    sift = cv2.SIFT.create(nfeatures=2 * KEYPOINTS, contrastThreshold=MIN_CONTRAST)
    keypoints = _strongest(sift.detect(np.asarray(reduced), None))
    if keypoints:
        _, descriptors = sift.compute(np.asarray(reduced), keypoints)
        centres = (np.array([one.pt for one in keypoints]) + 0.5) * POSITIONS / DESCRIBED_PX
        record["positions"][: len(keypoints)] = np.clip(centres, 0, POSITIONS - 1)
        record["descriptors"][: len(keypoints)] = descriptors
    return cast(np.void, record[()])


def _strongest(keypoints: Sequence[cv2.KeyPoint]) -> list[cv2.KeyPoint]:
    """The strongest keypoints, upright; one that had several directions counts once."""
    upright: dict[tuple[float, ...], cv2.KeyPoint] = {}
    for one in sorted(keypoints, key=lambda one: (-one.response, one.pt, one.size)):
        one.angle = 0.0
        upright.setdefault((*one.pt, one.size), one)
    return list(upright.values())[:KEYPOINTS]


def flip_picture(picture: NDArray, flip: int) -> NDArray:
    """A picture (..., H, W) turned as `FLIPS` says at `flip`; each way undoes itself."""
    turns = (np.s_[..., :, :], np.s_[..., :, ::-1], np.s_[..., ::-1, :], np.s_[..., ::-1, ::-1])
    return np.ascontiguousarray(picture[turns[flip]])


def flip_positions(positions: NDArray[np.uint8], flip: int) -> NDArray[np.uint8]:
    """Positions (..., 2) of the same keypoints in the picture turned over."""
    is_mirrored = np.array([flip in (1, 3), flip in (2, 3)])
    return np.where(is_mirrored, POSITIONS - 1 - positions, positions).astype(np.uint8)


def flipped_order(flip: int) -> NDArray[np.int64]:
    """(128,) where the numbers of a descriptor stand in that of the picture turned over.

    A descriptor holds 4 rows of 4 cells with 8 directions each, every 45 degrees from the right,
    anticlockwise.
    """
    order = np.arange(128).reshape(4, 4, 8)
    directions = np.arange(8)
    if flip in (1, 3):
        order = order[:, ::-1, (4 - directions) % 8]
    if flip in (2, 3):
        order = order[::-1, :, -directions % 8]
    return order.ravel()


def open_fingerprints(path: Path) -> NDArray[np.void]:
    """(N,) records of a file in which they stand one after the other, as a read-only memory map."""
    if path.stat().st_size == 0:  # of which there is no map
        return np.empty(0, dtype=FINGERPRINT)
    return np.memmap(path, dtype=FINGERPRINT, mode="r")
