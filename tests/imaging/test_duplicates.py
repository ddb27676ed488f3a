"""Copies of a picture are found, however they were changed; other patients are not joined."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy.ndimage import gaussian_filter

from stages.imaging import candidates, duplicates
from stages.imaging.duplicates import DuplicatePair, find_duplicates, find_shared
from stages.imaging.fingerprint import FINGERPRINT, FLIPS, fingerprint, flip_picture, flipped_order
from stages.imaging.grouping import join_images
from tests.imaging.phantoms import draw_phantoms

Pixels = NDArray[np.uint8]


def phantoms(kind: str, patients: int) -> list[Pixels]:
    """One picture of each of some patients of each class."""
    return [drawn.image for drawn in draw_phantoms(kind, patients=patients, size_px=144, seed=1)]


@pytest.fixture(scope="module", params=["ct", "xray"])
def picture(request: pytest.FixtureRequest) -> Image.Image:
    return Image.fromarray(phantoms(request.param, 1)[0])


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content)


def resized(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def cut(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = picture.size
    edges = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(round(edge) for edge in edges))


def framed(picture: Image.Image, share: float, grey: int) -> Image.Image:
    return ImageOps.expand(picture, round(share * picture.width), fill=grey)


def tilted(picture: Image.Image, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BILINEAR)


def written_on(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    draw, size = ImageDraw.Draw(picture), picture.width // 14
    draw.text((0.05 * picture.width, 0.03 * picture.height), "L 12:30", fill=255, font_size=size)
    return picture


def describe(*pictures: Image.Image | Pixels) -> NDArray[np.void]:
    records = [fingerprint(np.asarray(one)) for one in pictures]
    return np.array(records, dtype=FINGERPRINT)


Compare = Callable[..., list[DuplicatePair]]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Gives the pairs among pictures none of which are equal."""

    def find(*pictures: Image.Image | Pixels) -> list[DuplicatePair]:
        names = [str(number) for number in range(len(pictures))]
        return find_duplicates(names, names, describe(*pictures), near=True, scratch=tmp_path)

    return find


