"""Archives as they come, broken or built to harm: unpacked and listed, or refused in one line.

    python -m tests.faults.archives              # 1,000 archives, a minute

Each is opened as `prepare` opens it, and each of its files read. Whatever becomes of it, nothing
may be written outside the scratch folder, nothing may stay in it, and an error is one line. An
archive that was not damaged and breaks no rule must give its files, byte by byte.
"""

import argparse
import bz2
import gzip
import io
import logging
import lzma
import os
import random
import signal
import struct
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Dataset
from stages.sources.item import UnreadableImage
from stages.sources.listing import open_source
from tests.conftest import RawParams, load_raw_params, shrink

Members = dict[str, bytes]

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
SUFFIXES = (".zip", *MODES)
TAR_FORMATS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
ESCAPES = (
    *("../out.png", "covid/../../out.png", "/tmp/out.png", "//out.png", "..\\out.png"),
    *("C:\\out.png", "c:out.png", "covid/..", "..", "/", "./../out.png", "covid\\..\\..\\o.png"),
    *("\\\\server\\out.png", "covid/a\0/../../../out.png", "~/../out.png", "/etc/out.png"),
)
SPECIAL_TYPES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z", b"M")
LINKS = (
    "/etc/passwd",
    "../../../etc/passwd",
    ".",
    "covid",
    "covid/0.png",
    "link.png",
    "",
    "/dev/zero",
)
ODD_NAMES = (
    *("covid/a\rb.png", "covid/a\nb.png", "covid/\x1b[31m.png", "covid/\u202egnp", "covid/肺.png"),
    *("covid/e\u0301.png", "covid/é.png", "covid/ .png", "covid/-h", "covid/" + "x" * 300),
    *("covid/" + "é" * 130 + ".png", "covid/con.png", "covid/a:b.png", "covid/.hidden", "covid//a"),
    *("covid/a/", "covid/a/.", "", ".", "./", "covid/\ud800.png", "covid/\x7f", "covid/a\0b"),
)
SECONDS = 20  # for an archive; more is a hang


class Hang(BaseException):
    """Took too long; no OSError, which the reader would take for damage."""


def members(rng: random.Random) -> Members:
    """The files of two classes."""
    return {
        f"{label}/{number}.png": rng.randbytes(rng.choice((0, 10, 500, 5000)))
        for label in ("covid", "normal")
        for number in range(rng.randint(1, 4))
    }


def pack(rng: random.Random, suffix: str, files: Members) -> bytes:
    """A sound archive, in one of the ways there are."""
    buffer = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(buffer, "w", rng.choice(METHODS)) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
        return buffer.getvalue()
    entries = [(tarfile.TarInfo(name), content) for name, content in files.items()]
    return pack_tar(rng, suffix, entries)


def pack_tar(
    rng: random.Random, suffix: str, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> bytes:
    buffer = io.BytesIO()
    options = {"format": rng.choice(TAR_FORMATS), "errors": "surrogateescape"}
    with tarfile.open(fileobj=buffer, mode=MODES[suffix], **options) as archive:  # type: ignore[call-overload]
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def sound(rng: random.Random, suffix: str) -> bytes:
    return pack(rng, suffix, members(rng))


def cut(rng: random.Random, suffix: str) -> bytes:
    content = sound(rng, suffix)
    return content[: rng.randrange(len(content))]


def flipped(rng: random.Random, suffix: str) -> bytes:
    content = bytearray(sound(rng, suffix))
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def flipped_within(rng: random.Random, suffix: str) -> bytes:
    """Of a compressed tar the tar, so that its compression is sound; of a zip the table."""
    if suffix == ".zip":
        content = bytearray(sound(rng, suffix))
        start = content.find(b"PK\1\2")
        content[rng.randrange(start, len(content))] = rng.randrange(256)
        return bytes(content)
    content = bytearray(sound(rng, ".tar"))
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(2048)] = rng.choice((rng.randrange(256), 0, 0x37, 0x80, 0xFF))
    if rng.random() < 0.7:
        fix_checksum(content, 0)
    return compress(suffix, bytes(content))


def compress(suffix: str, tar: bytes) -> bytes:
    kind = suffix.rpartition(".")[2]
    pack_bytes: dict[str, Callable[[bytes], bytes]] = {
        **{"gz": gzip.compress, "tgz": gzip.compress},
        **{"bz2": bz2.compress, "xz": lzma.compress},
    }
    return pack_bytes.get(kind, bytes)(tar)


