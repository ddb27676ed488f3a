import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from stages.config.params import Grey, PercentileGrey
from stages.imaging import decoded
from stages.imaging.decode import DecodedImage, UnreadableImage, decode

ORIENTATION = 274
WHOLE_RANGE = PercentileGrey(kind="percentiles", low=0, high=100)


def read(content: bytes, grey: Grey = WHOLE_RANGE) -> DecodedImage:
    return decode(content, grey)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def gradient(height: int = 20, width: int = 32) -> NDArray[np.uint8]:
    """(H, W) uint8 whose values differ from row to row and from column to column."""
    rows, columns = np.indices((height, width))
    return (4 * rows + 3 * columns).astype(np.uint8)


def colour(rgba: tuple[int, ...], mode: str) -> Image.Image:
    return Image.new(mode, (20, 20), rgba)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "JPEG2000", "WEBP"])
def test_grey_pixels_of_lossless_formats_come_back_unchanged(file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    decoded = read(encoded(Image.fromarray(gradient()), file_format, **options))
    np.testing.assert_array_equal(decoded.pixels, gradient())
    assert decoded.pixels.dtype == np.uint8
    mode = {"GIF": "P", "WEBP": "RGB"}.get(file_format, "L")
    assert decoded[1:] == (mode, file_format, ())


def test_rgb_becomes_bt601_luma() -> None:
    decoded = read(encoded(colour((255, 0, 0), "RGB")))
    assert np.unique(decoded.pixels).tolist() == [76]  # 0.299 * 255 = 76.2
    assert decoded.mode == "RGB"


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (colour((200, 200, 200, 128), "RGBA"), "RGBA"),
        (colour((200, 128), "LA"), "LA"),
    ],
)
def test_half_transparent_pixels_are_laid_on_black(image: Image.Image, mode: str) -> None:
    decoded = read(encoded(image))
    assert np.unique(decoded.pixels).tolist() == [100]  # 200 * 128 / 255 = 100.4
    assert decoded.mode == mode


@pytest.mark.parametrize(
    "image", [colour((255, 255, 255, 0), "RGBA"), colour((200, 0), "LA"), colour((0,) * 4, "RGBA")]
)
def test_picture_of_which_nothing_shows_is_refused(image: Image.Image) -> None:
    with pytest.raises(UnreadableImage, match=r"^fully transparent: nothing of it shows$"):
        read(encoded(image))


def test_transparent_half_is_black_and_the_other_as_it_is() -> None:
    image = colour((255, 255, 255, 0), "RGBA")
    image.paste((100, 100, 100, 255), (10, 0, 20, 20))
    assert read(encoded(image)).pixels[0, [0, 9, 10, 19]].tolist() == [0, 0, 100, 100]


def palette_image() -> Image.Image:
    """Left half index 0 (red), right half index 1 (white)."""
    image = Image.fromarray(np.repeat([[0] * 10 + [1] * 10], 20, axis=0).astype(np.uint8))
    image = image.convert("P")
    image.putpalette([255, 0, 0, 255, 255, 255])
    return image


def test_palette_indices_become_the_grey_of_their_colours() -> None:
    decoded = read(encoded(palette_image()))
    assert (decoded.pixels[0, 0], decoded.pixels[0, 19]) == (76, 255)
    assert decoded.mode == "P"


def test_transparent_palette_entry_is_black() -> None:
    decoded = read(encoded(palette_image(), transparency=1))
    assert (decoded.pixels[0, 0], decoded.pixels[0, 19]) == (76, 0)


def test_colour_key_of_a_grey_png_is_black() -> None:
    image = colour((200,), "L")
    image.putpixel((3, 4), 90)
    decoded = read(encoded(image, transparency=200))
    assert (decoded.pixels[4, 3], decoded.pixels.sum()) == (90, 90)


def test_cmyk_jpeg_keeps_dark_and_bright() -> None:
    image = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 32))
    decoded = read(encoded(image, "JPEG", quality=95))
    assert decoded.mode == "CMYK"
    assert decoded.pixels[:, :14].max() < 10
    assert decoded.pixels[:, 18:].min() > 245


def test_one_bit_image_becomes_black_and_white() -> None:
    decoded = read(encoded(Image.fromarray(gradient() > 60)))
    np.testing.assert_array_equal(decoded.pixels, np.where(gradient() > 60, 255, 0))
    assert decoded.mode == "1"


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_values_are_scaled_from_their_own_range(file_format: str) -> None:
    deep = np.full((16, 16), 1000, dtype=np.uint16)
    deep[0, :3] = [1510, 2000, 3040]  # 1000 + 510, 1000, 2040 of a range of 2040
    decoded = read(encoded(Image.fromarray(deep), file_format))
    assert decoded.pixels[0, :4].tolist() == [64, 125, 255, 0]
    assert decoded.mode == "I;16"


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_tiff_with_negative_values_is_scaled_from_its_own_range(dtype: type) -> None:
    hounsfield: NDArray[np.generic] = np.full((16, 16), -1000, dtype=dtype)
    hounsfield[0, :2] = [1000, 0]
    decoded = read(encoded(Image.fromarray(hounsfield), "TIFF"))
    assert decoded.pixels[0, :3].tolist() == [255, 128, 0]