CHANGES = {
    "encoded anew": (lambda p: as_jpeg(p, 60), "same"),
    "half as large": (lambda p: resized(p, 0.5), "same"),
    "twice as large": (lambda p: resized(p, 2.0), "same"),
    "brighter": (lambda p: p.point(lambda grey: min(255, int(1.1 * grey + 8))), "same"),
    "cut on the left": (lambda p: cut(p, 0.05, 0, 0, 0), "same"),
    "cut at the bottom": (lambda p: cut(p, 0, 0, 0, 0.05), "same"),
    "cut on all sides": (lambda p: cut(p, 0.05, 0.05, 0.05, 0.05), "same"),
    "cut unevenly": (lambda p: cut(p, 0.02, 0.05, 0.0, 0.03), "same"),
    "cut off two sides": (lambda p: cut(p, 0.1, 0.1, 0, 0), "same"),
    "cut left and right": (lambda p: cut(p, 0.1, 0, 0.1, 0), "same"),
    "tilted to the left": (lambda p: tilted(p, 3), "same"),
    "tilted to the right": (lambda p: tilted(p, -3), "same"),
    "framed in black": (lambda p: framed(p, 0.08, 0), "same"),
    "framed in white": (lambda p: framed(p, 0.05, 255), "same"),
    "written on": (written_on, "same"),
    "flipped": (ImageOps.mirror, "flipped"),
    "upside down": (ImageOps.flip, "upside down"),
    "turned": (lambda p: p.rotate(180), "turned"),
    "flipped, cut, framed and encoded": (
        lambda p: as_jpeg(framed(ImageOps.mirror(cut(p, 0, 0.04, 0.05, 0)), 0.04, 0), 75),
        "flipped",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(picture: Image.Image, change: str, compare: Compare) -> None:
    apply, name = CHANGES[change]
    (pair,) = compare(picture, apply(picture))
    assert pair[:4] == (0, 1, "near", name)
    assert 0 <= pair.distance < 1 - duplicates.MIN_AGREEMENT


def test_a_cut_copy_is_found_in_either_order(picture: Image.Image, compare: Compare) -> None:
    (pair,) = compare(cut(picture, 0, 0.05, 0.05, 0), picture)
    assert pair[:3] == (0, 1, "near")


@pytest.mark.parametrize("kind", ["ct", "xray"])
def test_other_patients_are_not_joined(kind: str, compare: Compare) -> None:
    assert compare(*phantoms(kind, 15)) == []


def test_pictures_alike_in_outline_but_not_in_structure_are_not_joined(
    monkeypatch: pytest.MonkeyPatch, compare: Compare
) -> None:
    rng = np.random.default_rng(0)
    outline = gaussian_filter(rng.normal(size=(128, 128)), 8) * 1500
    texture = [gaussian_filter(rng.normal(size=(128, 128)), 1) * 20 for _ in range(2)]
    pictures = [(128 + outline + one).clip(0, 255).astype(np.uint8) for one in texture]
    assert compare(*pictures) == []
    monkeypatch.setattr(duplicates, "MIN_START_AGREEMENT", -1)
    monkeypatch.setattr(duplicates, "MIN_AGREEMENT", 0)
    assert len(compare(*pictures)) == 1, "they should have keypoints in common"


@pytest.mark.filterwarnings("error")  # of a division by their variance
def test_even_pictures_are_not_alike(compare: Compare) -> None:
    assert compare(np.zeros((40, 40), np.uint8), np.full((50, 40), 90, np.uint8)) == []


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_duplicates(
    picture: Image.Image, count: int, compare: Compare
) -> None:
    assert compare(*[picture] * count) == []


def test_equal_files_and_equal_pixels_are_found_once_and_first(
    picture: Image.Image, tmp_path: Path
) -> None:
    marks = describe(*[picture] * 4)
    pairs = find_duplicates("aaba", "pppp", marks, near=True, scratch=tmp_path)
    assert pairs == [
        DuplicatePair(0, 1, "bytes", "same", 0.0),
        DuplicatePair(0, 3, "bytes", "same", 0.0),
        DuplicatePair(0, 2, "pixels", "same", 0.0),
    ]


def test_positions_count_the_equal_images_that_are_compared_once(
    picture: Image.Image, tmp_path: Path
) -> None:
    other = picture.rotate(90)
    marks = describe(other, other, picture, ImageOps.mirror(picture))
    pairs = find_duplicates("aabc", "aabc", marks, near=True, scratch=tmp_path)
    assert [pair[:4] for pair in pairs] == [(0, 1, "bytes", "same"), (2, 3, "near", "flipped")]


def test_pictures_that_are_merely_alike_are_left_alone_where_that_is_asked_for(
    picture: Image.Image, tmp_path: Path
) -> None:
    marks = describe(picture, as_jpeg(picture, 60))
    assert find_duplicates("ab", "ab", marks, near=False, scratch=tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_blocks_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, compare: Compare
) -> None:
    pictures = phantoms("ct", 3)
    pictures += [np.ascontiguousarray(one[:, ::-1]) for one in pictures]
    expected = compare(*pictures)
    monkeypatch.setattr(candidates, "QUERIES_PER_BLOCK", 1)
    assert [pair[:2] for pair in expected] == [(row, row + 6) for row in range(6)]
    assert compare(*pictures) == expected


def test_many_copies_of_one_picture_hang_together(compare: Compare) -> None:
    (one,) = phantoms("ct", 1)[:1]
    copies = [as_jpeg(Image.fromarray(one), quality) for quality in range(55, 95)]
    groups = join_images(40, [pair[:2] for pair in compare(*copies)])
    assert groups.tolist() == [0] * 40


def test_what_is_not_compared_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compare: Compare
) -> None:
    (one,) = phantoms("ct", 1)[:1]
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 1)
    monkeypatch.setattr(candidates, "MAX_PER_WORD", 1)
    with caplog.at_level("INFO"):
        compare(*[as_jpeg(Image.fromarray(one), quality) for quality in (60, 75, 90)])
    assert "a keypoint was shared with more pictures than are looked at" in caplog.text


def test_copies_are_found_across_two_sets(tmp_path: Path) -> None:
    ours, theirs = phantoms("ct", 3), phantoms("xray", 2)
    copies = [as_jpeg(tilted(Image.fromarray(ours[row]), 2), 80) for row in (4, 1)]
    pairs = find_shared(describe(*ours), describe(*theirs, *copies, ours[0]), scratch=tmp_path)
    at = len(theirs)
    assert [pair[:2] for pair in pairs] == [(0, at + 2), (1, at + 1), (4, at)]


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_an_empty_set_shares_nothing(sizes: tuple[int, int], tmp_path: Path) -> None:
    one, other = (describe(*phantoms("ct", 1)[:size]) for size in sizes)
    assert find_shared(one, other, scratch=tmp_path) == []


@pytest.mark.parametrize("flip", range(len(FLIPS)))
def test_descriptors_of_a_picture_turned_over_are_the_same_in_another_order(flip: int) -> None:
    # Of a square of 127 px, so that the picture turned over has its pixels at the same places.
    one = np.asarray(Image.fromarray(phantoms("ct", 1)[0]).resize((127, 127)))
    sift = cv2.SIFT.create()
    x, y = (126 - 50 if flip in (1, 3) else 50), (126 - 70 if flip in (2, 3) else 70)
    _, straight = sift.compute(one, [cv2.KeyPoint(50, 70, 6, 0)])
    _, turned = sift.compute(flip_picture(one, flip), [cv2.KeyPoint(x, y, 6, 0)])
    assert np.corrcoef(straight[0][flipped_order(flip)], turned[0])[0, 1] > 0.99


def test_a_fingerprint_is_small_and_can_be_sent_between_processes(picture: Image.Image) -> None:
    one = fingerprint(np.asarray(picture))
    content = pickle.dumps(one)
    assert len(content) < 17_000
    assert pickle.loads(content) == one