def fix_checksum(tar: bytearray, start: int) -> None:
    """Make the sum of a header right again (POSIX 1003.1, ustar)."""
    tar[start + 148 : start + 156] = b" " * 8
    total = sum(tar[start : start + 512])
    tar[start + 148 : start + 156] = b"%06o\0 " % total


def escaping(rng: random.Random, suffix: str) -> bytes:
    return pack(rng, suffix, members(rng) | {rng.choice(ESCAPES): b"out"})


def odd_names(rng: random.Random, suffix: str) -> bytes:
    names = rng.sample(ODD_NAMES, rng.randint(1, 3))
    try:
        return pack(rng, suffix, members(rng) | dict.fromkeys(names, b"x"))
    except (UnicodeError, ValueError):  # no name in this format
        return sound(rng, suffix)


def other_encoding(rng: random.Random, suffix: str) -> bytes:
    """Names whose bytes are not UTF-8, marked as such or not."""
    content = pack(rng, suffix if suffix == ".zip" else ".tar", members(rng) | {"covid/QQQQ": b""})
    odd = rng.choice((b"\xff\xfe\xfd\xfc", b"\x80\x81\x82\x83", b"\x93\xfa\x96\x7b", b"\xc3(\xc3("))
    changed = bytearray(content.replace(b"QQQQ", odd))
    if suffix == ".zip" and rng.random() < 0.5:  # say that they are UTF-8: bit 11
        place = changed.find(b"PK\1\2")
        while place >= 0:
            changed[place + 9] |= 8
            place = changed.find(b"PK\1\2", place + 1)
    if suffix != ".zip":
        fix_checksum(changed, changed.find(b"covid/" + odd))
    return bytes(changed) if suffix == ".zip" else compress(suffix, bytes(changed))


def links(rng: random.Random, suffix: str) -> bytes:
    if suffix == ".zip":
        buffer = io.BytesIO(sound(rng, suffix))
        with zipfile.ZipFile(buffer, "a") as archive:
            link = zipfile.ZipInfo("covid/link.png")
            link.external_attr = rng.choice((0o120777, 0o020666, 0o010666)) << 16
            archive.writestr(link, rng.choice(LINKS))
        return buffer.getvalue()
    link = tarfile.TarInfo(rng.choice(("covid/link.png", "covid", "link")))
    link.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE))
    link.linkname = rng.choice(LINKS)
    through = tarfile.TarInfo(f"{link.name}/through.png")
    files = [(tarfile.TarInfo(name), content) for name, content in members(rng).items()]
    return pack_tar(rng, suffix, [*files[:1], (link, b""), (through, b"x"), *files[1:]])


def specials(rng: random.Random, suffix: str) -> bytes:
    if suffix == ".zip":
        return links(rng, suffix)
    entry = tarfile.TarInfo("covid/device.png")
    entry.type, entry.devmajor, entry.devminor = rng.choice(SPECIAL_TYPES), 1, 5
    entry.mode = 0o6777
    files = [(tarfile.TarInfo(name), content) for name, content in members(rng).items()]
    return pack_tar(rng, suffix, [(entry, b""), *files])


def duplicates(rng: random.Random, suffix: str) -> bytes:
    """The same name twice, in two cases, or as a file and as a folder."""
    files = list(members(rng).items())
    again = rng.choice(
        ("covid/0.png", "COVID/0.PNG", "covid/./0.png", "covid/0.png/a.png", "covid")
    )
    entries = [*files, (again, b"again")]
    rng.shuffle(entries)
    if suffix != ".zip":
        return pack_tar(rng, suffix, [(tarfile.TarInfo(n), c) for n, c in entries])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def header_bomb(rng: random.Random, suffix: str) -> bytes:
    """Headers that claim, or hold, far more than headers do; of a zip, many members of nothing."""
    if suffix == ".zip":
        return pack(rng, suffix, {f"covid/{n}": b"" for n in range(rng.choice((500, 2000)))})
    header = tarfile.TarInfo("././@LongLink")
    header.type = rng.choice((b"L", b"K", b"x", b"g"))
    held = bytes(rng.choice((0, 2**12, 2**21)))
    header.size = rng.choice((2**31, 2**33, 2**40, len(held)))
    nested = header.tobuf() * rng.choice((1, 1, 2000))
    return compress(suffix, nested + held + bytes(1024))


