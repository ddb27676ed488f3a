import numpy as np
import pytest
from numpy.typing import NDArray

from stages.config.params import CenterCrop, LungCrop, NoCrop
from stages.dataset.truth import LUNG_BIT
from stages.imaging.boxes import center_box, lay_into_square, lung_box
from stages.imaging.cropping import choose_box, crop_image
from stages.phantoms.ct import draw_ct

LUNGS = LungCrop(kind="lungs", margin=0.1, fallback_fraction=0.5)


def mask_of(shape: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def phantom() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A CT slice, wider than high, and its truth."""
    drawn = draw_ct("ground_glass", np.random.default_rng(1), np.random.default_rng(2), size_px=128)
    return drawn.image, drawn.truth


def test_no_crop_takes_the_whole_picture() -> None:
    mask = mask_of((60, 80), 10, 10, 20, 20)
    box = choose_box(NoCrop(kind="none"), mask, lungs_trusted=True)
    assert box == ("none", (0, 0, 80, 60))


def test_a_centre_crop_takes_its_share_of_width_and_of_height() -> None:
    mask = mask_of((60, 80), 10, 10, 20, 20)
    crop = CenterCrop(kind="center", fraction=0.5)
    assert choose_box(crop, mask, lungs_trusted=True) == ("center", (20, 15, 60, 45))


def test_a_lung_crop_takes_the_box_of_the_lungs_and_a_margin() -> None:
    # The lungs are 40 wide and 20 high; a tenth of the longer side is 4.
    mask = mask_of((60, 80), 20, 15, 60, 35)
    assert choose_box(LUNGS, mask, lungs_trusted=True) == ("lungs", (16, 11, 64, 39))


def test_a_lung_crop_of_lungs_in_doubt_takes_the_centre_instead() -> None:
    mask = mask_of((60, 80), 20, 15, 60, 35)
    assert choose_box(LUNGS, mask, lungs_trusted=False) == ("center", (20, 15, 60, 45))
    empty = np.zeros((60, 80), dtype=bool)
    assert choose_box(LUNGS, empty, lungs_trusted=False) == ("center", (20, 15, 60, 45))


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("where", [(0, 0, 80, 60), (0, 50, 1, 60), (79, 0, 80, 1), (3, 3, 70, 9)])
def test_a_lung_box_holds_the_lungs_and_stays_inside_the_picture(
    where: tuple[int, int, int, int], margin: float
) -> None:
    x0, y0, x1, y1 = lung_box(mask_of((60, 80), *where), margin)
    assert 0 <= x0 <= where[0] < where[2] <= x1 <= 80
    assert 0 <= y0 <= where[1] < where[3] <= y1 <= 60


def test_a_lung_box_takes_in_both_lungs() -> None:
    mask = mask_of((60, 80), 5, 10, 20, 30) | mask_of((60, 80), 50, 20, 70, 45)
    assert lung_box(mask, 0.0) == (5, 10, 70, 45)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 100), (101, 50)])
@pytest.mark.parametrize("fraction", [0.1, 0.33, 1.0])
def test_a_centre_box_is_never_empty_and_stays_inside(
    height: int, width: int, fraction: float
) -> None:
    x0, y0, x1, y1 = center_box(height, width, fraction)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert abs((x0 + x1) - width) <= 1  # in the middle, to half a pixel
    assert abs((y0 + y1) - height) <= 1


def test_letterbox_keeps_the_aspect_ratio_on_black() -> None:
    picture = np.full((20, 40), 200, np.uint8)
    square, box = lay_into_square(picture, (0, 0, 40, 20), 64, "letterbox", "smooth")
    assert square.shape == (64, 64)
    assert box == (0, 16, 64, 48)
    assert (square[16:48] == 200).all()
    assert (square[:16] == 0).all()
    assert (square[48:] == 0).all()


def test_stretch_fills_the_square() -> None:
    picture = np.full((20, 40), 200, np.uint8)
    square, box = lay_into_square(picture, (0, 0, 40, 20), 64, "stretch", "smooth")
    assert box == (0, 0, 64, 64)
    assert (square == 200).all()


def test_only_the_box_is_laid_into_the_square() -> None:
    picture = np.zeros((20, 40), np.uint8)
    picture[5:15, 10:20] = 255
    square, _ = lay_into_square(picture, (10, 5, 20, 15), 32, "letterbox", "smooth")
    assert (square == 255).all()


def test_masks_keep_their_values() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 5], np.uint8), (30, 50))
    for fit in ("letterbox", "stretch"):
        square, _ = lay_into_square(mask, (0, 0, 50, 30), 77, fit, "nearest")
        assert set(np.unique(square)) <= {0, 1, 2, 5}


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_image_and_mask_of_a_crop_stay_on_each_other(fit: str) -> None:
    # The picture is bright exactly where the mask is, so that a shift would show.
    mask = mask_of((90, 140), 37, 21, 99, 60).astype(np.uint8)
    box = (11, 7, 133, 80)
    image, image_box = lay_into_square(mask * np.uint8(255), box, 96, fit, "smooth")
    placed, mask_box = lay_into_square(mask, box, 96, fit, "nearest")
    assert image_box == mask_box
    bright = image > 127
    assert (bright & (placed > 0)).sum() / (bright | (placed > 0)).sum() > 0.97


def test_a_lung_view_of_a_phantom_holds_its_lungs_and_truth_alike() -> None:
    picture, truth = phantom()
    cropped = crop_image(
        picture, truth, LUNG_BIT, crop=LUNGS, modality="ct", size_px=96, fit="letterbox"
    )
    assert (cropped.crop, cropped.quality) == ("lungs", "ok")
    assert cropped.truth is not None
    assert cropped.image.shape == cropped.lung_mask.shape == cropped.truth.shape == (96, 96)
    assert set(np.unique(cropped.lung_mask)) == {0, 1}
    lungs = (cropped.truth & LUNG_BIT) > 0
    found = cropped.lung_mask > 0
    assert 2 * (lungs & found).sum() / (lungs.sum() + found.sum()) > 0.85
    x0, y0, x1, y1 = cropped.box
    assert (truth[y0:y1, x0:x1] & LUNG_BIT).sum() > 0.95 * (truth & LUNG_BIT).sum()


def test_the_box_in_the_view_is_where_the_picture_lies() -> None:
    picture, _ = phantom()
    crop = NoCrop(kind="none")
    cropped = crop_image(picture, None, 0, crop=crop, modality="ct", size_px=96, fit="letterbox")
    height, width = picture.shape
    assert cropped.box == (0, 0, width, height)
    x0, y0, x1, y1 = cropped.view_box
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height, abs=0.03)
    outside = np.ones((96, 96), dtype=bool)
    outside[y0:y1, x0:x1] = False
    assert (cropped.image[outside] == 0).all()
    assert cropped.truth is None


def test_a_picture_without_lungs_falls_back_and_says_why() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 120), dtype=np.uint8)
    cropped = crop_image(noise, None, 0, crop=LUNGS, modality="ct", size_px=64, fit="stretch")
    assert cropped.crop == "center"
    assert cropped.quality != "ok"
    assert cropped.box == (30, 20, 90, 60)
