import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.evaluation.cells import (
    BORDER_CELLS,
    CELLS,
    MARKS,
    describe_cells,
    rank_marks,
    select_border,
)

SIDE = 64  # a cell has 4 x 4 pixels, the window of the top-hats 5


def cells_of(
    image: NDArray[np.uint8],
    box: tuple[int, int, int, int] | None = None,
    hidden: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """(3, CELLS, CELLS) of one image (S, S)."""
    names = ["view_x0", "view_y0", "view_x1", "view_y1"]
    boxes = pd.DataFrame([box or (0, 0, *image.shape)], columns=names, dtype=float)
    nothing = np.zeros(image.shape, bool)
    return describe_cells(image[None], boxes, nothing if hidden is None else hidden)[0]


def grey_image(level: int = 50) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE), level, np.uint8)


def test_a_cell_has_its_mean_and_how_far_small_things_stand_out() -> None:
    image = grey_image()
    image[10, 17], image[41, 50] = 242, 18  # in cells (2, 4) and (10, 12)
    expected = np.zeros((3, CELLS, CELLS))
    expected[0] = 50
    expected[:, 2, 4] = 50 + 192 / 16, 192, 0
    expected[:, 10, 12] = 50 - 32 / 16, 0, 32
    np.testing.assert_array_equal(cells_of(image), expected)


def test_what_is_wider_than_the_window_is_no_small_thing() -> None:
    image = grey_image()
    image[:, 30:] = 200  # an edge
    image[8:14, 8:14] = 200  # a block of 6 pixels
    mean, bright, dark = cells_of(image)
    assert (bright == 0).all()
    assert (dark == 0).all()
    assert mean[8, 12] == 200


def test_a_stroke_on_a_bright_ground_stands_out_as_on_a_dark_one() -> None:
    levels = []
    for ground in (20, 120):
        image = grey_image(ground)
        image[20:40, 30:32] = ground + 90
        levels.append(cells_of(image)[1].max())
    assert levels == [90, 90]


def test_what_is_hidden_is_not_looked_at() -> None:
    image = grey_image()
    hidden = np.zeros((SIDE, SIDE), bool)
    hidden[20:44, 20:44] = True
    plain = cells_of(image, hidden=hidden)
    image[hidden] = np.random.default_rng(0).integers(0, 256, hidden.sum())
    np.testing.assert_array_equal(cells_of(image, hidden=hidden), plain)
    assert (plain[:, 5:11, 5:11] == 0).all()
    assert set(plain[0].ravel()) == {0, 50}


def test_where_all_is_hidden_nothing_is_seen() -> None:
    image = np.random.default_rng(0).integers(1, 256, (SIDE, SIDE), dtype=np.uint8)
    assert (cells_of(image, hidden=np.ones((SIDE, SIDE), bool)) == 0).all()


@pytest.mark.parametrize("side", [5, 16, 17, 100])
def test_a_picture_of_any_size_has_every_pixel_in_a_cell(side: int) -> None:
    image = np.zeros((side, side), np.uint8)
    image[np.arange(side), np.arange(side)] = np.arange(side) + 1
    mean = cells_of(image)[0]
    # Summed over cells of so many pixels it is all there; of fewer pixels than cells some repeat.
    counts = np.maximum(np.diff(np.append(np.arange(CELLS) * side // CELLS, side)), 1)
    total = (mean * np.outer(counts, counts)).sum()
    assert total >= side * (side + 1) / 2 - 1e-9
    if side >= CELLS:
        assert total == pytest.approx(side * (side + 1) / 2)


def test_padding_around_the_picture_is_in_no_cell() -> None:
    image = grey_image(255)
    image[4:36, 8:40] = 90
    mean, bright, dark = cells_of(image, box=(8, 4, 40, 36))
    assert (mean == 90).all()
    assert (bright == 0).all()
    assert (dark == 0).all()


def test_the_border_is_a_frame_of_an_eighth_of_the_side() -> None:
    cells = np.zeros((2, 3, CELLS, CELLS))
    cells[..., BORDER_CELLS:-BORDER_CELLS, BORDER_CELLS:-BORDER_CELLS] = 1
    cells[1] += 2
    border = select_border(cells)
    assert border.shape == (2, 3 * (16**2 - 12**2))
    assert set(border[0]) == {0}
    assert set(border[1]) == {2}


def test_marks_are_the_strongest_things_in_order_wherever_they_lie() -> None:
    cells = np.random.default_rng(0).random((1, 3, CELLS, CELLS))
    cells[0, 1, 3, 4], cells[0, 1, 12, 0] = 70, 90
    cells[0, 2, 7, 7] = 40
    found = rank_marks(cells)[0]
    assert found.shape == (2 * MARKS,)
    assert found[:2].tolist() == [90, 70]
    assert found[MARKS] == 40
    moved = cells[..., ::-1, ::-1]
    np.testing.assert_array_equal(rank_marks(moved)[0], found)