def deep(rng: random.Random, suffix: str) -> bytes:
    path = "covid/" + "a/" * rng.choice((90, 99, 101, 1000, 3000)) + "0.png"
    if rng.random() < 0.3:
        path = "covid/" + f"{'x' * 200}/" * rng.choice((15, 25, 60)) + "0.png"
    try:
        return pack(rng, suffix, members(rng) | {path: b"deep"})
    except ValueError:  # ustar has no room for it
        return sound(rng, suffix)


def huge_claim(rng: random.Random, suffix: str) -> bytes:
    """Sizes in headers that are not those of the contents."""
    size = rng.choice((2**31, 2**32 - 1, 2**40, 2**62, 1, 0))
    if suffix == ".zip":
        content = bytearray(sound(rng, suffix))
        place = content.find(b"PK\1\2")
        offset = rng.choice((20, 24, 28, 30, 42))  # packed, unpacked, name, extra, place
        width = 2 if offset in (28, 30) else 4
        content[place + offset : place + offset + width] = (size % 256**width).to_bytes(
            width, "little"
        )
        return bytes(content)
    entry = tarfile.TarInfo("covid/huge.png")
    entry.size = size
    head = entry.tobuf(tarfile.GNU_FORMAT)
    return compress(suffix, head + rng.randbytes(600) + bytes(rng.choice((0, 1024))))


def bomb(rng: random.Random, suffix: str) -> bytes:
    """A file of 4 MiB of zeros: under the limits, and no picture."""
    return pack(rng, suffix, members(rng) | {"covid/bomb.png": bytes(2**22)})


def overlapping(rng: random.Random, suffix: str) -> bytes:
    """A zip of which all members are the same bytes (Fifield 2019); a tar in a tar."""
    if suffix != ".zip":
        return pack(rng, suffix, members(rng) | {"covid/inner.tar": sound(rng, ".tar")})
    one = pack(rng, ".zip", {"covid/0000.png": bytes(100_000)})
    start, end = one.find(b"PK\1\2"), one.find(b"PK\5\6")
    count = 400
    table = b"".join(
        one[start:end].replace(b"0000.png", b"%04d.png" % number) for number in range(count)
    )
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(table), start, 0)
    return one[:start] + table + tail


def nested(rng: random.Random, suffix: str) -> bytes:
    inner = {f"covid/inner{end}": sound(rng, end) for end in rng.sample(SUFFIXES, 2)}
    return pack(rng, suffix, members(rng) | inner)


def encrypted(rng: random.Random, suffix: str) -> bytes:
    """A zip whose members say that they are encrypted, in one or both tables; a tar within gpg."""
    content = bytearray(sound(rng, suffix))
    if suffix != ".zip":
        return b"\x85\x02\x0c\x03" + bytes(content)
    for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        if mark == b"PK\1\2" or rng.random() < 0.5:
            content[content.find(mark) + flags] |= 1
    if rng.random() < 0.3:
        content[content.find(b"PK\1\2") + 10] = 99  # AES
    return bytes(content)


