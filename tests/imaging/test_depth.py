"""Pictures of more than 8 bits become the right grey, whatever file holds them."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from stages.config.params import Grey, PercentileGrey, WindowGrey
from stages.imaging.decode import UnreadableImage, decode

WHOLE_RANGE = PercentileGrey(kind="percentiles", low=0, high=100)
ROBUST = PercentileGrey(kind="percentiles", low=0.5, high=99.5)
COLOURS = {0: 1, 4: 2, 2: 3, 6: 4}  # PNG 1.2, 11.2.2: colour type -> samples of a pixel

Deep = NDArray[np.uint16]


def twelve_bits() -> Deep:
    """(40, 64) values 0 to 4095, growing along the rows."""
    return (np.arange(40 * 64) * 4095 // (40 * 64 - 1)).astype(np.uint16).reshape(40, 64)


def as_grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """What the lowest to the highest value become by 0 to 255."""
    low, high = float(values.min()), float(values.max())
    return np.rint((values.astype(np.float64) - low) * 255 / (high - low)).astype(np.uint8)


def png(samples: Deep, colour_type: int) -> bytes:
    """A PNG of 16 bits; (H, W) or (H, W, samples of a pixel)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff(values: NDArray[np.generic], **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def by_opencv(suffix: str, values: NDArray[np.generic]) -> bytes:
    done, encoded = cv2.imencode(suffix, values)
    assert done
    return bytes(encoded)


def rgb(values: Deep) -> Deep:
    return np.dstack([values] * 3)


def with_alpha(samples: Deep, alpha: Deep) -> Deep:
    return np.dstack([samples, alpha])


def opaque() -> Deep:
    return np.full((40, 64), 65535, dtype=np.uint16)


DEEP_FILES = {
    "grey PNG": (png(twelve_bits(), 0), "I;16"),
    "grey and alpha PNG": (png(with_alpha(twelve_bits(), opaque()), 4), "RGBA;16"),
    "RGB PNG": (png(rgb(twelve_bits()), 2), "RGB;16"),
    "RGBA PNG": (png(with_alpha(rgb(twelve_bits()), opaque()), 6), "RGBA;16"),
    "grey TIFF": (tiff(twelve_bits()), "I;16"),
    "grey TIFF, deflated": (tiff(twelve_bits(), compression="zlib", predictor=True), "I;16"),
    "RGB TIFF": (tiff(rgb(twelve_bits()), photometric="rgb"), "RGB;16"),
    "RGB TIFF, big endian": (
        tiff(rgb(twelve_bits()), photometric="rgb", byteorder=">"),
        "RGB;16",
    ),
    "RGB TIFF, deflated": (
        tiff(rgb(twelve_bits()), photometric="rgb", compression="zlib"),
        "RGB;16",
    ),
    "RGB TIFF, LZW": (by_opencv(".tiff", rgb(twelve_bits())), "RGB;16"),
    "RGB TIFF, tiles": (tiff(rgb(twelve_bits()), photometric="rgb", tile=(16, 32)), "RGB;16"),
    "RGBA TIFF": (
        tiff(
            with_alpha(rgb(twelve_bits()), opaque()),
            photometric="rgb",
            extrasamples=["unassalpha"],
        ),
        "RGBA;16",
    ),
    "grey JPEG 2000": (by_opencv(".jp2", twelve_bits()), "I;16"),
    "RGB JPEG 2000": (by_opencv(".jp2", rgb(twelve_bits())), "RGB;16"),
    "RGB PPM": (b"P6\n64 40\n65535\n" + rgb(twelve_bits()).astype(">u2").tobytes(), "RGB;16"),
    "RGB PPM of 12 bits": (
        b"P6\n64 40\n4095\n" + rgb(twelve_bits()).astype(">u2").tobytes(),
        "RGB;12",
    ),
    "grey PGM of 12 bits": (b"P5\n64 40\n4095\n" + twelve_bits().astype(">u2").tobytes(), "I"),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_twelve_bits_keep_all_their_levels_in_any_container(name: str) -> None:
    content, mode = DEEP_FILES[name]
    decoded = decode(content, WHOLE_RANGE)
    assert decoded.mode == mode
    assert len(np.unique(decoded.pixels)) == 256
    different = decoded.pixels.astype(int) - as_grey(twelve_bits())
    assert np.abs(different).max() <= (1 if "2000" in name else 0)


def test_colours_of_16_bits_become_luma() -> None:
    samples = np.zeros((16, 16, 3), dtype=np.uint16)
    samples[0, 0], samples[0, 1], samples[0, 2] = (4000, 0, 0), (0, 4000, 0), (0, 0, 4000)
    samples[1, 0] = 4000
    assert decode(png(samples, 2), WHOLE_RANGE).pixels[0, :3].tolist() == [76, 150, 29]


@pytest.mark.parametrize("hot", [1, 5])
@pytest.mark.parametrize("name", ["grey PNG", "RGB TIFF"])
def test_hot_pixels_do_not_darken_the_rest(name: str, hot: int) -> None:
    values = twelve_bits()
    values.flat[100 : 100 + hot] = 65535
    content = png(values, 0) if name == "grey PNG" else tiff(rgb(values), photometric="rgb")
    pixels = decode(content, ROBUST).pixels
    assert pixels.flat[100] == 255
    assert abs(int(np.median(pixels)) - int(np.median(as_grey(twelve_bits())))) <= 2


def test_dead_pixels_do_not_brighten_the_rest() -> None:
    values = twelve_bits() + np.uint16(30000)
    values[5, 5] = 0
    pixels = decode(png(values, 0), ROBUST).pixels
    assert pixels[5, 5] == 0
    assert abs(int(np.median(pixels)) - int(np.median(as_grey(twelve_bits())))) <= 2


def test_half_a_percent_of_the_values_goes_at_each_end() -> None:
    values = np.arange(1000, dtype=np.uint16).reshape(25, 40)
    pixels = decode(png(values, 0), ROBUST).pixels.ravel()
    # Of 1000 values the percentiles fall on the 5th and the 994th, inwards.
    assert (np.flatnonzero(pixels == 0).max(), np.flatnonzero(pixels == 255).min()) == (6, 993)


def test_window_is_the_same_for_all_pictures() -> None:
    values = np.zeros((20, 20), dtype=np.int16)
    values[0, :5] = [-2000, -1000, -300, 400, 3000]
    window = WindowGrey(kind="window", low=-1000, high=400)
    pixels = decode(tiff(values), window).pixels
    assert pixels[0, :5].tolist() == [0, 0, 128, 255, 255]
    assert pixels[1, 1] == 182  # 1000 * 255 / 1400


@pytest.mark.parametrize("grey", [ROBUST, WHOLE_RANGE, WindowGrey(kind="window", low=5, high=9)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_eight_bits_stay_as_they_are(grey: Grey, mode: str) -> None:
    values = np.arange(40 * 50).reshape(40, 50) % 90 + 60
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).convert(mode).save(buffer, "PNG")
    np.testing.assert_array_equal(decode(buffer.getvalue(), grey).pixels, values)


def test_picture_of_nearly_one_value_is_scaled_from_lowest_to_highest() -> None:
    values = np.full((40, 64), 700, dtype=np.uint16)
    values[0, 0], values[0, 1] = 600, 801
    assert decode(png(values, 0), ROBUST).pixels[0, :3].tolist() == [0, 255, 127]


def test_alpha_of_16_bits_lays_the_picture_on_black() -> None:
    alpha = opaque()
    alpha[:, 32:] = 32768
    alpha[:, 60:] = 0
    pixels = decode(png(with_alpha(twelve_bits(), alpha), 4), WHOLE_RANGE).pixels
    expected = as_grey(twelve_bits()[:, :60]).astype(float)
    expected[:, 32:] /= 2
    np.testing.assert_allclose(pixels[:, :60], expected, atol=1)
    assert pixels[:, 60:].max() == 0


def test_alpha_that_is_multiplied_in_is_not_multiplied_twice() -> None:
    alpha = np.full((40, 64), 32768, dtype=np.uint16)
    content = tiff(
        with_alpha(rgb(twelve_bits()), alpha), photometric="rgb", extrasamples=["assocalpha"]
    )
    np.testing.assert_array_equal(decode(content, WHOLE_RANGE).pixels, as_grey(twelve_bits()))


def test_deep_picture_of_which_nothing_shows_is_refused() -> None:
    with pytest.raises(UnreadableImage, match=r"^fully transparent: nothing of it shows$"):
        decode(png(with_alpha(twelve_bits(), 0 * opaque()), 4), WHOLE_RANGE)


@pytest.mark.parametrize(
    ("values", "lowest", "highest"),
    [
        (np.array([0, 3_590_000_000, 1_795_000_000], np.uint32), 0, 255),
        (np.array([-500, 4500, 2010], np.int32), 0, 255),
        (np.array([-0.5, 0.5, 0.0], np.float32), 0, 255),
        (np.array([-1000, 3000, 1000], np.int16), 0, 255),
    ],
)
def test_numbers_of_other_kinds_are_read_as_what_they_are(
    values: NDArray[np.generic], lowest: int, highest: int
) -> None:
    picture = np.full((16, 16), values[2], dtype=values.dtype)
    picture[0, :2] = values[:2]
    assert decode(tiff(picture), WHOLE_RANGE).pixels[0, :3].tolist() == [lowest, highest, 128]


def deep_tiff(dtype: str) -> bytes:
    return tiff((twelve_bits() % 120).astype(dtype))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (deep_tiff("int8"), "^signed values of 8 bits: save it as grey of 8 or 16 bits$"),
        (deep_tiff("float16"), "^a TIFF of a kind that cannot be read, or with a damaged header"),
        (deep_tiff("float64"), "^a TIFF of a kind that cannot be read"),
        (tiff(rgb(twelve_bits()).astype(np.float32), photometric="rgb"), "^a TIFF of a kind that"),
        (
            tiff(
                rgb(twelve_bits()).transpose(2, 0, 1).copy(),
                photometric="rgb",
                planarconfig="separate",
            ),
            "^RGB of more than 8 bits in a way that is not read: save it as 16-bit grey$",
        ),
        (
            tiff(with_alpha(rgb(twelve_bits()), opaque()), photometric="separated"),
            "^CMYK of more than 8 bits in a way that is not read",
        ),
    ],
    ids=["int8", "float16", "float64", "float RGB", "planes apart", "CMYK"],
)
def test_what_cannot_be_read_with_all_its_bits_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode(content, WHOLE_RANGE)
