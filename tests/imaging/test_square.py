import numpy as np
from numpy.typing import NDArray

from stages.imaging.square import fit_square


def gradient(height: int = 20, width: int = 32) -> NDArray[np.uint8]:
    """(H, W) uint8 whose values differ from row to row and from column to column."""
    rows, columns = np.indices((height, width))
    return (4 * rows + 3 * columns).astype(np.uint8)


def quadrants(height: int, width: int) -> NDArray[np.uint8]:
    """(H, W) uint8 of four flat quarters: 0, 80, 160, 240 in reading order."""
    bottom, right = (
        np.indices((height, width)) >= np.array([height // 2, width // 2])[:, None, None]
    )
    return (160 * bottom + 80 * right).astype(np.uint8)


def test_wide_picture_is_centred_with_black_above_and_below() -> None:
    square = fit_square(np.full((20, 40), 200, dtype=np.uint8), 10, "smooth")
    assert square.box == (0, 2, 10, 7)
    assert square.pixels.shape == (10, 10)
    assert np.unique(square.pixels[2:7]).tolist() == [200]
    assert square.pixels[:2].max() == square.pixels[7:].max() == 0


def test_tall_picture_is_centred_with_black_left_and_right() -> None:
    assert fit_square(np.zeros((40, 20), dtype=np.uint8), 10, "smooth").box == (2, 0, 7, 10)


def test_picture_of_the_size_of_the_square_is_unchanged() -> None:
    square = fit_square(gradient(32, 32), 32, "smooth")
    np.testing.assert_array_equal(square.pixels, gradient(32, 32))
    assert square.box == (0, 0, 32, 32)


def test_small_picture_is_enlarged_to_the_longest_side() -> None:
    assert fit_square(gradient(16, 20), 100, "smooth").box == (0, 10, 100, 90)


def test_extreme_aspect_ratio_keeps_one_pixel() -> None:
    square = fit_square(np.full((16, 5000), 90, dtype=np.uint8), 64, "nearest")
    assert square.box == (0, 31, 64, 32)
    assert np.unique(square.pixels[31]).tolist() == [90]


def test_smooth_reduction_does_not_alias_fine_stripes() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (128, 64))
    square = fit_square(stripes, 16, "smooth")
    assert np.abs(square.pixels.astype(int) - 127).max() <= 16


def test_nearest_keeps_the_bits_of_a_mask() -> None:
    mask = np.where(quadrants(90, 60) > 100, 5, 2).astype(np.uint8)
    assert set(np.unique(fit_square(mask, 37, "nearest").pixels)) == {0, 2, 5}


def test_mask_and_picture_have_the_same_geometry() -> None:
    disc = np.hypot(*(np.indices((150, 211)) - np.array([60, 120])[:, None, None])) < 40
    picture = fit_square((255 * disc).astype(np.uint8), 64, "smooth")
    mask = fit_square(disc.astype(np.uint8), 64, "nearest")
    assert picture.box == mask.box == (0, 9, 64, 54)
    overlap = (picture.pixels > 127) & (mask.pixels > 0)
    assert 2 * overlap.sum() / ((picture.pixels > 127).sum() + mask.pixels.sum()) > 0.98
