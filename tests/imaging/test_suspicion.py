"""Pictures that a person should look at are found, and few others."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.imaging.suspicion import BLANK, EVEN_PART, INVERTED, NEARLY_BLANK, find_suspicions
from tests.imaging.phantoms import draw_phantoms

Pixels = NDArray[np.uint8]
MODALITIES = {"ct": "ct", "ct_b": "ct", "xray": "xray", "xray3": "xray"}


def phantoms(kind: str) -> list[Pixels]:
    return [drawn.image for drawn in draw_phantoms(kind, patients=12, size_px=144, seed=1)]


def noise(height: int = 100, width: int = 120) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("kind", MODALITIES)
def test_phantoms_are_not_suspicious_and_their_negatives_are_inverted(kind: str) -> None:
    pictures, modality = phantoms(kind), MODALITIES[kind]
    assert [find_suspicions(picture, modality) for picture in pictures] == [[]] * len(pictures)
    negatives = [find_suspicions(255 - picture, modality) for picture in pictures]
    assert negatives.count([INVERTED]) >= 0.95 * len(negatives)


@pytest.mark.parametrize("padding", [0, 255])
@pytest.mark.parametrize("kind", ["ct", "xray"])
def test_padding_of_either_colour_does_not_mislead(kind: str, padding: int) -> None:
    for picture in phantoms(kind)[::6]:
        for around in (((0, 0), (30, 30)), ((30, 30), (30, 30))):
            padded = np.pad(picture, around, constant_values=padding)
            assert find_suspicions(padded, kind) == []
            negative = np.pad(255 - picture, around, constant_values=padding)
            assert find_suspicions(negative, kind) == [INVERTED]


def cropped_to_the_body(height: int = 200, width: int = 260) -> Pixels:
    """A CT slice without air around: bright, with two dark lungs."""
    rows, columns = np.indices((height, width)) / np.array([height, width])[:, None, None]
    lungs = [np.hypot((columns - x) / 0.2, (rows - 0.5) / 0.33) < 1 for x in (0.28, 0.72)]
    grey = np.where(lungs[0] | lungs[1], 40, 190) + np.random.default_rng(0).normal(
        0, 5, (height, width)
    )
    return grey.clip(0, 255).astype(np.uint8)


def test_slice_that_the_body_fills_is_told_from_its_negative() -> None:
    assert find_suspicions(cropped_to_the_body(), "ct") == []
    assert find_suspicions(255 - cropped_to_the_body(), "ct") == [INVERTED]


@pytest.mark.parametrize("modality", ["ct", "xray"])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_blank_picture_is_told(modality: str, grey: int) -> None:
    picture = np.full((60, 80), grey, dtype=np.uint8)
    assert find_suspicions(picture, modality) == [BLANK]
    picture[5, 5] = 255 - grey if grey != 128 else 0  # one hot or dead pixel
    assert find_suspicions(picture, modality) == [NEARLY_BLANK]


def test_faint_noise_is_nearly_blank_and_a_faint_picture_is_not() -> None:
    assert find_suspicions(100 + noise() // 20, "xray") == [NEARLY_BLANK]
    assert find_suspicions(100 + noise() // 10, "xray") == []


@pytest.mark.parametrize(("rows", "found"), [(50, [EVEN_PART]), (10, [EVEN_PART]), (4, [])])
def test_even_grey_at_the_bottom_is_told(rows: int, found: list[str]) -> None:
    picture = noise()
    picture[-rows:] = 128
    assert find_suspicions(picture, "xray") == found


@pytest.mark.parametrize("padding", [0, 5, 255])
def test_black_or_white_padding_at_the_bottom_is_none(padding: int) -> None:
    picture = noise()
    picture[-40:] = padding
    assert find_suspicions(picture, "xray") == []


def test_smallest_and_longest_pictures_are_looked_at() -> None:
    for shape in ((16, 16), (16, 4000), (3000, 17)):
        for modality in ("ct", "xray"):
            assert find_suspicions(noise(*shape), modality) == []
