import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.config.params import CenterCrop, NoCrop
from stages.deployment.resampling import ToView
from stages.imaging.boxes import center_box, lay_into_square
from stages.imaging.square import fit_square

SIZES = [(1, 1), (1, 40), (37, 3), (48, 48), (47, 48), (48, 31), (49, 50), (96, 144), (97, 143)]
SIZES += [(200, 64), (333, 1000), (16, 900)]


def noise(height: int, width: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(height * 1000 + width)
    return generator.integers(0, 256, (height, width), dtype=np.uint8)


def seen(picture: NDArray[np.uint8], **settings: object) -> NDArray[np.uint8]:
    """What a network is given, as bytes."""
    with torch.inference_mode():
        images = ToView(**settings)(torch.from_numpy(picture)[None])  # type: ignore[arg-type]
    pixels = images[0, 0] * 255
    assert torch.equal(pixels, pixels.round())
    return pixels.to(torch.uint8).numpy()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("size_px", [32, 48, 97])
def test_a_picture_is_laid_into_a_square_as_pillow_does_to_the_byte(
    height: int, width: int, fit: str, size_px: int
) -> None:
    picture = noise(height, width)
    expected, _ = lay_into_square(picture, (0, 0, width, height), size_px, fit, "smooth")
    found = seen(picture, prepared_px=None, crop_fraction=None, size_px=size_px, fit=fit)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("crop", [NoCrop(kind="none"), CenterCrop(kind="center", fraction=0.7)])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_a_whole_picture_is_reduced_and_cropped_as_the_stages_do_to_the_byte(
    height: int, width: int, crop: NoCrop | CenterCrop, fit: str
) -> None:
    picture = noise(height, width)
    pixels, (x0, y0, x1, y1) = fit_square(picture, 60, "smooth")
    prepared = pixels[y0:y1, x0:x1]
    fraction = crop.fraction if isinstance(crop, CenterCrop) else None
    box = center_box(*prepared.shape, 1.0 if fraction is None else fraction)
    expected, _ = lay_into_square(prepared, box, 32, fit, "smooth")
    found = seen(picture, prepared_px=60, crop_fraction=fraction, size_px=32, fit=fit)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("grey", [0, 1, 127, 254, 255])
def test_a_flat_picture_keeps_its_grey_in_a_black_frame(grey: int) -> None:
    picture = np.full((30, 90), grey, np.uint8)
    found = seen(picture, prepared_px=None, crop_fraction=None, size_px=45, fit="letterbox")
    expected = np.zeros((45, 45), np.uint8)
    expected[15:30] = grey
    np.testing.assert_array_equal(found, expected)


def test_pictures_of_a_batch_do_not_mix() -> None:
    pictures = np.stack([noise(50, 70), 255 - noise(50, 70)])
    to_view = ToView(prepared_px=40, crop_fraction=0.8, size_px=33, fit="letterbox")
    together = to_view(torch.from_numpy(pictures))
    for place, picture in enumerate(pictures):
        assert torch.equal(together[place], to_view(torch.from_numpy(picture)[None])[0])


def test_sizes_that_round_at_a_half_round_as_python_does() -> None:
    # 5 of 10 pixels to 45 are 22.5, which is 22 to Python; 0.5 of 5 is 2.5, which is 2.
    for height, width in itertools.product((5, 10), (10, 15)):
        picture = noise(height, width)
        expected, _ = lay_into_square(
            picture, center_box(height, width, 0.5), 45, "letterbox", "smooth"
        )
        found = seen(picture, prepared_px=None, crop_fraction=0.5, size_px=45, fit="letterbox")
        np.testing.assert_array_equal(found, expected)
