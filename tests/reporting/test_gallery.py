import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from stages.reporting.gallery import (
    SIDE_PX,
    build_check_tables,
    build_galleries,
    build_score_table,
    encode,
    name_not_class_specific,
)
from stages.reporting.html_table import Cell
from stages.reporting.results import Results


def test_errors_come_first_and_say_what_was_wrong(results: Results) -> None:
    images = results.cases["lungs-bce"].cam["images"]
    assert all(image["label"] == image["prediction"] for image in images)
    images[3] |= {"label": "covid", "prediction": "normal", "probability": 0.93}
    images[3]["selected_as"] = ["drawn", "error"]
    [gallery] = build_galleries(results, ["lungs-bce"])
    assert [image.is_error for image in gallery.images] == [True] + [False] * 5
    assert gallery.images[0].title == "Error: true covid, predicted normal 0.93"
    assert (
        gallery.images[0].lines[0] == f"{images[3]['image_id']}, drawn at random, confident error"
    )
    assert gallery.summary == "lungs-bce: 6 test images, 1 of them errors"


def test_a_caption_says_where_each_map_lies(results: Results) -> None:
    [gallery] = build_galleries(results, ["full-ce"])
    by_id = {image.lines[0].partition(",")[0]: image for image in gallery.images}
    assert by_id["i000"].lines[1] == (
        "Grad-CAM: 30% in the lungs (25% of the image), 20% in the lesions (5% of the image), "
        "100% of its peak in the lesions"
    )


def test_real_images_have_no_lesions_to_point_at(results: Results) -> None:
    for image in results.cases["full-ce"].cam["images"]:
        image["gradcam"] = {"in_lungs": None, "lungs_area": 0.0}
    [gallery] = build_galleries(results, ["full-ce"])
    assert gallery.images[0].lines[1] == "Grad-CAM: n/a in the lungs (0% of the image)"


def test_a_picture_belongs_to_its_image_and_method(results: Results) -> None:
    [gallery] = build_galleries(results, ["full-ce"])
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


def test_maps_that_look_at_nothing_stand_beside_the_methods(results: Results) -> None:
    table = build_score_table(results, ["full-ce"])
    names = [row[1].text for row in table.rows]
    assert names == ["Grad-CAM", "EigenCAM", "a constant map", "a centred Gaussian"]
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert shown["in lungs"] == Cell("0.400", "0.300 to 0.500; n = 6", 0.4, True)
    assert shown["target layer"].text == "conv2"


def test_a_score_that_one_map_lacks_is_undefined_for_it(results: Results) -> None:
    del results.cases["full-ce"].cam["summary"]["constant"]["in_lesions"]
    table = build_score_table(results, ["full-ce"])
    at = table.columns.index("in lesions")
    assert [row[at].text for row in table.rows] == ["0.400", "0.400", "n/a", "0.400"]


def test_a_mean_of_nothing_is_undefined(results: Results) -> None:
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    results.cases["full-ce"].cam["summary"]["gradcam"]["in_lungs"] = nothing
    cell = build_score_table(results, ["full-ce"]).rows[0][3]
    assert cell == Cell("n/a", "n = 0", None, True)


def test_methods_that_know_no_class_are_named(results: Results) -> None:
    assert name_not_class_specific(results, ["full-ce", "lungs-bce"]) == "EigenCAM"


def test_checks_of_the_maps_have_a_table_each(results: Results) -> None:
    agreement, randomisation, road = build_check_tables(results, ["full-ce", "lungs-bce"])
    assert agreement.rows[0][1].text == "Grad-CAM v EigenCAM"
    assert agreement.columns == ["case", "map", "mean"]
    assert randomisation.columns[2:] == ["head random", "all weights random"]
    assert road.columns[2:] == ["most relevant first"]
    assert road.rows[0][2].note == "0.300 to 0.500; n = 2"
    assert len(road.rows) == 4


def test_a_check_that_was_not_made_has_no_table(results: Results) -> None:
    results.cases["full-ce"].cam["road"] = {}
    assert len(build_check_tables(results, ["full-ce"])) == 2
