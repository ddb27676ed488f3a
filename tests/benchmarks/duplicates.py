"""Near-duplicates: the share found of each kind of planted copy, false joins, time per picture.

The pictures of a folder (all below it, or every second one), or phantoms, are searched for copies
among themselves, and then across sets (`find_shared`) for changed copies of some of them. A copy
joined to another picture than its own counts as joined falsely, unless the search joined these two
pictures in the set itself: public sets hold real near-duplicates.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from stages.config.params import PercentileGrey
from stages.imaging.decode import decode
from stages.imaging.duplicates import DuplicatePair, find_duplicates, find_shared
from stages.imaging.fingerprint import FINGERPRINT, fingerprint
from stages.imaging.grouping import join_images
from tests.benchmarks import measure
from tests.imaging.phantoms import draw_phantoms

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY = PercentileGrey(kind="percentiles", low=0, high=100)  # of pictures of more than 8 bits


class Copy(NamedTuple):
    """One planted copy: the picture's number and what was done to it."""

    of: int
    kind: str


def main() -> None:
    """Plant copies, look for them, and print what was found."""
    args = _parse()
    pictures = _read(args.folder, args.part) if args.folder else _draw(args)
    watch = measure.Stopwatch()
    known = _describe(pictures)
    described = watch.cost().per(len(pictures))
    chosen = np.linspace(0, len(pictures) - 1, min(args.copies, len(pictures))).astype(int)
    copies = [Copy(int(of), kind) for of in chosen for kind in CHANGES]
    planted = _describe([CHANGES[one.kind](pictures[one.of]) for one in copies])
    names = [str(number) for number in range(len(pictures))]
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        scratch = Path(folder)
        watch = measure.Stopwatch()
        own = find_duplicates(names, names, known, near=True, scratch=scratch)
        searched = watch.cost().per(len(pictures))
        shared = find_shared(known, planted, scratch=scratch)
    _show(copies, own, shared, len(pictures))
    joined = len({row for pair in own for row in pair[:2]})
    print(f"\n{len(pictures)} pictures: {len(own)} pairs among themselves, of {joined} pictures")
    print(f"to describe a picture: {1000 * described.cpu_seconds:.1f} ms CPU, decoding aside")
    print(f"to search for it:      {1000 * searched.cpu_seconds:.1f} ms CPU")
    print(measure.describe_run())


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--folder", type=Path, help="of PNG and JPEG files; else phantoms")
    parser.add_argument(
        "--part", choices=["all", "even", "odd"], default="all", help="files by sorted position"
    )
    parser.add_argument("--copies", type=int, default=8, help="pictures that get every change")
    parser.add_argument("--kind", default="ct", help="kind of phantoms")
    parser.add_argument("--patients", type=int, default=20, help="phantoms of each class")
    parser.add_argument("--px", type=int, default=128, help="side of phantoms")
    parser.add_argument("--scratch", type=Path, help="folder with room for the tables")
    return parser.parse_args()


def _read(folder: Path, part: str) -> list[Image.Image]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    chosen = {"all": files, "even": files[::2], "odd": files[1::2]}[part]
    return [Image.fromarray(decode(path.read_bytes(), GREY).pixels) for path in chosen]


def _draw(args: argparse.Namespace) -> list[Image.Image]:
    drawn = draw_phantoms(args.kind, patients=args.patients, size_px=args.px, seed=0)
    return [Image.fromarray(one.image) for one in drawn]


def _describe(pictures: Sequence[Image.Image]) -> NDArray[np.void]:
    return np.array([fingerprint(np.asarray(one)) for one in pictures], dtype=FINGERPRINT)


def _show(
    copies: Sequence[Copy],
    own: Sequence[DuplicatePair],
    shared: Sequence[DuplicatePair],
    count: int,
) -> None:
    found = {pair.second for pair in shared if pair.first == copies[pair.second].of}
    clusters = join_images(count, [pair[:2] for pair in own])
    false = {
        pair.second for pair in shared if clusters[pair.first] != clusters[copies[pair.second].of]
    }
    print(f"{'change':<28}{'n':>6}{'found':>10}{'joined falsely':>18}")
    for kind in CHANGES:
        rows = {number for number, one in enumerate(copies) if one.kind == kind}
        print(
            f"{kind:<28}{len(rows):>6}{len(rows & found) / len(rows):>10.1%}"
            f"{len(rows & false) / len(rows):>18.1%}"
        )
    print(
        f"{'all':<28}{len(copies):>6}{len(found) / len(copies):>10.1%}"
        f"{len(false) / len(copies):>18.1%}"
    )


Change = Callable[[Image.Image], Image.Image]


def _as_jpeg(quality: int) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=quality)
        return Image.open(content)

    return change


def _scaled(across: float, down: float) -> Change:
    return lambda one: one.resize((round(across * one.width), round(down * one.height)))


def _grey(factor: float, gamma: float, offset: float) -> Change:
    levels = 255 * factor * (np.arange(256) / 255) ** gamma + offset
    return lambda one: one.point(levels.clip(0, 255).astype(int).tolist())


def _cut(left: float, top: float, right: float, bottom: float) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        edges = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
        left_px, top_px, right_px, bottom_px = (round(edge) for edge in edges)
        return picture.crop((left_px, top_px, right_px, bottom_px))

    return change


def _turned(degrees: float, *, expand: bool) -> Change:
    return lambda one: one.rotate(degrees, Image.Resampling.BILINEAR, expand=expand)


def _framed(share: float, grey: int) -> Change:
    return lambda one: ImageOps.expand(one, round(share * max(one.size)), fill=grey)


def _written_on(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    draw, size = ImageDraw.Draw(picture), max(8, picture.width // 16)
    for x, y, text in ((0.05, 0.05, "L  2020-03-14"), (0.6, 0.85, "AX 5.0 mm")):
        draw.text((x * picture.width, y * picture.height), text, fill=255, font_size=size)
    return picture


def _several(picture: Image.Image) -> Image.Image:
    for change in (_cut(0, 0.06, 0.06, 0), _turned(2, expand=False), ImageOps.mirror):
        picture = change(picture)
    return _as_jpeg(75)(_framed(0.05, 0)(picture))


CHANGES: dict[str, Change] = {
    "JPEG, quality 50": _as_jpeg(50),
    "flipped": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 180 degrees": lambda one: one.rotate(180),
    "half as large": _scaled(0.5, 0.5),
    "twice as large": _scaled(2, 2),
    "a fifth wider": _scaled(1.2, 1),
    "brighter": _grey(1.1, 1, 8),
    "darker": _grey(0.85, 1, 0),
    "gamma 0.7": _grey(1, 0.7, 0),
    "gamma 1.5": _grey(1, 1.5, 0),
    "written on": _written_on,
    "4 % cut off every side": _cut(0.04, 0.04, 0.04, 0.04),
    "10 % cut off left and top": _cut(0.1, 0.1, 0, 0),
    "10 % cut off right and bottom": _cut(0, 0, 0.1, 0.1),
    "10 % cut off left and right": _cut(0.1, 0, 0.1, 0),
    "turned by 3 degrees": _turned(3, expand=False),
    "turned by -3, whole": _turned(-3, expand=True),
    "turned by 5 degrees": _turned(5, expand=False),
    "black frame of 3 %": _framed(0.03, 0),
    "black frame of 6 %": _framed(0.06, 0),
    "black frame of 12 %": _framed(0.12, 0),
    "white frame of 6 %": _framed(0.06, 255),
    "five of these at once": _several,
}

if __name__ == "__main__":
    main()
