import io
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.config.errors import UserError
from stages.config.params import Cohort
from stages.dataset.truth import LESION_BIT, LUNG_BIT, MARKER_BIT
from stages.phantoms.cohort import PHANTOM_CLASSES, CohortImage, plan_cohort
from stages.phantoms.ct import draw_ct
from stages.phantoms.lesions import PATTERNS
from stages.phantoms.picture import Phantom
from stages.phantoms.xray import draw_xray

SIZE_PX = 96
DRAWS = [pytest.param(draw_ct, id="ct"), pytest.param(draw_xray, id="xray")]
Draw = Callable[..., Phantom]


def plan(
    kind: str = "ct",
    *,
    patients: dict[str, int] | None = None,
    images_per_patient: int = 2,
    marker_share: dict[str, float] | None = None,
    size_px: int = SIZE_PX,
    seed: int = 3,
) -> list[CohortImage]:
    """A cohort of three patients a class, without markers, but for what is given."""
    classes = PHANTOM_CLASSES[kind]
    cohort = Cohort.model_validate(
        {
            "kind": kind,
            "patients": dict.fromkeys(classes, 3) | (patients or {}),
            "images_per_patient": images_per_patient,
            "marker_share": dict.fromkeys(classes, 0.0) | (marker_share or {}),
        }
    )
    return plan_cohort(cohort, size_px=size_px, seed=seed)


def of_class(images: list[CohortImage], label: str) -> list[CohortImage]:
    return [image for image in images if image.label == label]


def draw(function: Draw, pattern: str, number: int, *, marker: bool = False) -> Phantom:
    return function(
        pattern,
        np.random.default_rng([number, 0]),
        np.random.default_rng([number, 1]),
        size_px=SIZE_PX,
        marker=marker,
    )


def draw_all(images: list[CohortImage]) -> dict[tuple[int, int], Phantom]:
    """The drawings by patient and number."""
    return {(image.patient, image.number): image.draw() for image in images}


def same(first: Phantom, second: Phantom) -> bool:
    return first.to_png() == second.to_png() and np.array_equal(first.truth, second.truth)


def box_of(mask: NDArray[np.bool_], margin_frac: float) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    down, across = int(np.ceil(margin_frac * height)), int(np.ceil(margin_frac * width))
    return (
        max(0, columns[0] - across),
        max(0, rows[0] - down),
        columns[-1] + 1 + across,
        rows[-1] + 1 + down,
    )


@pytest.mark.parametrize("kind", PHANTOM_CLASSES)
def test_drawing_twice_and_in_another_order_gives_the_same_bytes(kind: str) -> None:
    share = dict.fromkeys(PHANTOM_CLASSES[kind], 0.5)
    forwards = draw_all(plan(kind, marker_share=share))
    backwards = draw_all(plan(kind, marker_share=share)[::-1])
    assert forwards.keys() == backwards.keys()
    assert all(same(drawn, backwards[key]) for key, drawn in forwards.items())


def test_more_patients_of_one_class_leave_all_other_images_as_they_were() -> None:
    few = draw_all(plan("xray3", patients={"covid": 1, "pneumonia": 2, "normal": 2}))
    many = draw_all(plan("xray3", patients={"covid": 4, "pneumonia": 2, "normal": 2}))
    assert len(many) == len(few) + 3 * 2
    assert all(same(many[key], drawn) for key, drawn in few.items())


def test_another_seed_gives_other_images() -> None:
    first, second = draw_all(plan(seed=0)), draw_all(plan(seed=1))
    assert not any(same(first[key], second[key]) for key in first)


def test_all_images_of_a_cohort_differ() -> None:
    contents = [drawn.to_png() for drawn in draw_all(plan("xray3")).values()]
    assert len(set(contents)) == len(contents)


