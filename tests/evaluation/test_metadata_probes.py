"""Planted columns are found by the probes that see them, and others are not."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stages.config.params import ColumnKind
from stages.dataset.image_set import ImageSet
from stages.dataset.metadata import Column, Metadata
from stages.dataset.split import deal_folds
from stages.evaluation.audit_report import Audit, build_audit
from stages.evaluation.metadata_probes import (
    ALL_COLUMNS,
    MAJORITY,
    WITH_FILE,
    column_probe,
    kind_of,
    majority_probabilities,
    metadata_p_values,
    metadata_probabilities,
    nothing_told,
)
from stages.evaluation.statistics.permutation import Permutations
from stages.evaluation.statistics.records import Bootstrap, Estimate
from tests.dataset.sample import info_of

CLASSES = ["normal", "pneumonia", "covid"]
PATIENTS = 120
IMAGES = 2 * PATIENTS


def view_of(classes: list[str] = CLASSES) -> ImageSet:
    """Two images of a patient, patients of the classes by turns; nothing in the file tells."""
    patients = np.arange(IMAGES) // 2
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(IMAGES)],
            "label": np.array(classes)[patients % len(classes)],
            "group_id": [f"g{patient}" for patient in patients],
            **{"width": 512, "height": 400, "mode": "L", "format": "PNG", "file_bytes": 40_000},
        }
    )
    info = info_of(class_names=classes, positive=classes[-1])
    nothing = np.zeros((IMAGES, 32, 32), np.uint8)
    return ImageSet(info, manifest, nothing, None, nothing, None)


VIEW = view_of()
TARGETS = VIEW.targets
RNG = np.random.default_rng(7)
NOISE = RNG.normal(size=IMAGES)


def metadata_of(view: ImageSet, columns: Mapping[str, NDArray[np.generic]]) -> Metadata:
    def kind(values: NDArray[np.generic]) -> ColumnKind:
        return "number" if values.dtype.kind == "f" else "category"

    table = pd.DataFrame({"image_id": view.manifest["image_id"], **columns})
    return Metadata({name: Column(kind(v), 0, []) for name, v in columns.items()}, table)


def folds_of(view: ImageSet) -> NDArray[np.int64]:
    labels, groups = (view.manifest[column].to_numpy(str) for column in ("label", "group_id"))
    return deal_folds(labels, groups, 5, seed=0)


def said_of(
    view: ImageSet = VIEW, **columns: NDArray[np.generic]
) -> dict[str, NDArray[np.float64]]:
    return metadata_probabilities(view, metadata_of(view, columns), folds_of(view))


def audit_of(view: ImageSet = VIEW, **columns: NDArray[np.generic]) -> Audit:
    folds, said = folds_of(view), said_of(view, **columns)
    said[MAJORITY] = majority_probabilities(view.targets, folds)
    leaking = [said[MAJORITY]] * 2
    tests = metadata_p_values(view, metadata_of(view, columns), folds, Permutations(99, 0))
    tests[MAJORITY] = nothing_told(view.info.class_names)
    return build_audit(view, said, tests, folds, leaking, Bootstrap(draws=100, seed=0))


def low(estimate: Estimate) -> float:
    assert estimate.low is not None
    return estimate.low


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def test_a_column_that_gives_the_class_away_is_found_and_an_independent_one_is_not() -> None:
    ages = 50 + 10 * (TARGETS == 2) + 3 * NOISE
    site = np.where(RNG.random(IMAGES) < 0.5, "a", "b")
    audit = audit_of(age=ages, site=site)
    assert low(audit.probes[column_probe("age")].by_class["covid"]["auroc"]) > 0.9
    assert audit.probes[column_probe("age")].by_class["covid"]["auroc"].p_value == 0.01
    chance = audit.probes[column_probe("site")].metrics["auroc"]
    assert chance.p_value is not None
    assert chance.p_value > 0.05
    assert low(chance) <= 0.5 <= (chance.high or 0)
    for probe in (ALL_COLUMNS, WITH_FILE):
        assert low(audit.probes[probe].by_class["covid"]["auroc"]) > 0.9
    assert audit.best_shortcut in (column_probe("age"), ALL_COLUMNS, WITH_FILE)


def test_each_pair_of_three_classes_is_told_apart_on_its_own_images() -> None:
    # Only covid is told from the others.
    sex = np.where(TARGETS == 2, "F", "M")
    found = audit_of(sex=sex).probes[ALL_COLUMNS]
    assert list(found.by_pair) == ["normal v pneumonia", "normal v covid", "pneumonia v covid"]
    assert [value(found.by_pair[pair]["auroc"]) for pair in found.by_pair] == [0.5, 1.0, 1.0]
    assert value(found.metrics["accuracy"]) == pytest.approx(2 / 3, abs=0.02)


def test_the_figure_of_a_pair_is_that_of_scikit_learn_on_the_shares_of_the_two() -> None:
    ages = 50 + 2.0 * TARGETS + 3 * NOISE
    said, folds = said_of(age=ages)[ALL_COLUMNS], folds_of(VIEW)
    by_fold = []
    for fold in range(5):
        rows = (folds == fold) & (TARGETS != 0)
        share = said[rows, 2] / (said[rows, 1] + said[rows, 2])
        by_fold.append(roc_auc_score(TARGETS[rows] == 2, share))
    found = audit_of(age=ages).probes[ALL_COLUMNS].by_pair["pneumonia v covid"]["auroc"]
    assert value(found) == pytest.approx(np.mean(by_fold), abs=1e-6)


def test_of_two_classes_there_is_one_pair_which_is_the_task() -> None:
    view = view_of(["normal", "covid"])
    found = audit_of(view, age=view.targets + NOISE).probes[ALL_COLUMNS]
    assert found.by_pair["normal v covid"]["auroc"][:3] == found.metrics["auroc"][:3]


def test_a_risk_that_rises_and_falls_again_is_found() -> None:
    view = view_of(["normal", "covid"])
    ages = np.where(view.targets == 1, 50 + 2 * NOISE, 50 + 20 * np.sign(NOISE) + NOISE)
    assert low(audit_of(view, age=ages).probes[ALL_COLUMNS].metrics["auroc"]) > 0.9


@pytest.mark.parametrize("kind", ["number", "category"])
def test_that_a_value_is_missing_tells_too(kind: str) -> None:
    known = NOISE if kind == "number" else np.where(NOISE > 0, "F", "M")
    missing = np.nan if kind == "number" else ""
    column = np.where(TARGETS == 2, missing, known)
    found = audit_of(x=column).probes[ALL_COLUMNS]
    assert value(found.by_class["covid"]["auroc"]) == 1.0


def test_values_missing_at_random_neither_stop_a_probe_nor_tell() -> None:
    gaps = RNG.random(IMAGES) < 0.3
    found = audit_of(age=np.where(gaps, np.nan, NOISE)).probes[ALL_COLUMNS].metrics["auroc"]
    assert low(found) <= 0.5 <= (found.high or 0)


def test_columns_that_say_nothing_at_all_are_at_chance() -> None:
    audit = audit_of(empty=np.full(IMAGES, np.nan), one=np.full(IMAGES, "x"), same=np.ones(IMAGES))
    for column in ("empty", "one", "same"):
        assert value(audit.probes[column_probe(column)].metrics["auroc"]) == 0.5


def test_a_category_of_one_image_and_one_of_every_patient_are_no_obstacle() -> None:
    rare = np.where(np.arange(IMAGES) == 3, "once", "often")
    name = np.array([f"p{number // 2}" for number in range(IMAGES)])
    audit = audit_of(rare=rare, name=name)
    found = audit.probes[column_probe("name")].metrics["auroc"]
    # No patient is in two folds, so his name says nothing.
    assert low(found) <= 0.5 <= (found.high or 0)
    assert value(audit.probes[column_probe("rare")].metrics["auroc"]) == pytest.approx(0.5, abs=0.1)


def test_two_columns_may_be_called_as_those_of_the_file_are() -> None:
    said = said_of(**{"0": NOISE, "1": NOISE})
    assert said[WITH_FILE].shape == (IMAGES, 3)
    np.testing.assert_allclose(said[WITH_FILE].sum(axis=1), 1)


def test_no_image_is_scored_by_a_model_that_saw_its_fold() -> None:
    # Another label of the images of fold 0 changes what is said of the others, never of these.
    folds = folds_of(VIEW)
    manifest = VIEW.manifest.assign(
        label=VIEW.manifest["label"].where(folds != 0, "normal"),
    )
    other = replace(VIEW, manifest=manifest)
    metadata = metadata_of(VIEW, {"age": TARGETS + NOISE})
    first, second = (
        metadata_probabilities(view, metadata, folds)[ALL_COLUMNS] for view in (VIEW, other)
    )
    np.testing.assert_array_equal(first[folds == 0], second[folds == 0])
    assert np.abs(first[folds != 0] - second[folds != 0]).max() > 0.01


def test_without_columns_there_is_no_probe() -> None:
    assert said_of() == {}


def test_the_baseline_is_the_commonest_class_of_the_other_folds() -> None:
    # Fold 0: three of class 0; fold 1: one of class 0, two of class 1.
    said = majority_probabilities(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1]))
    assert said[0] == pytest.approx([1 / 3, 2 / 3])
    assert said[5] == pytest.approx([1, 0])


def test_where_nothing_tells_the_baseline_is_the_most_accurate_but_no_shortcut() -> None:
    manifest = VIEW.manifest.assign(
        label=np.where(np.arange(IMAGES) // 2 % 10 == 0, "covid", "normal")
    )
    rare = replace(view_of(["normal", "covid"]), manifest=manifest)
    audit = audit_of(rare, age=NOISE)
    baseline = audit.probes[MAJORITY]
    assert value(baseline.metrics["accuracy"]) == pytest.approx(0.9, abs=0.01)
    assert baseline.kind == "baseline"
    assert value(audit.probes[audit.most_accurate].metrics["accuracy"]) >= 0.9 - 0.01
    assert audit.best_shortcut != MAJORITY


def test_the_kinds_of_probes() -> None:
    probes = ("file", "whole", MAJORITY, ALL_COLUMNS, column_probe("age"))
    kinds = ["shortcut", "reference", "baseline", "shortcut", "shortcut"]
    assert [kind_of(probe) for probe in probes] == kinds
