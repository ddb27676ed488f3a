"""Copies of a picture are found, however they were changed; other patients are not joined."""

import io
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from stages.imaging import duplicates
from stages.imaging.duplicates import DuplicatePair, Fingerprint, find_duplicates, fingerprint
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


def compare(*pictures: Image.Image | Pixels) -> list[DuplicatePair]:
    """The pairs among pictures none of which are equal."""
    names = [str(number) for number in range(len(pictures))]
    return find_duplicates(names, names, [fingerprint(np.asarray(one)) for one in pictures])


CHANGES = {
    "encoded anew": (lambda p: as_jpeg(p, 60), "same"),
    "half as large": (lambda p: resized(p, 0.5), "same"),
    "twice as large": (lambda p: resized(p, 2.0), "same"),
    "brighter": (lambda p: p.point(lambda grey: min(255, int(1.1 * grey + 8))), "same"),
    "cut on the left": (lambda p: cut(p, 0.05, 0, 0, 0), "same"),
    "cut at the bottom": (lambda p: cut(p, 0, 0, 0, 0.05), "same"),
    "cut on all sides": (lambda p: cut(p, 0.05, 0.05, 0.05, 0.05), "same"),
    "cut unevenly": (lambda p: cut(p, 0.02, 0.05, 0.0, 0.03), "same"),
    "flipped": (ImageOps.mirror, "flipped"),
    "upside down": (ImageOps.flip, "upside down"),
    "turned": (lambda p: p.rotate(180), "turned"),
    "all": (lambda p: as_jpeg(ImageOps.mirror(cut(p, 0, 0.04, 0.05, 0)), 75), "flipped"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(picture: Image.Image, change: str) -> None:
    apply, name = CHANGES[change]
    (pair,) = compare(picture, apply(picture))
    assert pair[:4] == (0, 1, "near", name)
    assert 0 <= pair.distance < 1 - duplicates.MIN_CORRELATION


def test_a_cut_copy_is_found_in_either_order(picture: Image.Image) -> None:
    (pair,) = compare(cut(picture, 0, 0.05, 0.05, 0), picture)
    assert pair[:3] == (0, 1, "near")


@pytest.mark.parametrize("kind", ["ct", "xray"])
def test_other_patients_are_not_joined(kind: str) -> None:
    assert compare(*phantoms(kind, 15)) == []


def test_pictures_alike_in_outline_but_not_in_structure_are_not_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    outline = gaussian_filter(rng.normal(size=(128, 128)), 8) * 900
    texture = [gaussian_filter(rng.normal(size=(128, 128)), 1) * 20 for _ in range(2)]
    pictures = [(128 + outline + one).clip(0, 255).astype(np.uint8) for one in texture]
    assert compare(*pictures) == []
    monkeypatch.setattr(duplicates, "MIN_START_CORRELATION", -1)
    monkeypatch.setattr(duplicates, "MIN_CORRELATION", -1)
    assert len(compare(*pictures)) == 1, "their hashes should be alike"


@pytest.mark.filterwarnings("error")  # of a division by their variance
def test_even_pictures_are_not_alike() -> None:
    assert compare(np.zeros((40, 40), np.uint8), np.full((50, 40), 90, np.uint8)) == []


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_duplicates(picture: Image.Image, count: int) -> None:
    assert compare(*[picture] * count) == []


def test_equal_files_and_equal_pixels_are_found_once_and_first(picture: Image.Image) -> None:
    marks = [fingerprint(np.asarray(picture))] * 4
    pairs = find_duplicates(["a", "a", "b", "a"], ["p", "p", "p", "p"], marks)
    assert pairs == [
        DuplicatePair(0, 1, "bytes", "same", 0.0),
        DuplicatePair(0, 3, "bytes", "same", 0.0),
        DuplicatePair(0, 2, "pixels", "same", 0.0),
    ]


def test_positions_count_the_equal_images_that_are_compared_once(picture: Image.Image) -> None:
    whole, other = fingerprint(np.asarray(picture)), fingerprint(np.asarray(picture.rotate(90)))
    flipped = fingerprint(np.asarray(ImageOps.mirror(picture)))
    pairs = find_duplicates("aabc", "aabc", [other, other, whole, flipped])
    assert [pair[:4] for pair in pairs] == [(0, 1, "bytes", "same"), (2, 3, "near", "flipped")]


def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = phantoms("ct", 3)
    pictures += [np.ascontiguousarray(one[:, ::-1]) for one in pictures]
    expected = compare(*pictures)
    monkeypatch.setattr(duplicates, "PAIRS_PER_BLOCK", 1)
    monkeypatch.setattr(duplicates, "PAIRS_PER_BATCH", 1)
    assert [pair[:2] for pair in expected] == [(row, row + 6) for row in range(6)]
    assert [pair[:4] for pair in compare(*pictures)] == [pair[:4] for pair in expected]


def test_a_fingerprint_is_small_and_can_be_sent_between_processes(picture: Image.Image) -> None:
    one = fingerprint(np.asarray(picture))
    content = pickle.dumps(one)
    assert len(content) < 10_000
    back: Fingerprint = pickle.loads(content)
    assert all(np.array_equal(sent, got) for sent, got in zip(one, back, strict=True))
