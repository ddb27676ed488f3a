import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.dataset.image_set import ImageSet
from stages.explain.overlay import (
    CAPTION_PX,
    COLORMAP,
    INK,
    SCALE_PX,
    TILE_PX,
    Caption,
    draw_overlay,
    draw_tile,
    draw_tiles,
    place_map,
)
from stages.explain.selection import Selection

SIDE = 40
RIGHT, WRONG = Caption("covid", "covid", 0.93), Caption("covid", "normal", 0.93)


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


def test_overlay_is_a_colour_picture_of_the_size_of_the_image() -> None:
    overlay = draw_overlay(np.zeros((SIDE, 30), np.uint8), np.zeros((SIDE, 30), np.float32))
    assert overlay.shape == (SIDE, 30, 3)
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


def test_overlay_is_grey_where_there_is_no_map() -> None:
    cam = np.array([[np.nan, 1.0]], np.float32)
    overlay = draw_overlay(np.full((1, 2), 77, np.uint8), cam)
    assert overlay[0, 0].tolist() == [77, 77, 77]
    assert overlay[0, 1].tolist() != [77, 77, 77]


# A source of 200 x 100 pixels, prepared at half its size; the crop is its lower right quarter,
# which lies in the middle rows of a view of 20 pixels.
FACTS = {"width": 200, "height": 100}
BOX = {"x0": 100.0, "y0": 50.0, "x1": 200.0, "y1": 100.0}
BOX |= {"view_x0": 0, "view_y0": 5, "view_x1": 20, "view_y1": 15}  # type: ignore[dict-item]
PICTURE = np.zeros((50, 100), np.uint8)


def placed(cam: NDArray[np.float32], **changes: float) -> NDArray[np.float32]:
    return place_map(cam, FACTS, {**BOX, **changes}, PICTURE)


def test_map_lies_where_its_crop_was_cut_out() -> None:
    found = placed(np.full((20, 20), 0.5, np.float32))
    assert found.shape == (50, 100)
    np.testing.assert_allclose(found[25:, 50:], 0.5)
    found[25:, 50:] = np.nan
    assert np.isnan(found).all()


def test_peak_of_a_map_comes_back_to_its_place_in_the_picture() -> None:
    cam = np.zeros((20, 20), np.float32)
    cam[6, 18] = 1  # of the crop: row 1.5 of 10, column 18.5 of 20
    row, column = np.unravel_index(np.nanargmax(placed(cam)), PICTURE.shape)
    assert row == pytest.approx(25 + 25 * 1.5 / 10, abs=1.5)
    assert column == pytest.approx(50 + 50 * 18.5 / 20, abs=1.5)


def test_map_in_the_padding_of_a_view_is_left_out() -> None:
    cam = np.zeros((20, 20), np.float32)
    cam[:4] = cam[17:] = 1
    assert np.nanmax(placed(cam)) == 0


def test_box_with_fractions_of_pixels_is_rounded() -> None:
    found = placed(np.ones((20, 20), np.float32), x0=99.4, y0=50.6)
    assert np.isnan(found[24, 60])
    assert not np.isnan(found[25, 50])
    assert np.isnan(found[25, 49])


