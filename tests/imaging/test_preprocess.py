import numpy as np
import pytest

from stages.config.params import LungCrop, NoCrop, View
from stages.dataset.preprocessing import Preprocessing
from stages.imaging.preprocess import cut_view, prepare_picture, preprocess
from tests.dataset.sample import GREY


@pytest.mark.parametrize("shape", [(300, 200), (64, 500), (40, 48)])
@pytest.mark.parametrize(
    "crop",
    [NoCrop(kind="none"), LungCrop(kind="lungs", margin=0.1, fallback_fraction=0.7)],
    ids=["none", "lungs"],
)
def test_one_step_is_the_two_steps_of_the_stages(
    shape: tuple[int, int], crop: NoCrop | LungCrop
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    view = View(dataset="ct", crop=crop, size_px=48, fit="letterbox")
    made = preprocess(pixels, Preprocessing(grey=GREY, picture_px=96, view=view), "ct")
    square, (x0, y0, x1, y1) = prepare_picture(pixels, 96)
    cut = cut_view(square[y0:y1, x0:x1], None, 0, view=view, modality="ct")
    assert (made.picture == square[y0:y1, x0:x1]).all()
    assert (made.row.image == cut.image).all()
    assert made.row.image.shape == (48, 48)
    assert made.row.box == cut.box
