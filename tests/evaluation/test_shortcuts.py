from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.dataset.image_set import ImageSet
from stages.dataset.split import deal_folds
from stages.evaluation.audit_report import Audit, build_audit, tabulate_probe
from stages.evaluation.shortcuts import (
    PROBES,
    SHOWS_DISEASE,
    Shown,
    file_features,
    geometry_features,
    leakage_probabilities,
    lungs_only_features,
    p_values,
    probe_probabilities,
    thumbnail_features,
    whole_features,
)
from stages.evaluation.statistics.permutation import Permutations, PValues
from stages.evaluation.statistics.records import Bootstrap, Estimate
from tests.dataset.sample import COVID_CT

PATIENTS = 60
SIDE = 32
PERMUTATIONS = Permutations(199, seed=0)
UNTOLD = PValues(1, (1, 1))
PROBE_FIGURES = (
    *("auroc", "balanced_accuracy", "accuracy", "f1_macro", "sensitivity"),
    *("sensitivity_specificity_90", "specificity_specificity_90"),
)
# Lungs are a block in the middle; the rest of the view is outside.
LUNGS = np.zeros((SIDE, SIDE), np.uint8)
LUNGS[8:24, 8:24] = 1


def view_of(images: NDArray[np.uint8], **columns: Any) -> ImageSet:
    """A view of these images, two of a patient, patients covid and normal by turns."""
    patients = np.arange(len(images)) // 2
    lungs = np.kron(LUNGS, np.ones((images.shape[1] // SIDE,) * 2, np.uint8))
    facts: dict[str, Any] = {"width": 512, "height": 400, "mode": "L", "format": "PNG"}
    facts["file_bytes"] = 40_000
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(images))],
            "label": np.where(patients % 2 == 1, "covid", "normal"),
            "group_id": [f"g{patient}" for patient in patients],
        }
    ).assign(**(facts | columns))
    return ImageSet(
        info=COVID_CT,
        manifest=manifest,
        images=images,
        truth=None,
        lung_masks=np.broadcast_to(lungs, images.shape),
        boxes=pd.DataFrame(
            {
                "view_x0": np.zeros(len(images)),
                "view_y0": 0.0,
                "view_x1": images.shape[2],
                "view_y1": images.shape[1],
            }
        ),
    )


def noise() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return rng.integers(60, 200, (2 * PATIENTS, SIDE, SIDE), dtype=np.uint8)