def test_counts_and_labels_are_as_asked() -> None:
    patients = {"covid": 1, "pneumonia": 2, "normal": 4}
    images = plan("xray3", patients=patients, images_per_patient=3)
    assert Counter(image.label for image in images) == {"covid": 3, "pneumonia": 6, "normal": 12}
    assert [image.number for image in of_class(images, "covid")] == [0, 1, 2]
    assert images[0].patient_id == "p0000"


def test_images_of_a_patient_share_the_class_and_no_patient_is_in_two_classes() -> None:
    images = plan("xray3", images_per_patient=2)
    patients = {(image.patient_id, image.label) for image in images}
    assert len(patients) == len({image.patient_id for image in images}) == 9
    assert set(Counter(image.patient_id for image in images).values()) == {2}


def test_the_lungs_of_one_patient_are_closer_in_grey_than_those_of_two() -> None:
    # Density of the lungs and window of the scanner are drawn per patient.
    images = of_class(plan(patients={"normal": 12}, images_per_patient=2), "normal")
    drawn = [image.draw() for image in images]
    grey = [float(np.median(image[(truth & LUNG_BIT) > 0])) for image, truth in drawn]
    within = np.abs(np.diff(np.reshape(grey, (12, 2)), axis=1))
    assert within.mean() < 0.5 * np.std(grey)


@pytest.mark.parametrize("kind", PHANTOM_CLASSES)
def test_the_file_is_a_grey_png_of_the_picture_which_has_the_shape_of_the_truth(kind: str) -> None:
    drawn = plan(kind)[0].draw()
    assert drawn.image.shape == drawn.truth.shape
    assert drawn.truth.dtype == np.uint8
    with Image.open(io.BytesIO(drawn.to_png())) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(picture), drawn.image)


@pytest.mark.parametrize("function", DRAWS)
def test_sides_stay_within_15_percent_and_are_not_always_equal(function: Draw) -> None:
    shapes = np.array([draw(function, "none", number).image.shape for number in range(20)])
    assert shapes.min() >= round(0.85 * SIZE_PX)
    assert shapes.max() <= round(1.15 * SIZE_PX)
    assert (shapes[:, 0] != shapes[:, 1]).any()


@pytest.mark.parametrize("function", DRAWS)
def test_the_lungs_are_two_dark_regions_of_plausible_area(function: Draw) -> None:
    for number in range(20):
        image, truth = draw(function, "none", number)
        lung = (truth & LUNG_BIT) > 0
        middle = lung.shape[1] // 2
        assert 0.06 < lung.mean() < 0.4
        assert lung[:, :middle].any()
        assert lung[:, middle:].any()
        assert np.median(image[lung]) < 0.7 * np.percentile(image, 90)


@pytest.mark.parametrize("function", DRAWS)
@pytest.mark.parametrize("pattern", ["ground_glass", "consolidation"])
def test_lesions_exist_and_lie_inside_the_lungs(function: Draw, pattern: str) -> None:
    for number in range(40):
        truth = draw(function, pattern, number).truth
        lesion = (truth & LESION_BIT) > 0
        assert lesion.sum() >= 4
        assert not (lesion & ((truth & LUNG_BIT) == 0)).any()


@pytest.mark.parametrize("function", DRAWS)
def test_a_lesion_makes_its_own_pixels_brighter_on_average(function: Draw) -> None:
    gains = []
    for number in range(20):
        healthy, ill = (draw(function, pattern, number) for pattern in PATTERNS[:2])
        lesion = (ill.truth & LESION_BIT) > 0
        gains.append(np.mean(ill.image[lesion]) - np.mean(healthy.image[lesion]))
    assert np.mean(gains) > 5


def test_a_ct_with_lesions_differs_from_the_healthy_one_inside_the_lungs_only() -> None:
    healthy, ill = (draw(draw_ct, pattern, 5) for pattern in ("none", "consolidation"))
    away = (healthy.truth & LUNG_BIT) == 0
    # Half a pixel of soft edge around the lungs may change too.
    changed = (healthy.image != ill.image) & away
    assert changed.sum() < 0.02 * away.sum()
    np.testing.assert_array_equal(healthy.truth & LUNG_BIT, ill.truth & LUNG_BIT)


