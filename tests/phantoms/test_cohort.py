import io
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.config.errors import UserError
from stages.sources.item import LESION_BIT, LUNG_BIT, MARKER_BIT, RawImage, SourceItem
from stages.phantoms import (
    PATTERNS,
    PHANTOM_CLASSES,
    Phantom,
    draw_ct,
    draw_xray,
    phantom_items,
)

SIZE_PX = 96
DRAWS = [pytest.param(draw_ct, id="ct"), pytest.param(draw_xray, id="xray")]
Draw = Callable[..., Phantom]


def make_items(
    kind: str = "ct",
    *,
    patients: dict[str, int] | None = None,
    images_per_patient: int = 2,
    marker_share: dict[str, float] | None = None,
    seed: int = 3,
) -> list[SourceItem]:
    return phantom_items(
        kind,
        patients=dict.fromkeys(PHANTOM_CLASSES[kind], 3) if patients is None else patients,
        images_per_patient=images_per_patient,
        marker_share=marker_share or {},
        size_px=SIZE_PX,
        seed=seed,
    )


def draw(function: Draw, pattern: str, number: int, *, marker: bool = False) -> Phantom:
    return function(
        pattern,
        np.random.default_rng([number, 0]),
        np.random.default_rng([number, 1]),
        size_px=SIZE_PX,
        marker=marker,
    )


def read_all(items: list[SourceItem]) -> dict[str, RawImage]:
    return {item.source_path: item.read() for item in items}


def truth_of(raw: RawImage) -> NDArray[np.uint8]:
    assert raw.truth is not None
    return raw.truth


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


def grey_of(raw: RawImage) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(raw.content)) as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


@pytest.mark.parametrize("kind", PHANTOM_CLASSES)
def test_reading_twice_and_in_another_order_gives_the_same_bytes(kind: str) -> None:
    share = dict.fromkeys(PHANTOM_CLASSES[kind], 0.5)
    forwards = read_all(make_items(kind, marker_share=share))
    backwards = read_all(make_items(kind, marker_share=share)[::-1])
    for path, raw in forwards.items():
        assert raw.content == backwards[path].content
        np.testing.assert_array_equal(truth_of(raw), truth_of(backwards[path]))


def test_more_patients_of_one_class_leave_all_other_images_as_they_were() -> None:
    few = read_all(make_items("xray3", patients={"covid": 1, "pneumonia": 2, "normal": 2}))
    many = read_all(make_items("xray3", patients={"covid": 4, "pneumonia": 2, "normal": 2}))
    assert len(many) == len(few) + 3 * 2
    assert all(many[path].content == raw.content for path, raw in few.items())


def test_another_seed_gives_other_images() -> None:
    first, second = read_all(make_items(seed=0)), read_all(make_items(seed=1))
    assert all(first[path].content != second[path].content for path in first)


def test_all_images_of_a_cohort_differ() -> None:
    contents = [raw.content for raw in read_all(make_items("xray3")).values()]
    assert len(set(contents)) == len(contents)


def test_counts_labels_and_paths_are_as_asked() -> None:
    items = make_items("xray3", patients={"covid": 1, "normal": 4}, images_per_patient=3)
    assert Counter(item.label for item in items) == {"covid": 3, "normal": 12}
    assert len({item.source_path for item in items}) == 15
    assert items[0].source_path == "covid/p0000-00.png"
    assert {item.split for item in items} == {None}


def test_images_of_a_patient_share_the_class_and_no_patient_is_in_two_classes() -> None:
    items = make_items("xray3", images_per_patient=2)
    patients = {(item.patient_id, item.label) for item in items}
    assert len(patients) == len({item.patient_id for item in items}) == 9
    assert set(Counter(item.patient_id for item in items).values()) == {2}


def test_the_lungs_of_one_patient_are_closer_in_grey_than_those_of_two() -> None:
    # Density of the lungs and window of the scanner are drawn per patient.
    images = [item.read() for item in make_items(patients={"normal": 12}, images_per_patient=2)]
    grey = [float(np.median(grey_of(raw)[(truth_of(raw) & LUNG_BIT) > 0])) for raw in images]
    within = np.abs(np.diff(np.reshape(grey, (12, 2)), axis=1))
    assert within.mean() < 0.5 * np.std(grey)


@pytest.mark.parametrize("kind", PHANTOM_CLASSES)
def test_the_file_is_a_grey_png_of_the_shape_of_the_truth(kind: str) -> None:
    raw = make_items(kind)[0].read()
    grey = grey_of(raw)
    assert grey.shape == truth_of(raw).shape
    assert truth_of(raw).dtype == np.uint8
    assert raw.content.startswith(b"\x89PNG")


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
    for item in make_items(kind):
        has_lesion = bool((truth_of(item.read()) & LESION_BIT).any())
        assert has_lesion == (item.label != "normal")


def test_the_infected_class_mixes_two_patterns_by_patient() -> None:
    # Ground glass reaches both lungs in most patients, a consolidation one only.
    items = make_items("xray", patients={"infected": 30}, images_per_patient=1)
    both = 0
    for item in items:
        lesion = (truth_of(item.read()) & LESION_BIT) > 0
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
    items = make_items(
        patients={"covid": 200, "normal": 200},
        images_per_patient=2,
        marker_share={"covid": 0.7, "normal": 0.05},
    )
    marked = Counter(item.label for item in items if item.subgroup == "marker")
    # 400 throws: 280 +- 9.2 and 20 +- 4.4; the bounds are five standard deviations.
    assert 234 <= marked["covid"] <= 326
    assert 1 <= marked["normal"] <= 42


def test_the_subgroup_says_whether_the_truth_has_a_marker() -> None:
    items = make_items("xray3", marker_share={"covid": 0.5, "normal": 1.0})
    for item in items:
        has_marker = bool((truth_of(item.read()) & MARKER_BIT).any())
        assert item.subgroup == ("marker" if has_marker else "no-marker")
    assert {item.subgroup for item in items if item.label == "normal"} == {"marker"}
    assert {item.subgroup for item in items if item.label == "pneumonia"} == {"no-marker"}


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"kind 'mri' is unknown; allowed: ct, ct_b, xray, xray3"):
        phantom_items("mri", patients={}, images_per_patient=1, marker_share={}, size_px=96, seed=0)


def test_an_unknown_class_names_those_of_the_kind() -> None:
    with pytest.raises(UserError, match=r"patients names 'flu'.* allowed: covid, normal"):
        make_items(patients={"covid": 1, "flu": 1})
    with pytest.raises(UserError, match=r"marker_share names 'covid'.* allowed: infected, normal"):
        make_items("xray", marker_share={"covid": 0.5})


def test_a_share_above_one_is_refused_with_its_range() -> None:
    with pytest.raises(UserError, match=r"marker_share.covid of kind ct is 1.5; allowed: 0 to 1"):
        make_items(marker_share={"covid": 1.5})


def test_an_unknown_pattern_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"'fibrosis' is unknown; allowed: none, ground_glass"):
        draw(draw_ct, "fibrosis", 0)