def test_big_endian_sixteen_bit_tiff_is_read_in_its_byte_order() -> None:
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    image = Image.frombytes("I;16B", (16, 16), deep.astype(">u2").tobytes())
    decoded = read(encoded(image, "TIFF"))
    np.testing.assert_array_equal(decoded.pixels, np.arange(256).reshape(16, 16))


def test_sixteen_bit_tiff_that_stores_black_as_highest_value_is_inverted() -> None:
    deep = np.zeros((16, 16), dtype=np.uint16)
    deep[0, 0] = 60000
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    content = encoded(Image.fromarray(deep), "TIFF", tiffinfo=tags)
    decoded = read(content)
    assert decoded.pixels[0, :2].tolist() == [0, 255]


def test_constant_deep_image_is_black() -> None:
    decoded = read(encoded(Image.fromarray(np.full((16, 16), 5000, dtype=np.uint16))))
    assert np.unique(decoded.pixels).tolist() == [0]


def test_deep_image_with_a_value_that_is_not_finite_is_refused() -> None:
    values = np.zeros((16, 16), dtype=np.float32)
    values[3, 4] = np.nan
    with pytest.raises(UnreadableImage, match=r"^pixel values that are not finite$"):
        read(encoded(Image.fromarray(values), "TIFF"))


# How the upright picture is stored for each orientation (EXIF 2.32, tag 274).
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).T,
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](gradient())))
    decoded = read(encoded(stored, file_format, exif=exif))
    np.testing.assert_array_equal(decoded.pixels, gradient())


def test_exif_orientation_that_cannot_be_parsed_counts_as_upright() -> None:
    decoded = read(encoded(Image.fromarray(gradient()), exif=b"Exif\0\0not a TIFF header"))
    np.testing.assert_array_equal(decoded.pixels, gradient())


def test_preview_inside_a_camera_jpeg_is_no_second_frame() -> None:
    picture = Image.fromarray(gradient())
    content = encoded(picture, "MPO", save_all=True, append_images=[picture.resize((16, 16))])
    decoded = read(content)
    assert decoded.pixels.shape == (20, 32)
    assert decoded.format == "MPO"


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_file_of_several_frames_is_refused(file_format: str) -> None:
    frames = [Image.fromarray(gradient() + np.uint8(shift)).convert("RGB") for shift in (0, 50, 90)]
    content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
    with pytest.raises(
        UnreadableImage, match=r"^3 frames in one file: save each as its own image$"
    ):
        read(content)


def test_empty_file_is_refused() -> None:
    with pytest.raises(UnreadableImage, match=r"^empty file$"):
        read(b"")


def test_text_is_refused_without_an_object_address() -> None:
    with pytest.raises(UnreadableImage, match=r"^not an image, or a damaged header") as caught:
        read(b"patient,finding\n1,COVID-19\n")
    assert "0x" not in str(caught.value)


def test_postscript_is_not_handed_to_an_interpreter() -> None:
    content = encoded(Image.fromarray(gradient()), "EPS")
    with pytest.raises(UnreadableImage, match=r"^not an image"):
        read(content)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_file_cut_short_is_refused_without_byte_counts(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(
        UnreadableImage, match=rf"^damaged {file_format}: data cut short or corrupt$"
    ):
        read(content[:-1000])


def test_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "MAX_PIXELS", 639)
    with pytest.raises(
        UnreadableImage, match=r"^over 639 pixels: refused as a decompression bomb$"
    ):
        read(encoded(Image.fromarray(gradient())))


def test_side_under_16_px_is_refused() -> None:
    with pytest.raises(UnreadableImage, match=r"^40x15 px: sides under 16 px$"):
        read(encoded(Image.fromarray(gradient(15, 40))))
    assert read(encoded(Image.fromarray(gradient(16, 40)))).pixels.shape == (16, 40)


def test_colour_mode_without_a_way_to_grey_is_named() -> None:
    with pytest.raises(UnreadableImage, match=r"^colour mode LAB cannot be turned into grey$"):
        read(encoded(Image.new("LAB", (20, 20)), "TIFF"))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "GIF", "BMP"])
def test_damaged_files_give_a_picture_or_a_reason_and_nothing_else(file_format: str) -> None:
    rng = np.random.default_rng(0)
    content = encoded(Image.fromarray(gradient()), file_format)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 150), 4):
            damaged[place] = rng.integers(0, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, about the damage
            try:
                outcomes.add(read(bytes(damaged)).pixels.dtype.name)
            except UnreadableImage:
                outcomes.add("refused")
    assert "refused" in outcomes
    assert outcomes <= {"uint8", "refused"}
