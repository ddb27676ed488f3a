"""Dice of the lungs that are found with masks that people drew, in files of one's own.

    python -m tests.benchmarks.lung_dice --images data/real/xray3 --masks data/real/lungs

Masks are called as their images are. Figures are also given of the even- and of the odd-numbered
masks in the order of their names: the constants of `stages/imaging/lungs_xray.py` were chosen on
the even-numbered ones of V7 Labs, so that only the odd-numbered ones are new to the method.

V7's masks run through the shadow of the heart, where the method ends at its edge. What that alone
costs is shown by the second row: there the lung beside the heart is drawn on, up to the mirror
image of the other lung's inner border.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.config.params import FilesTruth, PercentileGrey
from stages.dataset.truth import LUNG_BIT
from stages.imaging.agreement import dice
from stages.imaging.decode import decode
from stages.imaging.lungs import OK, segment_lungs
from stages.imaging.truth import draw_truth
from stages.sources.item import RawImage, SourceItem
from stages.sources.matching import has_image_ending
from stages.sources.truth_files import find_truth, require_truth_matched

Mask = NDArray[np.bool_]

GREY = PercentileGrey(kind="percentiles", low=0.5, high=99.5)
WORST = 5
UPPER = 3  # a part of so many of the rows, in which lungs lie beside no heart


class Scored(NamedTuple):
    """One image."""

    name: str
    dice: float
    through_heart: float
    quality: str


def main() -> None:
    """Print means, spreads, halves and the worst."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, default=Path("data/real/xray3"))
    parser.add_argument("--masks", type=Path, default=Path("data/real/xray3-truth/lungs"))
    parser.add_argument("--modality", choices=("ct", "xray"), default="xray")
    given = parser.parse_args()
    scored = sorted(score_files(given.images, given.masks, given.modality))
    n_doubted = sum(one.quality != OK for one in scored)
    print(f"{len(scored)} images with a mask, lungs in doubt in {n_doubted} of them")
    print(f"{'Dice':30s}   n   mean     sd median  least")
    for field in ("dice", "through_heart"):
        values = np.array([getattr(one, field) for one in scored])
        for half, of_half in (("all", values), ("even", values[::2]), ("odd", values[1::2])):
            print(f"{field.replace('_', ' ') + ', ' + half:30s} {summarise(of_half)}")
    for one in sorted(scored, key=lambda one: one.dice)[:WORST]:
        print(f"{one.dice:.3f} {one.name} ({one.quality})")


def summarise(values: NDArray[np.float64]) -> str:
    """Count, mean, standard deviation, median and least of (n,) values."""
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    figures = (values.mean(), spread, np.median(values), values.min())
    return f"{len(values):3d} " + " ".join(f"{figure:6.3f}" for figure in figures)


def score_files(images: Path, masks: Path, modality: str) -> Iterator[Scored]:
    """Scores of every image that has a mask; a mask without an image stops the script."""
    paths = sorted(p for p in images.rglob("*") if p.is_file() and has_image_ending(p.name))
    items = [_item(path.relative_to(images).as_posix()) for path in paths]
    truth = FilesTruth(
        kind="files",
        path=str(masks),
        lungs=".",
        lung_values=[],
        boxes=None,
        findings=[],
        max_unmatched=0,
    )
    found = find_truth(items, truth)
    require_truth_matched(found.lines, 0, listed_in="")
    for path, item in zip(paths, found.items, strict=True):
        if item.truth is None or not item.truth.lung_masks:
            continue
        pixels = decode(path.read_bytes(), GREY).pixels
        drawn = draw_truth(item.truth, (pixels.shape[0], pixels.shape[1]), [])
        for mask, reason in drawn.unusable.items():
            raise SystemExit(f"{mask}: {reason}")
        known, lungs = (drawn.bits & LUNG_BIT) > 0, segment_lungs(pixels, modality)
        scores = [dice(mask, known) or 0.0 for mask in (lungs.mask, draw_through_heart(lungs.mask))]
        yield Scored(item.source_path, scores[0], scores[1], lungs.quality)


def _item(path: str) -> SourceItem:
    return SourceItem(path, "", None, None, "", lambda: RawImage(b""))


def draw_through_heart(mask: Mask) -> Mask:
    """The same lungs (H, W), the right one in the picture as far inwards as the other is."""
    sides = _two_largest(mask)
    if len(sides) < 2:
        return mask
    inner = [_border(sides[0], -1), _border(sides[1], 0)]
    both = np.flatnonzero((inner[0] >= 0) & (inner[1] >= 0))
    if not len(both):
        return mask
    upper = both[: max(1, len(both) // UPPER)]
    middle = np.median((inner[0][upper] + inner[1][upper]) / 2)
    lowest = inner[0][np.flatnonzero(inner[0] >= 0)[-1]]
    drawn = mask.copy()
    for row in np.flatnonzero(inner[1] >= 0):
        mirrored = 2 * middle - (inner[0][row] if inner[0][row] >= 0 else lowest)
        drawn[row, max(0, int(mirrored)) : inner[1][row]] = True
    return drawn


def _two_largest(mask: Mask) -> Sequence[Mask]:
    """The two largest parts, from left to right."""
    parts, count = ndimage.label(mask)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    largest = [parts == 1 + part for part in np.argsort(-areas, kind="stable")[:2]]
    return sorted(largest, key=lambda part: float(np.nonzero(part)[1].mean()))


def _border(part: Mask, which: int) -> NDArray[np.int64]:
    """(H,) first (0) or last (-1) column of a part in each row; -1 where it has none."""
    return np.array(
        [np.flatnonzero(row)[which] if row.any() else -1 for row in part], dtype=np.int64
    )


if __name__ == "__main__":
    main()