def is_covid() -> NDArray[np.bool_]:
    return (np.arange(2 * PATIENTS) // 2) % 2 == 1


def folds_of(view: ImageSet, folds: int = 5) -> NDArray[np.int64]:
    labels, groups = (view.manifest[column].to_numpy(str) for column in ("label", "group_id"))
    return deal_folds(labels, groups, folds, seed=0)


def audit_of(view: ImageSet, *probes: str) -> Audit:
    folds = folds_of(view)
    features = {probe: PROBES[probe].features(Shown(view)) for probe in probes}
    said = {
        probe: probe_probabilities(shown, view.targets, folds) for probe, shown in features.items()
    }
    tests = {probe: p_values(shown, view, folds, PERMUTATIONS) for probe, shown in features.items()}
    leaking = [leakage_probabilities(view, folds)] * 2
    return build_audit(view, said, tests, folds, leaking, Bootstrap(draws=200, seed=0))


def auroc_of(probe: str, view: ImageSet) -> Estimate:
    return audit_of(view, *{"border", probe}).probes[probe].metrics["auroc"]


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_finds_nothing_where_there_is_nothing(probe: str) -> None:
    found = auroc_of(probe, view_of(noise()))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.5 <= found.high
    assert found.p_value is not None
    assert found.p_value > 0.05


def test_a_marker_on_half_of_a_class_is_found_wherever_it_lies() -> None:
    # On pictures of any exposure; of 60 images of covid 30 have it, each in one of 4 corners.
    exposures = np.random.default_rng(3).integers(60, 200, 2 * PATIENTS, dtype=np.uint8)
    images = np.tile(exposures[:, None, None], (1, 64, 64))
    for number in np.flatnonzero(is_covid())[::2]:
        rows, columns = (
            slice(1, 3) if end else slice(-3, -1) for end in divmod(number // 4 % 4, 2)
        )
        images[number, rows, columns] = 255
    found = auroc_of("marks", view_of(images))
    assert found.p_value is not None
    assert found.p_value <= 0.01


@pytest.mark.parametrize("probe", ["no_lungs", "border", "marks"])
def test_lungs_that_are_found_smaller_in_a_class_do_not_show(probe: str) -> None:
    # All images are alike but for the size of the lungs, dark ones in a brighter chest.
    view = view_of(np.full((2 * PATIENTS, SIDE, SIDE), 120, np.uint8))
    masks = np.array(view.lung_masks)
    masks[is_covid(), 8:14] = 0
    images = np.where(masks > 0, 30, view.images).astype(np.uint8)
    view = replace(view, images=images, lung_masks=masks)
    found = auroc_of(probe, view)
    assert (found.value, found.p_value) == (0.5, 1)
    assert auroc_of("whole", view).value == pytest.approx(1)


def test_the_file_probe_finds_a_class_that_comes_in_another_size() -> None:
    view = view_of(noise(), width=np.where(is_covid(), 640, 512))
    assert auroc_of("file", view).value == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["mode", "format"])
def test_the_file_probe_finds_a_class_that_comes_in_another_kind_of_file(column: str) -> None:
    values = {"mode": ("RGB", "L"), "format": ("JPEG", "PNG")}[column]
    view = view_of(noise(), **{column: np.where(is_covid(), *values)})
    assert auroc_of("file", view).value == pytest.approx(1.0)


def test_the_file_probe_looks_at_no_pixel() -> None:
    same = file_features(view_of(noise()))
    np.testing.assert_array_equal(same, file_features(view_of(np.zeros_like(noise()))))


def test_a_square_in_the_corner_is_found_at_the_border_and_not_in_the_lungs() -> None:
    images = noise()
    images[is_covid(), :3, :3] = 255
    view = view_of(images)
    for probe in ("border", "no_lungs", "whole"):
        low = auroc_of(probe, view).low
        assert low is not None
        assert low > 0.8, probe
    inside = auroc_of("lungs_only", view)
    assert inside.low is not None
    assert inside.low <= 0.5


def test_a_change_in_the_lungs_is_found_there_and_not_around_them() -> None:
    images = noise()
    images[is_covid(), 12:18, 12:18] = 230
    view = view_of(images)
    low = auroc_of("lungs_only", view).low
    assert low is not None
    assert low > 0.8
    for probe in ("no_lungs", "border"):
        around = auroc_of(probe, view).low
        assert around is not None
        assert around <= 0.5, probe


def pictures(features: NDArray[np.float64]) -> NDArray[np.float64]:
    side = int(np.sqrt(features.shape[1]))
    return features.reshape(-1, side, side)


def bright_lungs(side: int = SIDE) -> ImageSet:
    """Lungs of grey 200 on grey 100: the mean is 125."""
    scale = side // SIDE
    lungs = np.kron(LUNGS, np.ones((scale, scale), np.uint8))
    return view_of(np.broadcast_to(100 + 100 * lungs, (4, side, side)))


def test_what_a_probe_may_not_see_is_of_the_mean_grey() -> None:
    view = bright_lungs()
    inside = LUNGS > 0
    only = pictures(lungs_only_features(view))
    assert (only[:, inside] == 200).all()
    assert (only[:, ~inside] == 125).all()
    assert (pictures(whole_features(view))[:, inside] == 200).all()


def test_without_lungs_every_cell_but_theirs_is_seen() -> None:
    seen = Shown(bright_lungs()).outside[:, 0]
    # Lungs are cells 4 to 11; the pixel around them that is hidden too leaves half of cells 3, 12.
    lungs = np.zeros((16, 16), bool)
    lungs[4:12, 4:12] = True
    assert (seen[:, lungs] == 0).all()
    assert (seen[:, ~lungs] == 100).all()


def test_where_any_image_has_lung_every_image_is_hidden() -> None:
    view = bright_lungs()
    masks = np.array(view.lung_masks)
    masks[0, :, :3] = 1  # and a pixel beside: cells 0 and 1
    seen = Shown(replace(view, lung_masks=masks)).outside[:, 0]
    assert (seen[..., :2] == 0).all()
    assert (seen[..., -2:] == 100).all()


def test_the_probes_outside_the_lungs_see_the_same_cells() -> None:
    shown = Shown(view_of(noise()))
    everything, border, marks = (
        PROBES[name].features(shown) for name in ("no_lungs", "border", "marks")
    )
    assert everything.shape == (2 * PATIENTS, 3 * 16 * 16)
    assert set(border.ravel()) < set(everything.ravel())
    assert set(marks.ravel()) < set(everything.ravel())


def test_the_thumbnail_is_a_small_picture_of_everything() -> None:
    seen = pictures(thumbnail_features(bright_lungs()))[0]
    assert seen.shape == (16, 16)
    assert (seen == 100 + 100 * LUNGS[::2, ::2]).all()


def test_the_geometry_probe_sees_where_the_picture_lies_and_nothing_else() -> None:
    view = view_of(noise())
    assert view.boxes is not None
    flat = view.boxes.assign(view_y0=4.0, view_y1=28.0)
    assert geometry_features(replace(view, boxes=flat))[0].tolist() == [0, 4 / 32, 1, 28 / 32]
    wide = flat.assign(view_y0=np.where(is_covid(), 6.0, 4.0))
    assert auroc_of("geometry", replace(view, boxes=wide)).value == pytest.approx(1.0)


def test_where_every_picture_lies_alike_geometry_says_nothing() -> None:
    found = auroc_of("geometry", view_of(noise()))
    # The only shortcuts of this audit, so that Holm adjusts for two.
    assert found == Estimate(0.5, found.low, found.high, p_value=1, p_value_holm=1)
    # No spread over the folds, and no more known than of so many patients.
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high


def test_the_file_probe_finds_a_class_of_larger_files() -> None:
    view = view_of(noise(), file_bytes=np.where(is_covid(), 90_000, 40_000))
    assert auroc_of("file", view).value == pytest.approx(1.0)


def test_no_patient_is_scored_by_a_model_that_saw_him() -> None:
    # A feature that names the patient tells nothing of patients that were not seen.
    patients = np.arange(2 * PATIENTS) // 2
    features = np.eye(PATIENTS)[patients]
    view = view_of(noise())
    scores = probe_probabilities(features, view.targets, folds_of(view))[:, 1]
    assert np.ptp(scores) < 0.2
    assert abs(scores[is_covid()].mean() - scores[~is_covid()].mean()) < 0.02


def test_the_best_shortcut_is_not_looked_for_among_the_references() -> None:
    images = noise()
    images[is_covid(), 12:18, 12:18] = 230  # in the lungs
    images[is_covid(), :3, :3] += 30  # a little at the border
    audit = audit_of(view_of(images), "border", "geometry", "lungs_only")
    inside, border = (
        audit.probes[name].metrics["auroc"].value for name in ("lungs_only", "border")
    )
    assert inside is not None
    assert border is not None
    assert inside > border
    assert audit.probes["lungs_only"].kind == "reference"
    assert audit.best_shortcut == "border"


def test_of_two_classes_each_is_told_from_the_other_alike() -> None:
    images = noise()
    images[is_covid(), :3, :3] += 30
    found = audit_of(view_of(images), "border").probes["border"]
    for of_class in found.by_class.values():
        assert of_class["auroc"][:3] == pytest.approx(found.metrics["auroc"][:3], abs=1e-6)
    assert list(found.by_class) == ["normal", "covid"]


def test_p_values_are_adjusted_over_the_shortcuts_that_cannot_show_the_disease() -> None:
    view, folds = view_of(noise()), folds_of(view_of(noise()))
    shares = np.tile([0.3, 0.7], (2 * PATIENTS, 1))
    plain = {"file": 0.01, "border": 0.04, "no_lungs": 0.03, "thumbnail": 0.001, "whole": 0.001}
    tests = {probe: PValues(p / 2, (p, p)) for probe, p in plain.items()}
    said = dict.fromkeys(plain, shares)
    bootstrap = Bootstrap(draws=200, seed=0)
    audit = build_audit(view, said, tests, folds, [shares, shares], bootstrap).to_json()
    holm = {
        name: found["by_class"]["covid"]["p_value_holm"] for name, found in audit["probes"].items()
    }
    # Three tests: 3 x 0.01, 2 x 0.03, then 0.04, which may not be below the one before it.
    assert holm == {
        **{"file": 0.03, "border": 0.06, "no_lungs": 0.06},
        **{"thumbnail": None, "whole": None},
    }
    overall = {name: found["p_value"] for name, found in audit["probes"].items()}
    assert overall == {probe: p / 2 for probe, p in plain.items()}
    assert audit["probes"]["file"]["p_value_holm"] == 0.015


def test_shortcuts_that_can_show_the_disease_are_probes() -> None:
    assert {PROBES[name].kind for name in SHOWS_DISEASE} == {"shortcut"}


def test_twins_in_two_folds_show_as_a_leakage_gap() -> None:
    images = noise()
    images[1::2] = images[::2]  # both images of a patient are the same
    view = view_of(images)
    labels, ids = (view.manifest[column].to_numpy(str) for column in ("label", "image_id"))
    leaking = [
        leakage_probabilities(view, fold_of)
        for fold_of in (deal_folds(labels, ids, 5, seed=0), folds_of(view))
    ]
    folds = folds_of(view)
    said = {"border": probe_probabilities(whole_features(view), view.targets, folds)}
    tests = {"border": UNTOLD}
    audit = build_audit(view, said, tests, folds, leaking, Bootstrap(draws=200, seed=0))
    gap = audit.to_json()["leakage_gap"]
    assert gap["random"]["auroc"] > 0.6
    assert gap["grouped"]["auroc"] < 0.6
    assert gap["difference"]["auroc"]["low"] > 0
    difference = gap["random"]["auroc"] - gap["grouped"]["auroc"]
    assert gap["difference"]["auroc"]["difference"] == pytest.approx(difference, abs=2e-6)


def test_in_json_every_figure_of_an_audit_has_both_ends() -> None:
    content = audit_of(view_of(noise()), "border", "whole").to_json()
    ends, of_probes = (
        {name + end for name in names for end in ("", "_low", "_high")}
        for names in (("auroc", "balanced_accuracy"), PROBE_FIGURES)
    )
    assert list(content) == [
        *("n", "n_groups", "probes", "best_shortcut", "most_accurate", "leakage_gap")
    ]
    for found in content["probes"].values():
        beside = {"kind", "by_class", "by_pair", "p_value", "p_value_holm"}
        assert set(found) == of_probes | beside
        for of_class in found["by_class"].values():
            assert set(of_class) == {
                *("auroc", "auroc_low", "auroc_high", "p_value", "p_value_holm")
            }
    gap = content["leakage_gap"]
    assert set(gap["random"]) == set(gap["grouped"]) == ends
    assert list(gap["difference"]) == ["auroc", "balanced_accuracy"]
    for difference in gap["difference"].values():
        assert list(difference) == ["difference", "low", "high"]


def test_a_fold_is_called_from_the_threshold_that_the_other_folds_chose() -> None:
    # Two folds of 40 normal and 20 covid patients. In fold 0 covid is at 0.9 and normal at 0.1, so
    # fold 1 is called from 0.9 on: 15 of its 20 covid are, at 0.95, and 4 of its 40 normal, at 0.95
    # too. That is 90 % below, and no lower threshold finds more: the other 5 covid lie lowest. So
    # fold 0 is called from 0.95 on: nobody.
    fold_of = np.repeat([0, 1], 60)
    is_covid = np.tile(np.arange(60) >= 40, 2)
    scores = np.where(is_covid, 0.9, 0.1)
    scores[60:64] = 0.95
    scores[100:115], scores[115:120] = 0.95, 0.05
    view = view_of(noise())
    manifest = view.manifest.assign(
        label=np.where(is_covid, "covid", "normal"), group_id=np.arange(120).astype(str)
    )
    view = replace(view, manifest=manifest)
    shares = np.column_stack((1 - scores, scores))
    leaking = [shares, shares]
    bootstrap = Bootstrap(draws=200, seed=0)
    audit = build_audit(view, {"file": shares}, {"file": UNTOLD}, fold_of, leaking, bootstrap)
    found = audit.probes["file"].metrics
    assert found["sensitivity_specificity_90"].value == pytest.approx((0 + 15 / 20) / 2)
    assert found["specificity_specificity_90"].value == pytest.approx((1 + 36 / 40) / 2)


def test_a_probe_says_something_of_every_image() -> None:
    view = view_of(noise())
    shares = np.tile([0.3, 0.7], (2 * PATIENTS, 1))
    table = tabulate_probe(view, "border", shares)
    assert list(table.columns) == [
        *("image_id", "group_id", "probe", "label", "prediction"),
        *("prob_normal", "prob_covid"),
    ]
    assert table["prediction"].eq("covid").all()
    assert table["image_id"].is_unique
