import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.explain.overlay import CAPTION_PX, TILE_PX, Caption, draw_overlay, draw_tile
from stages.reporting.picture_store import SIDE_PX, PictureStore, open_overlay, to_uri
from stages.reporting.results import Results
from tests.reporting.conftest import Files


def decoded(uri: str) -> Image.Image:
    start, _, content = uri.partition(",")
    assert start == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 50), (50, 31), (400, 7)])
def test_of_a_tile_what_lies_on_the_image_is_shown(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "a.png"
    black = np.zeros((height, width, 3), np.uint8)
    draw_tile(black, Caption("covid", "covid", 0.9), "gradcam").save(path)
    with Image.open(path) as tile:
        assert tile.size == (TILE_PX, TILE_PX + CAPTION_PX)
        n_black = int((np.array(tile)[:TILE_PX] == 0).all(axis=2).sum())
    overlay = np.array(open_overlay(path, (width, height)))
    assert (overlay == 0).all()  # neither a margin nor the caption
    assert overlay.shape[0] * overlay.shape[1] == n_black  # and all of it


def test_a_large_picture_is_made_small_and_keeps_its_shape(files: Files) -> None:
    dataset = files.load().datasets["ct"]
    noise = np.random.default_rng(1).integers(0, 256, (len(dataset.manifest), 900, 900), np.uint8)
    np.save(dataset.images, noise)
    dataset.manifest[["x0", "y0", "x1", "y1"]] = (0, 150, 900, 750)
    store = PictureStore()
    picture = store.add_original(dataset, "i003")
    assert (picture.width, picture.height) == (SIDE_PX, round(SIDE_PX * 2 / 3))
    assert decoded(store.uris[picture]).size == (picture.width, picture.height)
    assert len(store.uris[picture]) < 20_000


def test_a_small_picture_is_not_blown_up(results: Results) -> None:
    picture = PictureStore().add_original(results.datasets["ct"], "i000")
    assert (picture.width, picture.height) == (8, 6)


def test_a_picture_is_kept_once_and_each_image_has_its_own(results: Results) -> None:
    dataset, store = results.datasets["ct"], PictureStore()
    first = store.add_original(dataset, "i000")
    assert store.add_original(dataset, "i001") != first
    assert store.add_original(dataset, "i000") == first
    assert len(store.uris) == 2
    greys = [int(np.array(decoded(uri))[3, 4, 0]) for uri in store.uris.values()]
    assert greys == pytest.approx([0, 1], abs=1)


def test_images_of_the_same_id_in_two_data_sets_are_two_pictures(files: Files) -> None:
    files.datasets["labels"].manifest.loc[0, "image_id"] = "i000"
    results, store = files.load(), PictureStore()
    for dataset in results.datasets.values():
        store.add_original(dataset, "i000")
    assert len(store.uris) == 2


def test_an_image_that_the_data_set_does_not_have_is_an_error(results: Results) -> None:
    with pytest.raises(KeyError, match="ct has no image gone"):
        PictureStore().add_original(results.datasets["ct"], "gone")


def test_the_same_picture_gives_the_same_text() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    picture = Image.fromarray(noise)
    assert to_uri(picture) == to_uri(picture.copy())


def test_a_map_on_a_noisy_picture_takes_little_room(tmp_path: Path) -> None:
    # Of a case of the default run there are some 27 images with two maps each.
    rng = np.random.default_rng(1)
    picture = rng.normal(128, 12, (144, 144)).clip(0, 255).astype(np.uint8)
    cam = np.linspace(0, 1, 144 * 144, dtype=np.float32).reshape(144, 144)
    path = tmp_path / "a.png"
    draw_tile(draw_overlay(picture, cam), Caption("covid", "covid", 0.9), "gradcam").save(path)
    assert len(to_uri(open_overlay(path, (144, 144)))) < 2_400