def test_tiles_are_of_the_whole_pictures_that_the_view_was_cut_from() -> None:
    # A prepared square of 8 x 8 with padding above and below; the view is its right half.
    pictures = np.zeros((2, 8, 8), np.uint8)
    pictures[1, 2:6] = np.arange(32).reshape(4, 8)
    facts = {"label": "covid", "width": 8, "height": 4, "x0": 0, "y0": 2, "x1": 8, "y1": 6}
    box: dict[str, Any] = {"crop": "center", "x0": 4.0, "y0": 0.0, "x1": 8.0, "y1": 4.0}
    box |= {"view_x0": 0, "view_y0": 0, "view_x1": 4, "view_y1": 4}
    info: Any = SimpleNamespace(class_names=["normal", "covid"])
    none = np.zeros((2, 4, 4), np.uint8)
    manifest, boxes = (pd.DataFrame([of_row, of_row]) for of_row in (facts, box))
    view = ImageSet(info, manifest, none, None, None, boxes, pictures)
    selected = Selection(np.array([1]), np.array([1]), np.array([0.93]), [["drawn"]])
    cams = np.ones((1, 4, 4), np.float32)
    tiles = draw_tiles(view, selected, {"gradcam": cams})
    whole = pictures[1, 2:6]
    overlay = draw_overlay(whole, place_map(cams[0], facts, box, whole))
    assert pixels(tiles["image"][0]).tolist() == pixels(draw_tile(whole, RIGHT)).tolist()
    expected = pixels(draw_tile(overlay, RIGHT, "gradcam"))
    assert pixels(tiles["gradcam"][0]).tolist() == expected.tolist()


def test_tile_keeps_the_aspect_ratio_of_the_picture() -> None:
    drawn = pixels(draw_tile(np.full((20, 40), 9, np.uint8), RIGHT))
    assert drawn.shape == (TILE_PX + CAPTION_PX, TILE_PX, 3)
    assert (drawn[TILE_PX // 4 : 3 * TILE_PX // 4] == 9).all()
    assert (drawn[: TILE_PX // 4] == 255).all()
    assert (drawn[3 * TILE_PX // 4 : TILE_PX] == 255).all()


def test_error_is_marked_by_a_bar_and_a_right_decision_is_not() -> None:
    bar = np.s_[TILE_PX + 2 : TILE_PX + CAPTION_PX - 3, :3]
    marked, unmarked = (
        pixels(draw_tile(np.zeros((SIDE, SIDE), np.uint8), caption)) for caption in (WRONG, RIGHT)
    )
    assert (marked[bar] == INK).all()
    assert (unmarked[bar] == 255).all()


def test_error_is_marked_by_a_word_besides_the_bar() -> None:
    true_line = np.s_[TILE_PX : TILE_PX + 14, 4:]
    dark = [
        (pixels(draw_tile(np.zeros((SIDE, SIDE), np.uint8), caption))[true_line] < 128).sum()
        for caption in (WRONG, RIGHT)
    ]
    assert dark[0] > 1.2 * dark[1]


@pytest.mark.parametrize(
    "other",
    [Caption("normal", "normal", 0.93), Caption("covid", "covid", 0.94)],
    ids=["class", "probability"],
)
def test_caption_says_class_and_probability(other: Caption) -> None:
    picture = np.zeros((SIDE, SIDE), np.uint8)
    assert (pixels(draw_tile(picture, RIGHT)) != pixels(draw_tile(picture, other))).any()


def test_caption_of_an_overlay_says_its_method() -> None:
    overlay = np.zeros((SIDE, SIDE, 3), np.uint8)
    one, other = (draw_tile(overlay, RIGHT, name) for name in ("gradcam", "eigencam"))
    assert (pixels(one) != pixels(other)).any()


def test_overlay_ends_with_the_scale_of_its_colours_and_a_picture_does_not() -> None:
    overlay = np.zeros((SIDE, SIDE, 3), np.uint8)
    bar = np.s_[TILE_PX + CAPTION_PX - 9, 16 : 16 + SCALE_PX[0]]
    colours = pixels(draw_tile(overlay, RIGHT, "gradcam"))[bar]
    for place, evidence in ((0, 0.0), (-1, 1.0)):
        colour = np.array(matplotlib.colormaps[COLORMAP](evidence)[:3]) * 255
        assert colours[place] == pytest.approx(colour, abs=1)
    assert (pixels(draw_tile(overlay, RIGHT))[bar] == 255).all()


def test_sheets_can_be_drawn_without_torch_and_without_code_that_draws_phantoms() -> None:
    code = "import sys, stages.explain.sheets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "stages.phantoms", "stages.evaluation"} & set(done.stdout.split())
