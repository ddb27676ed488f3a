"""Masks as people save them, and boxes, become bits of the picture's pixels."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.imaging.agreement import dice
from stages.imaging.truth import UnusableMask, draw_truth, pixels_of, read_mask
from stages.sources.item import ImageTruth, RelativeBox

SHAPE = (40, 60)
LUNG = np.zeros(SHAPE, dtype=bool)
LUNG[10:30, 5:25] = True


def encode(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def encoded(values: NDArray[Any], kind: str = "PNG") -> bytes:
    return encode(Image.fromarray(values), kind)


def grey(lung: int, rest: int = 0, dtype: type = np.uint8) -> NDArray[Any]:
    return np.where(LUNG, lung, rest).astype(dtype)


@pytest.mark.parametrize(
    "content",
    [
        encoded(grey(255)),
        encoded(grey(1)),
        encoded(grey(200, 100)),
        encoded(LUNG),  # of 1 bit
        encoded(grey(65_535, dtype=np.uint16)),
        encoded(np.repeat(grey(255)[..., None], 3, axis=2)),
        encoded(np.stack([grey(255), np.full(SHAPE, 255, np.uint8)], axis=-1)),  # LA
    ],
)
def test_a_mask_of_two_values_is_lung_where_it_has_the_larger(content: bytes) -> None:
    np.testing.assert_array_equal(read_mask(content, SHAPE, []), LUNG)


def test_a_mask_saved_as_jpeg_keeps_its_lungs_but_for_the_outline() -> None:
    large = np.kron(grey(255), np.ones((8, 8), np.uint8))
    found = read_mask(encoded(large, "JPEG"), large.shape, [])
    assert dice(found, large > 0) == pytest.approx(1, abs=0.01)


def test_a_mask_with_a_soft_outline_is_lung_above_half() -> None:
    soft = Image.fromarray(grey(255)).resize((120, 80), Image.Resampling.BILINEAR)
    found = read_mask(encode(soft), (80, 120), [])
    assert len(np.unique(np.asarray(soft))) > 2
    assert dice(found, np.kron(LUNG, np.ones((2, 2), dtype=bool))) == pytest.approx(1, abs=0.01)


def test_numbers_of_a_palette_count_and_not_its_colours() -> None:
    image = Image.fromarray(grey(2)).convert("P")
    image.putpalette([255, 255, 255, 9, 9, 9, 0, 0, 0])
    np.testing.assert_array_equal(read_mask(encode(image), SHAPE, [2]), LUNG)


def test_of_several_values_those_named_are_lung() -> None:
    labels = grey(1)
    labels[10:30, 35:55] = 2
    labels[32:38] = 3  # the heart
    both = read_mask(encoded(labels), SHAPE, [1, 2])
    np.testing.assert_array_equal(both, (labels == 1) | (labels == 2))
    with pytest.raises(UnusableMask, match=r"holds 4 values \(0, 1, 2, 3\); say in truth\.lung_v"):
        read_mask(encoded(labels), SHAPE, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(grey(0)), "shows no lung"),
        (encoded(grey(1)), "shows no lung"),
        (b"no picture", "cannot be read as an image"),
        (encoded(np.dstack([grey(255), grey(0), grey(0)])), "is of colours"),
    ],
)
def test_masks_that_say_nothing_are_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableMask, match=reason):
        read_mask(content, SHAPE, [7])


def test_a_mask_of_the_same_aspect_is_scaled_and_another_refused() -> None:
    np.testing.assert_array_equal(
        read_mask(encoded(grey(255)), (80, 120), []), np.kron(LUNG, np.ones((2, 2), dtype=bool))
    )
    with pytest.raises(UnusableMask, match="60x40 px, but the picture has 60x50 px"):
        read_mask(encoded(grey(255)), (50, 60), [])


def test_boxes_are_rounded_to_pixels_and_never_vanish() -> None:
    assert pixels_of(RelativeBox(0.25, 0.5, 0.5, 1.0), (10, 20)) == (slice(5, 10), slice(5, 10))
    assert pixels_of(RelativeBox(0.501, 0.0, 0.502, 1.0), (10, 20)) == (slice(0, 10), slice(10, 11))
    assert pixels_of(RelativeBox(0.99, 0.99, 1.0, 1.0), (10, 20)) == (slice(9, 10), slice(19, 20))


def test_both_lungs_and_boxes_are_drawn_and_known(tmp_path: Path) -> None:
    paths = (tmp_path / "left.png", tmp_path / "right.png")
    other = LUNG[:, ::-1]
    for path, mask in zip(paths, (LUNG, other), strict=True):
        Image.fromarray(mask).save(path)
    drawn = draw_truth(ImageTruth(paths, (RelativeBox(0, 0, 0.5, 0.5),)), SHAPE, [])
    np.testing.assert_array_equal((drawn.bits & LUNG_BIT) > 0, LUNG | other)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[:20, :30] = True
    np.testing.assert_array_equal((drawn.bits & LESION_BIT) > 0, expected)
    assert (drawn.known, drawn.unusable) == (LUNG_BIT | LESION_BIT, {})


def test_one_mask_of_two_that_cannot_be_used_leaves_the_lungs_unknown(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(LUNG).save(good)
    bad.write_bytes(b"")
    drawn = draw_truth(ImageTruth((good, bad, tmp_path / "gone.png"), ()), SHAPE, [])
    assert drawn.known == 0
    assert not drawn.bits.any()
    assert drawn.unusable == {
        str(bad): "cannot be read as an image",
        str(tmp_path / "gone.png"): "cannot be read (No such file or directory)",
    }


def test_an_image_without_files_has_nothing_known() -> None:
    drawn = draw_truth(ImageTruth((), ()), SHAPE, [])
    assert (drawn.known, drawn.bits.any()) == (0, False)


def test_dice_of_masks_worked_by_hand() -> None:
    first = np.array([True, True, True, False])
    second = np.array([False, True, True, True])
    assert dice(first, second) == pytest.approx(4 / 6)
    assert dice(first, ~first) == 0
    assert dice(first, first) == 1
    assert dice(first & ~first, first & ~first) is None
