"""Pictures are laid on each other by their keypoints, and compared where they overlap."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stages.imaging.alignment import Floats, agreement, finer_first, fit_matches, refine

SAME = np.array([[1.0, 0, 0], [0, 1, 0]])


def texture(seed: int) -> Floats:
    return gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), 1.0) * 1000


def test_an_alignment_is_fitted_to_the_matches_that_agree() -> None:
    rng = np.random.default_rng(0)
    second = rng.uniform(5, 59, size=(20, 2))
    affine = np.array([[0.9, 0.05, 3], [-0.04, 0.95, 1]])
    first = second @ affine[:, :2].T + affine[:, 2]
    first[:6] = rng.uniform(0, 64, size=(6, 2))  # matches by chance
    found = fit_matches(first, second)
    assert found is not None
    moved = second @ found[:, :2].T + found[:, 2]
    np.testing.assert_allclose(moved[6:], first[6:], atol=0.1)


def test_matches_by_chance_give_no_alignment() -> None:
    rng = np.random.default_rng(0)
    assert fit_matches(rng.uniform(0, 64, (6, 2)), rng.uniform(0, 64, (6, 2))) is None


def test_keypoints_in_one_place_give_no_alignment() -> None:
    assert fit_matches(np.full((8, 2), 9.0), np.full((8, 2), 9.0)) is None


def test_a_picture_agrees_with_itself_and_not_with_another() -> None:
    assert agreement(texture(0), texture(0), SAME) == pytest.approx(1)
    assert agreement(texture(0), texture(1), SAME) < 0.6


def test_text_on_a_picture_changes_no_agreement() -> None:
    written_on = texture(0)
    written_on[4:12, 8:40] = np.tile([0, 255, 255, 0], (8, 8))
    assert agreement(texture(0), written_on, SAME) > 0.98


def test_pictures_that_hardly_overlap_do_not_agree() -> None:
    assert agreement(texture(0), texture(0), np.array([[1.0, 0, 40], [0, 1, 0]])) == 0


def test_a_rough_alignment_is_refined() -> None:
    shifted = np.roll(texture(0), (-2, -1), axis=(0, 1))  # what is at (x, y) was at (x + 1, y + 2)
    found = refine(texture(0), shifted, np.array([[1.0, 0, 0.3], [0, 1, 1.4]]))
    assert found is not None
    np.testing.assert_allclose(found, [[1, 0, 1], [0, 1, 2]], atol=0.05)


def test_the_picture_that_shows_less_comes_first() -> None:
    one, other = texture(0), texture(1)
    half = np.array([[0.8, 0, 1], [0, 0.5, 2]])  # the second shows a part of the first
    first, second, affine = finer_first(one, other, half)
    assert first is other
    assert second is one
    np.testing.assert_allclose(affine, [[1.25, 0, -1.25], [0, 2, -4]])
