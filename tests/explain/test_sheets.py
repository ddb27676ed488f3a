from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.config.errors import UserError
from stages.explain.overlay import CAPTION_PX, TILE_PX
from stages.explain.sheets import GAP_PX, HEADING_PX, draw_sheet, draw_side_by_side

STEP = TILE_PX + CAPTION_PX


def tile(grey: int) -> Image.Image:
    return Image.new("RGB", (TILE_PX, STEP), (grey, grey, grey))


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


def test_sheet_grows_by_a_row_with_its_longest_column() -> None:
    one = draw_sheet({"a": [[tile(1)]], "b": [[tile(1)]]})
    two = draw_sheet({"a": [[tile(1)]], "b": [[tile(1)], [tile(1)]]})
    assert two.height - one.height == STEP
    assert two.width == one.width


def test_sheet_grows_with_columns_and_with_tiles_per_image() -> None:
    one = draw_sheet({"a": [[tile(1)]]})
    two = draw_sheet({"a": [[tile(1)]], "b": [[tile(1)]]})
    more = draw_sheet({"a": [[tile(1), tile(1)]]})
    assert two.width - one.width == TILE_PX + 2 * GAP_PX
    assert more.width - one.width == TILE_PX + GAP_PX


def test_tiles_stand_in_their_row_and_column() -> None:
    drawn = pixels(
        draw_sheet({"a": [[tile(10), tile(20)], [tile(30), tile(40)]], "b": [[tile(50)]]})
    )
    x, y = GAP_PX + TILE_PX // 2, HEADING_PX + STEP // 2
    right, third = TILE_PX + GAP_PX, 2 * (TILE_PX + GAP_PX) + GAP_PX
    assert drawn[y, x, 0] == 10
    assert drawn[y, x + right, 0] == 20
    assert drawn[y + STEP, x, 0] == 30
    assert drawn[y + STEP, x + right, 0] == 40
    assert drawn[y, x + third, 0] == 50
    assert drawn[y + STEP, x + third, 0] == 255


def save_tiles(folder: Path, greys: dict[str, int]) -> Path:
    folder.mkdir(parents=True)
    for image_id, grey in greys.items():
        tile(grey).save(folder / f"{image_id}.png")
    return folder


def test_cases_stand_side_by_side_on_the_same_images(tmp_path: Path) -> None:
    folders = {
        "one": save_tiles(tmp_path / "one", {"i1": 10, "i2": 20, "i3": 99}),
        "two": save_tiles(tmp_path / "two", {"i1": 30, "i2": 40}),
    }
    drawn = pixels(draw_side_by_side(folders, ["i2", "i1"]))
    x, y = GAP_PX + TILE_PX // 2, HEADING_PX + STEP // 2
    second = TILE_PX + 2 * GAP_PX
    found = [[drawn[y + row * STEP, x + n * second, 0] for n in (0, 1)] for row in (0, 1)]
    assert found == [[20, 40], [10, 30]]


def test_an_image_that_a_case_has_not_explained_is_named(tmp_path: Path) -> None:
    folders = {"one": save_tiles(tmp_path / "one", {"i1": 10})}
    with pytest.raises(UserError, match=r"one/i9\.png: does not exist; allowed: .* dvc repro$"):
        draw_side_by_side(folders, ["i1", "i9"])