@pytest.mark.parametrize("kind", PHANTOM_CLASSES)
def test_normal_images_have_no_lesion_and_all_others_have(kind: str) -> None:
    for image in plan(kind):
        has_lesion = bool((image.draw().truth & LESION_BIT).any())
        assert has_lesion == (image.label != "normal")


def test_the_infected_class_mixes_two_patterns_by_patient() -> None:
    # Ground glass reaches both lungs in most patients, a consolidation one only.
    images = plan("xray", patients={"infected": 30}, images_per_patient=1)
    both = 0
    for image in of_class(images, "infected"):
        lesion = (image.draw().truth & LESION_BIT) > 0
        middle = lesion.shape[1] // 2
        both += bool(lesion[:, : middle - 8].any() and lesion[:, middle + 8 :].any())
    assert 3 <= both <= 27


@pytest.mark.parametrize("function", DRAWS)
def test_a_marker_is_bright_and_stays_out_of_the_lung_box_with_5_percent_margin(
    function: Draw,
) -> None:
    for number in range(60):
        image, truth = draw(function, "none", number, marker=True)
        marker, lung = (truth & MARKER_BIT) > 0, (truth & LUNG_BIT) > 0
        x0, y0, x1, y1 = box_of(lung, margin_frac=0.05)
        assert not marker[y0:y1, x0:x1].any()
        assert image[marker].max() >= 230
        assert 0.07 <= marker.any(axis=0).sum() / image.shape[1] <= 0.11


def test_a_ct_marker_lies_on_the_dark_air_outside_the_body() -> None:
    for number in range(40):
        plain = draw(draw_ct, "none", number)
        marked = draw(draw_ct, "none", number, marker=True)
        under = plain.image[(marked.truth & MARKER_BIT) > 0]
        assert np.median(under) < 110


@pytest.mark.parametrize("function", DRAWS)
def test_planting_a_marker_changes_nothing_else(function: Draw) -> None:
    plain = draw(function, "ground_glass", 7)
    marked = draw(function, "ground_glass", 7, marker=True)
    elsewhere = (marked.truth & MARKER_BIT) == 0
    np.testing.assert_array_equal(plain.image[elsewhere], marked.image[elsewhere])
    assert not (plain.truth & MARKER_BIT).any()


def test_markers_come_with_the_share_asked_for_each_class() -> None:
    images = plan(
        patients={"covid": 200, "normal": 200},
        images_per_patient=2,
        marker_share={"covid": 0.7, "normal": 0.05},
    )
    marked = Counter(image.label for image in images if image.has_marker)
    # 400 throws: 280 +- 9.2 and 20 +- 4.4; the bounds are five standard deviations.
    assert 234 <= marked["covid"] <= 326
    assert 1 <= marked["normal"] <= 42


def test_the_truth_has_a_marker_where_one_was_planned() -> None:
    images = plan("xray3", marker_share={"covid": 0.5, "normal": 1.0})
    for image in images:
        assert bool((image.draw().truth & MARKER_BIT).any()) == image.has_marker
    assert {image.has_marker for image in of_class(images, "normal")} == {True}
    assert {image.has_marker for image in of_class(images, "pneumonia")} == {False}


@pytest.mark.parametrize("size_px", [47, 1025])
def test_a_size_that_cannot_be_drawn_is_refused_with_its_range(size_px: int) -> None:
    said = rf"^size_px: got {size_px}; allowed for phantoms: 48 to 1024$"
    with pytest.raises(UserError, match=said):
        plan(size_px=size_px)


def test_an_unknown_pattern_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"'fibrosis' is unknown; allowed: none, ground_glass"):
        draw(draw_ct, "fibrosis", 0)
