"""Broken pictures among good ones: each is handled, and no good one is lost or changed.

    python -m tests.faults.broken_pictures       # 300 among 100, half a minute

The same 100 pictures are prepared alone and with the broken ones between them. A broken one must be
rejected, left out or listed as suspicious, with a reason; or its row must hold what was there
before the damage. Some formats have no checksum, so that a flipped bit is another picture: then
another decoder (OpenCV, which is no part of this path) must read the same.
"""

import argparse
import io
import os
import random
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.config.csv_file import read_csv
from stages.config.paths import Paths
from stages.dataset.image_set import load_image_set
from stages.imaging.square import fit_square
from stages.imaging.suspicion import INVERTED
from tests.conftest import REPOSITORY, load_raw_params, shrink, write_params

Pixels = NDArray[np.uint8]

SIDE = 64  # of pictures and rows: nothing is resized, so that values can be compared
END_OF_JPEG = b"\xff\xd9"
SAVED_AS = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {"quality": 95}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "tif": ("TIFF", {}),
    "deflate.tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"lossless": True}),
    "lossy.webp": ("WEBP", {"quality": 90}),
    "gif": ("GIF", {}),
    "pgm": ("PPM", {}),
    "jp2": ("JPEG2000", {}),
}
OTHER_MAGIC = (
    *(b"%PDF-1.7\n", b"\x7fELF", b"MZ", b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"\xff\xd8\xff\xe0"),
    *(b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"8BPS", b"SIMPLE  =", bytes(128) + b"DICM"),
    *(b"\x5c\x01\0\0", b"\x1f\x8b\x08", b"P5 64 64 255\n", b"\0\0\0\x0cjP  \r\n\x87\n", b"%!PS"),
)
TEXTS = (b"", b"\n", b"not a picture", b"<!doctype html><p>404", b'{"error": 403}', b"\0" * 5000)
VALUE_TOLERANCE = 2  # of two decoders, in the rounding of colours
# Formats that are nothing but values: zeros in place of these are black pixels.
BARE = ("bmp", "pgm", "tif")


class Made(NamedTuple):
    """A broken file.

    Attributes:
        kind: of damage.
        name: below its class folder.
        before: (SIDE, SIDE) what was there before, None if nothing.
    """

    kind: str
    name: str
    before: Pixels | None


def draw(rng: random.Random) -> Pixels:
    """A picture with the smoothness of an X-ray; no two are near-duplicates."""
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 1, (SIDE, SIDE))
    blurred = cv2.GaussianBlur(noise, (0, 0), 4)
    scaled = (blurred - blurred.min()) / np.ptp(blurred) * 235 + 10 + noise * 3
    return np.clip(scaled, 0, 255).astype(np.uint8)


def encode(pixels: NDArray[np.generic], ending: str) -> bytes:
    file_format, options = SAVED_AS[ending]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def flip(content: bytes, rng: random.Random, start: int, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random, ending: str) -> bytes:
    return content[: rng.randrange(1, len(content))]


