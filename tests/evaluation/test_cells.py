import numpy as np
import pandas as pd
import pytest

from stages.evaluation.cells import BORDER_CELLS, CELLS, describe_cells, frame_cells

EVERY = np.ones((CELLS, CELLS), bool)


def box(x0: int, y0: int, x1: int, y1: int) -> pd.DataFrame:
    return pd.DataFrame(
        [[x0, y0, x1, y1]], columns=["view_x0", "view_y0", "view_x1", "view_y1"], dtype=float
    )


def test_a_cell_has_its_mean_its_brightest_and_its_darkest_pixel() -> None:
    image = np.full((1, 32, 32), 50, np.uint8)
    image[0, :2, 2:4] = [[10, 20], [30, 240]]  # the second cell of the first row: mean 75
    found = describe_cells(image, box(0, 0, 32, 32), np.zeros((32, 32), bool), EVERY)
    mean, brightest, darkest = found.reshape(3, CELLS, CELLS)
    assert [level[0, 1] for level in (mean, brightest, darkest)] == [75, 240, 10]
    for level in (mean, brightest, darkest):
        assert (np.delete(level.ravel(), 1) == 50).all()


def test_what_is_hidden_is_not_looked_at() -> None:
    image = np.full((1, 32, 32), 50, np.uint8)
    image[0, 0, 0], image[0, 0, 1] = 255, 0
    hidden = np.zeros((32, 32), bool)
    hidden[0, :2] = True
    found = describe_cells(image, box(0, 0, 32, 32), hidden, EVERY)
    assert (found == 50).all()


def test_a_cell_that_is_all_hidden_is_black_whatever_is_in_it() -> None:
    image = np.random.default_rng(0).integers(1, 256, (1, 32, 32), dtype=np.uint8)
    found = describe_cells(image, box(0, 0, 32, 32), np.ones((32, 32), bool), EVERY)
    assert (found == 0).all()


@pytest.mark.parametrize("side", [5, 16, 17, 100])
def test_a_picture_of_any_size_has_every_pixel_in_a_cell(side: int) -> None:
    image = np.zeros((1, side, side), np.uint8)
    for place in range(side):
        image[0, place, place] = place + 1
    found = describe_cells(image, box(0, 0, side, side), np.zeros((side, side), bool), EVERY)
    brightest = found.reshape(3, CELLS, CELLS)[1]
    assert brightest.max() == side
    if side <= CELLS:
        assert set(range(1, side + 1)) <= set(brightest.ravel())


def test_padding_around_the_picture_is_in_no_cell() -> None:
    image = np.full((1, 40, 40), 255, np.uint8)
    image[0, 4:36, 8:40] = 90
    found = describe_cells(image, box(8, 4, 40, 36), np.zeros((40, 40), bool), EVERY)
    assert (found == 90).all()


def test_only_the_cells_asked_for_are_described() -> None:
    frame = frame_cells()
    assert frame.sum() == CELLS**2 - (CELLS - 2 * BORDER_CELLS) ** 2
    image = np.full((2, 32, 32), 7, np.uint8)
    two = pd.concat([box(0, 0, 32, 32)] * 2)
    assert describe_cells(image, two, np.zeros((32, 32), bool), frame).shape == (2, 3 * frame.sum())
