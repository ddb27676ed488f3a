import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from stages.reporting.gallery import SIDE_PX, Gallery, build_gallery, encode
from stages.reporting.results import Results
from tests.reporting.conftest import METHODS, Files


def gallery_of(results: Results, case: str) -> Gallery:
    return build_gallery(results.cases[case], METHODS)


def test_errors_come_first_and_say_what_was_wrong(files: Files) -> None:
    images = files.cases["lungs-bce"].cam["images"]
    assert all(image["label"] == image["prediction"] for image in images)
    images[3] |= {"label": "covid", "prediction": "normal", "probability": 0.93}
    images[3]["selected_as"] = ["drawn", "error"]
    gallery = gallery_of(files.load(), "lungs-bce")
    assert [image.is_error for image in gallery.images] == [True] + [False] * 5
    assert gallery.images[0].title == "Error: true covid, predicted normal 0.93"
    assert (
        gallery.images[0].lines[0] == f"{images[3]['image_id']}, drawn at random, confident error"
    )
    assert gallery.summary == "lungs-bce: 6 test images, 1 of them errors"


def test_a_caption_says_where_each_map_lies(results: Results) -> None:
    gallery = gallery_of(results, "full-ce")
    by_id = {image.lines[0].partition(",")[0]: image for image in gallery.images}
    assert by_id["i000"].lines[1] == (
        "Grad-CAM: 30% in the lungs (25% of the image), 20% in the lesions (5% of the image), "
        "100% of its peak in the lesions"
    )


def test_real_images_have_no_lesions_to_point_at(files: Files) -> None:
    for image in files.cases["full-ce"].cam["images"]:
        image["gradcam"] = {"in_lungs": None, "lungs_area": 0.0}
    gallery = gallery_of(files.load(), "full-ce")
    assert gallery.images[0].lines[1] == "Grad-CAM: n/a in the lungs (0% of the image)"


def test_a_picture_belongs_to_its_image_and_method(results: Results) -> None:
    gallery = gallery_of(results, "full-ce")
    assert [picture.method for picture in gallery.images[0].pictures] == ["Grad-CAM", "EigenCAM"]
    uris = [picture.uri for image in gallery.images for picture in image.pictures]
    assert len(set(uris)) == 12


def decoded(uri: str) -> Image.Image:
    start, _, content = uri.partition(",")
    assert start == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_large_picture_is_made_small_and_keeps_its_shape(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    uri = encode(tmp_path / "a.png")
    assert decoded(uri).size == (SIDE_PX, round(SIDE_PX * 2 / 3))
    assert len(uri) < 20_000
    assert encode(tmp_path / "a.png") == uri


def test_a_small_picture_is_not_blown_up(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    assert decoded(encode(tmp_path / "a.png")).size == (20, 10)