def cut_and_end(content: bytes, rng: random.Random, ending: str) -> bytes:
    """With the mark of the end that the format has, as a careless repair leaves it."""
    end = {"png": content[-12:], "jpg": END_OF_JPEG, "gif": b";"}.get(ending.split(".")[-1], b"")
    return content[: rng.randrange(len(content) // 2, len(content) - len(end) - 1)] + end


def hole(content: bytes, rng: random.Random, ending: str) -> bytes:
    start = rng.randrange(len(content) // 4, len(content) // 2)
    return content[:start] + content[start + rng.randint(1, 300) :]


def zeros(content: bytes, rng: random.Random, ending: str) -> bytes:
    start = rng.randrange(len(content) // 4, len(content))
    return content[:start] + bytes(len(content) - start)


DAMAGES: dict[str, Callable[[bytes, random.Random, str], bytes]] = {
    "cut": cut,
    "cut with an end mark": cut_and_end,
    "flip in the header": lambda c, rng, ending: flip(c, rng, 0, 64),
    "flip in the body": lambda c, rng, ending: flip(c, rng, 64, len(c)),
    "hole": hole,
    "zeros to the end": zeros,
}


def huge(rng: random.Random) -> tuple[bytes, str]:
    """A header that claims more pixels than there are, its checksum right."""
    width, height = rng.choice([(2**31 - 1, 64), (65535, 65535), (2**20, 2**20), (30000, 3000)])
    kind = rng.choice(["png", "bmp", "gif", "pgm"])
    if kind == "pgm":
        return b"P5 %d %d 255\n" % (width, height) + bytes(100), kind
    content = bytearray(encode(draw(rng), kind))
    if kind == "png":
        content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    elif kind == "bmp":
        content[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    else:
        content[6:10] = b"\xff\xff\xff\xff"
    return bytes(content), kind


def zipped(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", encode(draw(rng), "png"))
    return buffer.getvalue()


def transparent(rng: random.Random) -> bytes:
    mode = rng.choice(["LA", "RGBA"])
    picture = Image.fromarray(draw(rng)).convert(mode)
    picture.putalpha(0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def blank(rng: random.Random) -> bytes:
    level, top = rng.randrange(256), rng.choice([1, 1, 4])
    noise = np.random.default_rng(rng.getrandbits(64)).integers(0, top, (SIDE, SIDE))
    return encode(np.clip(level + noise, 0, 255).astype(np.uint8), "png")


def several_frames(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(draw(rng)) for _ in range(rng.randint(2, 5))]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


CONTENTS: dict[str, Callable[[random.Random], tuple[bytes, str]]] = {
    "text": lambda rng: (rng.choice(TEXTS), rng.choice(["png", "jpg", "txt"])),
    "other magic": lambda rng: (rng.choice(OTHER_MAGIC) + rng.randbytes(500), "png"),
    "random bytes": lambda rng: (rng.randbytes(rng.randint(1, 5000)), "jpg"),
    "zip": lambda rng: (zipped(rng), "png"),
    "huge size claimed": huge,
    "fully transparent": lambda rng: (transparent(rng), "png"),
    "blank": lambda rng: (blank(rng), "png"),
    "several frames": lambda rng: (several_frames(rng), "tif"),
    "icon": lambda rng: (encode(draw(rng)[:8, :8].copy(), "png"), "png"),
}


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**41)


def unreadable(path: Path) -> None:
    """Root reads it all the same; its content is none then."""
    path.write_bytes(b"secret")
    path.chmod(0)


def looping(path: Path) -> None:
    path.symlink_to(path.name)


SPECIALS: dict[str, Callable[[Path], None]] = {
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all.png"),
    "link to itself": looping,
    "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "link to /dev/stdin": lambda path: path.symlink_to("/dev/stdin"),
    "link to a file of the kernel, waited for": lambda path: path.symlink_to("/proc/kmsg"),
    "link to a file of the kernel, of another size": lambda path: path.symlink_to(
        "/sys/kernel/uevent_seqnum"
    ),
    "link to a file of the kernel, unreadable": lambda path: path.symlink_to("/proc/self/mem"),
    "link out to a folder": lambda path: path.symlink_to(path.parent),
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "sparse file of 2 TiB": sparse,
    "no permission": unreadable,
}


def deep(rng: random.Random, before: Pixels) -> bytes:
    """12 bits in 16, in grey, and one hot pixel in some: what was there is there, stretched."""
    values = before.astype(np.uint16) * 16
    if rng.random() < 0.5:
        values[rng.randrange(SIDE), rng.randrange(SIDE)] = 65535
    return encode(values, rng.choice(["png", "tif"]))


def make_broken(folder: Path, count: int, rng: random.Random) -> list[Made]:
    """Write broken files of all kinds in turn into the class folders."""
    damages = [f"{kind}, {ending}" for kind in DAMAGES for ending in SAVED_AS]
    others = ["wrong ending", "12 bits in 16"] * 5
    kinds = [*damages, *list(CONTENTS) * 4, *list(SPECIALS) * 2, *others]
    made = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        label = ("covid", "normal")[number % 2]
        name, before = write_one(kind, folder / label, f"p{1000 + number}_0", rng)
        made.append(Made(kind, f"{label}/{name}", before))
    return made


def write_one(kind: str, folder: Path, stem: str, rng: random.Random) -> tuple[str, Pixels | None]:
    before = draw(rng)
    if kind in SPECIALS:
        SPECIALS[kind](folder / f"{stem}.png")
        return f"{stem}.png", None
    if kind in CONTENTS:
        content, ending = CONTENTS[kind](rng)
        before_known = None
    elif kind == "wrong ending":
        content, ending = encode(before, "png"), rng.choice(["jpg", "tif", "txt", "dcm", "zip"])
        before_known = before
    elif kind == "12 bits in 16":
        content, ending, before_known = deep(rng, before), "png", before
    else:
        damage, _, ending = kind.partition(", ")
        whole = encode(before, ending)
        content = DAMAGES[damage](whole, rng, ending)
        before_known = np.asarray(Image.open(io.BytesIO(whole)).convert("L"))
    (folder / f"{stem}.{ending}").write_bytes(content)
    return f"{stem}.{ending}", before_known


def make_good(folder: Path, count: int, rng: random.Random) -> None:
    endings = list(SAVED_AS)
    for number in range(count):
        label, ending = ("covid", "normal")[number % 2], endings[number % len(endings)]
        path = folder / label / f"p{number // 2 * 2 + number % 2:03d}_0.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(draw(rng), ending))


def prepare(source: Path, root: Path) -> str:
    """Run the stage as DVC does; returns what it printed."""
    raw = shrink(load_raw_params())
    group = {"kind": "pattern", "pattern": r"^(p\d+)_", "patients_per_class": False}
    raw["datasets"]["ct"] |= {
        "source": {"kind": "folder", "path": str(source)},
        **{"cohort": None, "group": group, "size_px": SIDE, "max_rejected": 1.0},
    }
    for view in raw["views"].values():
        view["size_px"] = SIDE
    root.mkdir()
    write_params(root / "params.yaml", raw)
    done = subprocess.run(
        [sys.executable, "-m", "stages.prepare", "ct"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    if done.returncode or "Traceback" in printed:
        raise SystemExit(f"prepare ended with {done.returncode}:\n{printed}")
    return printed


def outcome(made: Made, source: Path, rows: dict[str, Pixels], told: dict[str, str]) -> str:
    """What became of a broken file; a fault begins with FAULT."""
    name = made.name if made.name in told else f"{made.name}/"
    if name in told:
        return told[name] if told[name] else "FAULT: listed without a reason"
    if made.name not in rows:
        is_empty_folder = (source / made.name).is_dir()
        return "an empty folder" if is_empty_folder else "FAULT: in no table"
    row = rows[made.name]
    if made.before is not None and np.array_equal(row, made.before):
        return "what was there before"
    if made.kind == "12 bits in 16" and made.before is not None:
        alike = np.corrcoef(row.ravel(), made.before.ravel())[0, 1]
        return "all its levels" if alike > 0.98 and len(np.unique(row)) > 150 else "FAULT: levels"
    damage, _, ending = made.kind.partition(", ")
    is_unknowable = damage.startswith("flip") or (damage == "zeros to the end" and ending in BARE)
    if is_unknowable and is_read_alike(source / made.name, row):
        return "another picture, as another decoder reads it"
    return "FAULT: taken as it is"


def is_read_alike(path: Path, row: Pixels) -> bool:
    """Whether OpenCV reads the same; of a GIF, which it does not read, Pillow."""
    found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if path.suffix == ".gif":
        found = np.asarray(Image.open(path).convert("L"))
    if found is None:
        return False
    square, _ = fit_square(np.asarray(found, np.uint8), SIDE, "smooth")
    return bool(np.abs(square.astype(int) - row).max() <= VALUE_TOLERANCE)


def run(folder: Path, broken: int, good: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Outcomes, and faults in a line each."""
    rng = random.Random(seed)
    source = folder / "source"
    make_good(source, good, rng)
    prepare(source, folder / "alone")
    made = make_broken(source, broken, rng)
    prepare(source, folder / "among")
    alone, among = (
        load_image_set(Paths(folder / name).prepared("ct")) for name in ("alone", "among")
    )
    rows = dict(zip(among.manifest["source_path"], among.images, strict=True))
    faults = [
        f"good {name}: {'changed' if name in rows else 'lost'}"
        for name, row in zip(alone.manifest["source_path"], alone.images, strict=True)
        if name not in rows or not np.array_equal(rows[name], row)
    ]
    if len(alone.images) != good:
        faults.append(f"{good - len(alone.images)} good ones are not prepared")
    told = read_told(Paths(folder / "among").prepared("ct"))
    counts: Counter[str] = Counter()
    for one in made:
        found = outcome(one, source, rows, told)
        counts[found.partition(":")[0] if found.startswith("suspicious") else found] += 1
        if found.startswith("FAULT"):
            faults.append(f"{one.name} ({one.kind}): {found}")
    return counts, faults


def read_told(folder: Path) -> dict[str, str]:
    """What the tables of a prepared folder say of a file."""
    told = {}
    for table, column in (("rejected", "reason"), ("suspicious", "what")):
        found = read_csv(folder / f"{table}.csv", str)
        reasons = zip(found["file"], found[column], strict=True)
        # Noise may look inverted, which says nothing of damage.
        told |= {f: w and f"{table}: {w}" for f, w in reasons if w != INVERTED}
    left_out = read_csv(folder / "left_out.csv", str)
    reasons = zip(left_out["path"], left_out["reason"], strict=True)
    return told | {path: f"left out: {reason}" for path, reason in reasons}


def main() -> None:
    """Print what became of the broken files; end with 1 after a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=300, help="of broken files")
    parser.add_argument("--good", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="which stays there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        counts, faults = run(folder, given.count, given.good, given.seed)
    for what, count in counts.most_common():
        print(f"{count:>4} {what}")
    print(*faults, sep="\n")
    print(f"{given.count} broken among {given.good} good: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
