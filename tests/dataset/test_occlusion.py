import numpy as np

from stages.dataset.occlusion import (
    OCCLUSIONS,
    compute_mean_grey,
    find_lungs_anywhere,
    occlude,
    select_with_lungs,
)

IMAGES = np.arange(1, 33, dtype=np.uint8).reshape(2, 4, 4)
LUNGS = np.zeros((2, 4, 4), np.uint8)
LUNGS[0, 1:3, 1:3] = 1
LUNGS[1, :, 0] = 1
ANYWHERE = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0]], bool)


def test_lungs_are_hidden_where_any_image_has_them_in_all_images_alike() -> None:
    np.testing.assert_array_equal(find_lungs_anywhere(LUNGS), ANYWHERE)
    hidden = occlude(IMAGES, LUNGS, "lungs_hidden", anywhere=ANYWHERE, grey=99)
    assert hidden.dtype == np.uint8
    assert (hidden[:, ANYWHERE] == 99).all()
    np.testing.assert_array_equal(hidden[:, ~ANYWHERE], IMAGES[:, ~ANYWHERE])


def test_what_lungs_there_are_does_not_show_once_they_are_hidden() -> None:
    flat = np.full((2, 4, 4), 50, np.uint8)
    first, second = occlude(flat, LUNGS, "lungs_hidden", anywhere=ANYWHERE, grey=99)
    np.testing.assert_array_equal(first, second)


def test_a_lung_found_in_one_image_of_a_hundred_alone_is_not_hidden() -> None:
    masks = np.zeros((200, 4, 4), np.uint8)
    masks[:2, 0, 0] = 1  # 1 %
    masks[:3, 3, 3] = 1
    assert np.argwhere(find_lungs_anywhere(masks)).tolist() == [[3, 3]]


def test_a_fiftieth_of_the_side_around_the_lungs_is_hidden_too() -> None:
    masks = np.zeros((1, 100, 100), np.uint8)
    masks[0, 40:60, 30:70] = 1
    found = find_lungs_anywhere(masks)
    assert found[38:62, 28:72].all()
    assert found.sum() == 24 * 44


def test_where_no_lung_was_found_nothing_is_hidden() -> None:
    assert not find_lungs_anywhere(np.zeros((3, 50, 50), np.uint8)).any()


def test_lungs_alone_are_as_they_were_and_all_else_is_grey() -> None:
    alone = occlude(IMAGES, LUNGS, "lungs_only", anywhere=ANYWHERE, grey=99)
    assert (alone[LUNGS == 0] == 99).all()
    np.testing.assert_array_equal(alone[LUNGS == 1], IMAGES[LUNGS == 1])


def test_the_images_themselves_stay_as_they_are() -> None:
    before = IMAGES.copy()
    for occlusion in OCCLUSIONS:
        occlude(IMAGES, LUNGS, occlusion, anywhere=ANYWHERE, grey=0)
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
