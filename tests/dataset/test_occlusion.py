import numpy as np

from stages.dataset.occlusion import (
    OCCLUSIONS,
    compute_mean_grey,
    occlude,
    select_with_lungs,
)

IMAGES = np.arange(1, 33, dtype=np.uint8).reshape(2, 4, 4)
LUNGS = np.zeros((2, 4, 4), np.uint8)
LUNGS[0, 1:3, 1:3] = 1
LUNGS[1, :, 0] = 1


def test_hidden_lungs_are_grey_and_all_else_is_as_it_was() -> None:
    hidden = occlude(IMAGES, LUNGS, "lungs_hidden", grey=99)
    assert hidden.dtype == np.uint8
    assert (hidden[LUNGS == 1] == 99).all()
    np.testing.assert_array_equal(hidden[LUNGS == 0], IMAGES[LUNGS == 0])


def test_lungs_alone_are_as_they_were_and_all_else_is_grey() -> None:
    alone = occlude(IMAGES, LUNGS, "lungs_only", grey=99)
    assert (alone[LUNGS == 0] == 99).all()
    np.testing.assert_array_equal(alone[LUNGS == 1], IMAGES[LUNGS == 1])


def test_the_images_themselves_stay_as_they_are() -> None:
    before = IMAGES.copy()
    for occlusion in OCCLUSIONS:
        occlude(IMAGES, LUNGS, occlusion, grey=0)
    np.testing.assert_array_equal(IMAGES, before)


def test_the_mean_grey_is_of_the_rows_given_alone() -> None:
    images = np.stack([np.full((4, 4), level, np.uint8) for level in (10, 21, 250)])
    assert compute_mean_grey(images, np.array([0, 1])) == 16  # 15.5, to even
    assert compute_mean_grey(images, np.array([2])) == 250


def test_images_in_which_no_lung_was_found_are_left_out() -> None:
    masks = np.zeros((4, 4, 4), np.uint8)
    masks[1, 0, 0] = masks[2] = 1
    assert select_with_lungs(masks, np.array([0, 2, 3, 1])).tolist() == [2, 1]
    none = select_with_lungs(masks, np.array([0, 3]))
    assert (none.tolist(), none.dtype) == ([], np.int64)
