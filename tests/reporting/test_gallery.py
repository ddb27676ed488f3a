import re

import pytest

from stages.reporting.gallery import Gallery, Shown, build_gallery, build_side_by_side
from stages.reporting.picture_store import PictureStore
from stages.reporting.results import Results
from tests.reporting.conftest import METHODS, Files


def gallery_of(results: Results, case: str) -> Gallery:
    dataset = next(d for d in results.datasets.values() if results.cases[case] in d.cases)
    return build_gallery(results.cases[case], dataset, METHODS, PictureStore())


def show_first(files: Files, **facts: object) -> Shown:
    """The first image of `lungs-bce` with other facts, as the gallery shows it."""
    image = files.cases["lungs-bce"].cam["images"][0]
    image |= facts
    shown = gallery_of(files.load(), "lungs-bce").images
    return next(one for one in shown if one.lines[0].startswith(image["image_id"]))


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
    assert by_id["i000"].lines[3] == (
        "Grad-CAM: 30% in the lungs (25% of the image), 20% in the lesions (5% of the image), "
        "100% of its peak in the lesions"
    )


def test_real_images_have_no_lesions_to_point_at(files: Files) -> None:
    for image in files.cases["full-ce"].cam["images"]:
        image["gradcam"] = {"in_lungs": None, "lungs_area": 0.0}
    gallery = gallery_of(files.load(), "full-ce")
    assert gallery.images[0].lines[3] == "Grad-CAM: n/a in the lungs (0% of the image)"


def test_an_image_says_its_file_its_patient_group_and_its_stratum(results: Results) -> None:
    lines = {i.lines[0].partition(",")[0]: i for i in gallery_of(results, "full-ce").images}
    assert lines["i000"].lines[1:3] == ["file 0.png; patient group g000000", "stratum marker"]


@pytest.mark.parametrize(
    ("label", "prediction", "kind"),
    [
        ("normal", "covid", "false positive"),
        ("pneumonia", "covid", "false positive"),
        ("covid", "normal", "false negative"),
        ("normal", "pneumonia", "confusion"),
        ("normal", "normal", "right"),
    ],
)
def test_errors_are_told_apart_by_the_positive_class(
    files: Files, label: str, prediction: str, kind: str
) -> None:
    shown = show_first(files, label=label, prediction=prediction)
    assert (shown.kind, shown.label, shown.is_error) == (kind, label, kind != "right")


@pytest.mark.parametrize(
    ("probability", "certainty"),
    [(1.0, "sure"), (0.9, "sure"), (0.89, "fairly sure"), (0.69, "unsure"), (0.34, "unsure")],
)
def test_certainty_is_that_of_the_decision(
    files: Files, probability: float, certainty: str
) -> None:
    assert show_first(files, probability=probability).certainty == certainty


def test_a_shortcut_that_decides_alike_is_a_warning(files: Files) -> None:
    # The fixture's probes call every image covid, and the best of the view is the border.
    said = "the best shortcut (border) alone says covid too, 0.75"
    assert said in show_first(files, prediction="covid").warnings
    assert show_first(files, prediction="normal").warnings == []


def test_a_map_no_more_in_the_lungs_than_they_are_large_is_a_warning(files: Files) -> None:
    map_scores = {"in_lungs": 0.25, "lungs_area": 0.25}
    said = "Grad-CAM is no more in the lungs than a map that looks at nothing"
    assert show_first(files, prediction="normal", gradcam=map_scores).warnings == [said]
    empty = map_scores | {"in_lungs": None}
    assert show_first(files, prediction="normal", gradcam=empty).warnings == []


def test_a_group_in_two_splits_is_a_warning(files: Files) -> None:
    leak = {"splits": ["train", "test"], "files": ["a.png", "b.png"]}
    files.datasets["ct"].grouping["leaks"] = {"g000000": leak}
    said = "its patient group stands in more than one split"
    assert show_first(files, prediction="normal").warnings == [said]


def test_a_picture_belongs_to_its_image_and_method(results: Results) -> None:
    gallery = gallery_of(results, "full-ce")
    prediction = gallery.images[0].title.split()[-2]
    assert [panel.title for panel in gallery.images[0].panels] == [
        "original",
        f"Grad-CAM, for {prediction}",
        "EigenCAM, any class",
    ]
    pictures = [panel.picture for image in gallery.images for panel in image.panels]
    assert len(set(pictures)) == 18


def test_side_by_side_shows_each_drawn_image_once_with_what_each_case_makes_of_it(
    files: Files,
) -> None:
    wrong = {"label": "normal", "prediction": "covid", "probability": 0.93}
    files.cases["lungs-folds"].cam["images"][0] |= wrong
    sheet = build_side_by_side(files.load().datasets["ct"], "gradcam", PictureStore())
    assert sheet.cases == ["full-ce", "lungs-bce", "lungs-folds"]
    assert [row.title for row in sheet.rows] == [
        f"i00{number}, true {'covid' if number in (2, 3) else 'normal'}" for number in range(6)
    ]
    assert all(len({panel.picture for panel in row.panels}) == 3 for row in sheet.rows)
    assert sheet.rows[0].panels[2].title == "Error: covid 0.93"
    assert re.fullmatch(r"normal 0\.\d\d", sheet.rows[0].panels[1].title)


def test_pictures_side_by_side_are_those_of_the_galleries(results: Results) -> None:
    dataset, store = results.datasets["ct"], PictureStore()
    for case in dataset.cases:
        build_gallery(case, dataset, METHODS, store)
    count = len(store.uris)
    build_side_by_side(dataset, METHODS[0], store)
    assert len(store.uris) == count == 3 * 6 * 2 + 6  # maps, and originals that cases share
