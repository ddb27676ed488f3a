"""Files that lost pixels are refused, also those that Pillow reads to the end."""

import io
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.config.params import PercentileGrey
from stages.imaging.damage import LAST_SCANS
from stages.imaging.decode import DecodedImage, UnreadableImage, decode

END_MARK = b"\xff\xd9"
SIDES = 160, 200


def picture() -> Image.Image:
    rows, columns = np.indices(SIDES)
    smooth = 128 + 60 * np.sin(columns / 20) + 50 * np.cos(rows / 15)
    noise = np.random.default_rng(0).normal(0, 8, SIDES)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def encoded(mode: str, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture().convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def read(content: bytes) -> DecodedImage:
    return decode(content, PercentileGrey(kind="percentiles", low=0.5, high=99.5))


JPEGS: dict[str, bytes] = {
    "grey": encoded("L", "JPEG"),
    "RGB": encoded("RGB", "JPEG"),
    "CMYK": encoded("CMYK", "JPEG"),
    "progressive": encoded("L", "JPEG", progressive=True),
    "progressive RGB": encoded("RGB", "JPEG", progressive=True),
    "restarts": encoded("L", "JPEG", restart_marker_blocks=10),
    "own tables": encoded("L", "JPEG", optimize=True),
}
Damage = Callable[[bytes], bytes]
JPEG_DAMAGES: dict[str, Damage] = {
    "cut short": lambda content: content[: len(content) // 2],
    "cut short, end mark": lambda content: content[: len(content) // 2] + END_MARK,
    "last rows cut, end mark": lambda content: content[:-60] + END_MARK,
    "a hole": lambda content: content[: len(content) // 2] + content[len(content) // 2 + 200 :],
    "half of it zeros": lambda content: (
        content[: len(content) // 2] + bytes(len(content) // 2) + END_MARK
    ),
}


@pytest.mark.parametrize("name", JPEGS)
def test_whole_jpeg_is_read_without_complaint(name: str) -> None:
    decoded = read(JPEGS[name])
    assert decoded.pixels.shape == SIDES
    assert decoded.complaints == ()


# A hole in a progressive JPEG can decode to other values, of which libjpeg knows nothing.
LOST = [
    (name, damage)
    for name in JPEGS
    for damage in JPEG_DAMAGES
    if not (name.startswith("progressive") and damage == "a hole")
]


@pytest.mark.parametrize(("name", "damage"), LOST)
def test_jpeg_that_lost_data_is_refused(name: str, damage: str) -> None:
    with pytest.raises(UnreadableImage, match=r"^damaged JPEG: data cut short or corrupt$"):
        read(JPEG_DAMAGES[damage](JPEGS[name]))


@pytest.mark.parametrize("name", ["progressive", "progressive RGB"])
def test_progressive_jpeg_cut_between_two_scans_is_told(name: str) -> None:
    content = JPEGS[name]
    scans = [place.start() for place in re.finditer(rb"\xff\xda", content)]
    for place in scans[1:]:
        tables = content.rindex(b"\xff\xc4", 0, place)  # those of the scan stand before it
        decoded = read(content[:tables] + END_MARK)
        assert decoded.complaints == (LAST_SCANS,)


def test_stray_bytes_behind_the_last_row_are_told_and_cost_nothing() -> None:
    content = JPEGS["grey"]
    decoded = read(content[:-2] + bytes(8) + END_MARK)
    assert len(decoded.complaints) == 1
    assert decoded.complaints[0].startswith("Corrupt JPEG data: 6 extraneous bytes before marker")
    np.testing.assert_array_equal(decoded.pixels, read(content).pixels)


def chunk_at(content: bytes, kind: bytes) -> int:
    return content.index(kind) + 4


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


PNG = encoded("L", "PNG")
PNG_DAMAGES = {
    "a bit of the pixels": flip(PNG, chunk_at(PNG, b"IDAT") + 500),
    "last byte of the pixels": flip(PNG, PNG.index(b"IEND") - 9),
    "checksum": flip(PNG, PNG.index(b"IEND") - 5),
    "no end": PNG[:-12],
    "cut short, end": PNG[: len(PNG) // 2] + PNG[-12:],
}


@pytest.mark.parametrize("name", PNG_DAMAGES)
def test_png_with_a_wrong_checksum_is_refused(name: str) -> None:
    with pytest.raises(UnreadableImage, match=r"^damaged PNG: data cut short or corrupt$"):
        read(PNG_DAMAGES[name])


@pytest.mark.parametrize("tile", [{}, {"tile": (64, 64)}])
def test_deflated_tiff_with_a_wrong_checksum_is_refused(tile: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.asarray(picture()), compression="zlib", **tile)
    content = buffer.getvalue()
    np.testing.assert_array_equal(read(content).pixels, np.asarray(picture()))
    part = zlib.compress(b"")[:1]  # each part begins as any deflated data do
    place = content.rindex(part, 0, len(content) // 2) + 300
    with pytest.raises(UnreadableImage, match=r"^damaged TIFF: data cut short or corrupt$"):
        read(content[:place] + bytes(20) + content[place + 20 :])


def test_what_pillow_warns_of_is_told() -> None:
    broken_exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # five entries that are not there
    decoded = read(encoded("L", "JPEG", exif=broken_exif))
    assert any("EXIF" in complaint for complaint in decoded.complaints)
    assert not any("\n" in complaint for complaint in decoded.complaints)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_whole_webp_is_read_without_complaint(mode: str) -> None:
    decoded = read(encoded(mode, "WEBP", lossless=True))
    np.testing.assert_array_equal(decoded.pixels, np.asarray(picture()))
    assert decoded.complaints == ()


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 90}])
def test_webp_that_ends_in_zeros_is_told(options: dict[str, Any]) -> None:
    whole = encoded("L", "WEBP", **options)
    unwritten = whole[:-500] + bytes(500)
    (complaint,) = read(unwritten).complaints
    assert complaint.startswith("zeros at the end")