def other_content(rng: random.Random, suffix: str) -> bytes:
    """Another kind of archive than the name says, or none."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(3000))
    if kind == 1:
        return b"<!doctype html><p>404"
    if kind == 2:
        return bytes(rng.choice((1, 512, 1024, 10240)))
    return sound(rng, rng.choice(SUFFIXES)) + rng.choice((b"", rng.randbytes(700), bytes(5000)))


def two_volumes(rng: random.Random, suffix: str) -> bytes:
    """One archive behind another, or behind a program, as self-extracting ones are."""
    return rng.choice((b"MZ" + rng.randbytes(900), sound(rng, suffix))) + sound(rng, suffix)


KINDS: tuple[Callable[[random.Random, str], bytes], ...] = (
    *(sound, cut, cut, flipped, flipped, flipped_within, flipped_within, escaping, escaping),
    *(odd_names, odd_names, other_encoding, links, links, specials, duplicates, header_bomb, deep),
    *(huge_claim, huge_claim, bomb, overlapping, nested, encrypted, other_content, two_volumes),
)


def snapshot(folder: Path, scratch: Path) -> dict[str, tuple[int, int]]:
    """Everything around the scratch folder, with size and time of change."""
    found = {}
    for level, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(level, name) != scratch]
        for name in (*folders, *files):
            state = Path(level, name).lstat()
            found[os.path.join(level, name)] = (state.st_size, state.st_mtime_ns)
    return found


def give(path: Path, dataset: Dataset, scratch: Path) -> dict[str, bytes | None]:
    """The files that an archive gives; None for one that cannot be read."""
    found: dict[str, bytes | None] = {}
    with open_source(dataset, seed=0, scratch=scratch) as listing:
        for item in listing.items:
            try:
                found[item.source_path] = item.read().content
            except UnreadableImage:
                found[item.source_path] = None
    return found


def outcome(
    path: Path, dataset: Dataset, scratch: Path, expected: Members | None
) -> tuple[str, str]:
    """What became of an archive, and what was said; faults begin with FAULT.

    Args:
        path: of the archive.
        dataset: whose source it is.
        scratch: to unpack it in.
        expected: its files, if it can only be refused or give these.
    """
    signal.alarm(SECONDS)
    try:
        files = give(path, dataset, scratch)
    except UserError as error:
        lines = str(error).splitlines()
        if len(lines) != 1 or not lines[0].isprintable() or len(lines[0]) > 1000:
            return "FAULT: not one line", str(error)
        return "refused", lines[0]
    except Hang:
        return "FAULT: hangs", ""
    except BaseException:
        return "FAULT: traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
    if expected is not None and files.keys() != expected.keys():
        return "FAULT: other files", f"{sorted(files)}, not {sorted(expected)}"
    if expected is not None and path.suffix != ".tar" and files != expected:  # has no checksums
        return "FAULT: other contents", ""
    return "given", f"{len(files)} files"


def run(count: int, seed: int, folder: Path) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Outcomes by kind, and faults."""
    signal.signal(signal.SIGALRM, stop)
    rng = random.Random(seed)
    raw = shrink(load_raw_params())
    outcomes: Counter[tuple[str, str]] = Counter()
    faults = []
    inside = folder / "a" / "b"  # what goes up some folders is seen
    scratch = inside / "scratch"
    scratch.mkdir(parents=True)
    for number in range(count):
        make, suffix = KINDS[number % len(KINDS)], SUFFIXES[number // 3 % len(SUFFIXES)]
        path = inside / f"{number}{suffix}"
        again = random.Random()
        again.setstate(rng.getstate())
        path.write_bytes(make(rng, suffix))
        expected = members(again) if make in (sound, cut, flipped) else None
        dataset = make_dataset(raw, path)
        before = snapshot(folder, scratch)
        what, said = outcome(path, dataset, scratch, expected)
        if snapshot(folder, scratch) != before:
            what = "FAULT: written outside"
        if make is sound and what != "given":
            what = f"FAULT: sound, and {what}"
        if left := os.listdir(scratch):
            what, said = "FAULT: left in scratch", str(left)
        outcomes[make.__name__, what] += 1
        if what.startswith("FAULT"):
            faults.append(f"{path.name} ({make.__name__}): {what}: {said}")
        else:
            path.unlink()
    return outcomes, faults


def make_dataset(raw: RawParams, path: Path) -> Dataset:
    source = {"source": {"kind": "archive", "path": str(path)}, "cohort": None}
    raw["datasets"]["ct"] |= source | {"group": {"kind": "none"}}
    return parse_params(raw).dataset("ct")


def stop(*_: object) -> None:
    raise Hang


def main() -> None:
    """Print what became of the archives of each kind; end with 1 after a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="in which archives that show a fault stay")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # zipfile: a name twice
    logging.disable()
    with tempfile.TemporaryDirectory() as temporary:
        outcomes, faults = run(given.count, given.seed, given.folder or Path(temporary))
    for (kind, what), count in sorted(outcomes.items()):
        print(f"{count:>4} {kind}: {what}")
    print(*faults, sep="\n")
    totals = Counter[str]()
    for (_, what), count in outcomes.items():
        totals[what] += count
    said = ", ".join(f"{count} {what}" for what, count in totals.most_common())
    print(f"{given.count} archives: {said}; {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
