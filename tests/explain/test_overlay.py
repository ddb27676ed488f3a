from collections.abc import Sequence

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.explain.overlay import (
    CAPTION_PX,
    COLORMAP,
    GAP_PX,
    INK,
    TILE_PX,
    Tile,
    draw_overlay,
    draw_sheet,
)

SIDE = 40


def tile(*, methods: int = 1, is_error: bool = False, grey: int = 128) -> Tile:
    image = np.full((SIDE, SIDE), grey, np.uint8)
    overlay = np.full((SIDE, SIDE, 3), (200, 100, 50), np.uint8)
    return Tile("one", image, [overlay] * methods, "true covid\nmap: covid", is_error)


def sheet(*columns: Sequence[Tile], methods: Sequence[str] = ("gradcam",)) -> Image.Image:
    return draw_sheet([(f"column {n}", tiles) for n, tiles in enumerate(columns)], methods)


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


def test_overlay_is_a_colour_picture_of_the_size_of_the_image() -> None:
    overlay = draw_overlay(np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.float32))
    assert overlay.shape == (SIDE, SIDE, 3)
    assert overlay.dtype == np.uint8


@pytest.mark.parametrize("evidence", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("grey", [0, 255])
def test_overlay_is_half_the_image_and_half_the_colour_of_the_map(
    evidence: float, grey: int
) -> None:
    overlay = draw_overlay(
        np.full((2, 2), grey, np.uint8), np.full((2, 2), evidence, dtype=np.float32)
    )
    colour = np.array(matplotlib.colormaps[COLORMAP](evidence)[:3])
    assert overlay[0, 0] == pytest.approx(0.5 * grey + 0.5 * 255 * colour, abs=0.51)


def test_overlay_keeps_places() -> None:
    cam = np.zeros((4, 4), np.float32)
    cam[1, 2] = 1
    overlay = draw_overlay(np.zeros((4, 4), np.uint8), cam)
    differs = (overlay != overlay[0, 0]).any(axis=2)
    assert np.argwhere(differs).tolist() == [[1, 2]]


def test_sheet_grows_by_a_row_with_its_longest_column() -> None:
    one, two = sheet([tile()], [tile()]), sheet([tile()], [tile()] * 2)
    assert two.height - one.height == TILE_PX + CAPTION_PX
    assert two.width == one.width


def test_sheet_grows_with_columns_and_methods() -> None:
    one, two = sheet([tile()]), sheet([tile()], [tile()])
    assert two.width - one.width == 2 * (TILE_PX + GAP_PX) + GAP_PX
    more = sheet([tile(methods=2)], methods=["gradcam", "eigencam"])
    assert more.width - one.width == TILE_PX + GAP_PX


def test_sheet_of_a_column_without_images_can_be_drawn() -> None:
    assert sheet([tile()], []).size == sheet([tile()], [tile()]).size


def test_image_and_overlay_stand_side_by_side_under_the_heading() -> None:
    drawn = pixels(sheet([tile(grey=128)]))
    middle = CAPTION_PX + TILE_PX // 2
    assert drawn[middle, GAP_PX + TILE_PX // 2].tolist() == [128, 128, 128]
    assert drawn[middle, 2 * GAP_PX + TILE_PX + TILE_PX // 2].tolist() == [200, 100, 50]


def test_each_tile_of_a_column_stands_under_the_one_before() -> None:
    drawn = pixels(sheet([tile(grey=60), tile(grey=190)]))
    left, top = GAP_PX + TILE_PX // 2, CAPTION_PX + TILE_PX // 2
    assert drawn[top, left, 0] == 60
    assert drawn[top + TILE_PX + CAPTION_PX, left, 0] == 190


def test_error_is_marked_by_a_bar_and_a_right_decision_is_not() -> None:
    bar = np.s_[CAPTION_PX + TILE_PX : 2 * CAPTION_PX + TILE_PX - 4, GAP_PX : GAP_PX + 3]
    marked, unmarked = (pixels(sheet([tile(is_error=error)])) for error in (True, False))
    assert (marked[bar] == INK).all()
    assert not (unmarked[bar] == INK).all()


def test_error_is_marked_by_a_word_besides_the_bar() -> None:
    marked, unmarked = (pixels(sheet([tile(is_error=error)])) for error in (True, False))
    caption = np.s_[CAPTION_PX + TILE_PX : 2 * CAPTION_PX + TILE_PX, GAP_PX + 4 :]
    dark = [(picture[caption].mean(axis=2) < 128).sum() for picture in (marked, unmarked)]
    assert dark[0] > 1.2 * dark[1]


def test_sheet_ends_with_the_scale_of_the_colours() -> None:
    drawn = pixels(sheet([tile()]))
    bar = drawn[-36, GAP_PX : GAP_PX + TILE_PX]
    for place, evidence in ((0, 0.0), (-1, 1.0)):
        colour = np.array(matplotlib.colormaps[COLORMAP](evidence)[:3]) * 255
        assert bar[place] == pytest.approx(colour, abs=1)
