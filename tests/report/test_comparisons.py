import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from stages.report.comparisons import compare_cases
from stages.report.results import CaseResults, Results

Json = dict[str, Any]


def with_case(results: Results, name: str, **changes: Any) -> Results:
    """The results with some files of one case replaced."""
    changed: CaseResults = replace(results.cases[name], **changes)
    return replace(results, cases={**results.cases, name: changed})


def test_the_difference_is_the_first_case_minus_the_second(results: Results) -> None:
    found = compare_cases(results, "lungs-bce", "full-ce")
    tests = {
        name: case.predictions[case.predictions["split"] == "test"]
        for name, case in results.cases.items()
    }
    aurocs = {n: roc_auc_score(t["label"] == "covid", t["prob_covid"]) for n, t in tests.items()}
    balanced = {n: balanced_accuracy_score(t["label"], t["prediction"]) for n, t in tests.items()}
    for metric, values in (("auroc", aurocs), ("balanced_accuracy", balanced)):
        expected = values["lungs-bce"] - values["full-ce"]
        assert found["test"][metric]["difference"] == pytest.approx(expected, abs=1e-6)
        assert found["test"][metric]["low"] > 0
    assert (found["first"], found["second"]) == ("lungs-bce", "full-ce")
    assert (found["test"]["n"], found["test"]["n_groups"]) == (60, 30)


def test_the_order_of_the_cases_turns_the_sign(results: Results) -> None:
    one = compare_cases(results, "lungs-bce", "full-ce")["test"]["auroc"]
    other = compare_cases(results, "full-ce", "lungs-bce")["test"]["auroc"]
    assert one["difference"] == pytest.approx(-other["difference"])
    assert one["low"] == pytest.approx(-other["high"])
    assert one["p_value"] == other["p_value"]


def test_a_case_does_not_differ_from_itself(results: Results) -> None:
    found = compare_cases(results, "full-ce", "full-ce")
    assert found["test"]["auroc"] == {"difference": 0, "low": 0, "high": 0, "p_value": 1}
    assert found["maps"]["gradcam"]["difference"] == 0


def test_the_order_of_the_rows_in_the_files_plays_no_part(results: Results) -> None:
    shuffled = results.cases["full-ce"].predictions.sample(frac=1, random_state=0)
    assert compare_cases(
        with_case(results, "full-ce", predictions=shuffled), "lungs-bce", "full-ce"
    ) == compare_cases(results, "lungs-bce", "full-ce")


def test_only_test_images_are_compared(results: Results) -> None:
    predictions = results.cases["full-ce"].predictions.copy()
    predictions.loc[predictions["split"] != "test", ["prob_normal", "prob_covid"]] = [1.0, 0.0]
    changed = with_case(results, "full-ce", predictions=predictions)
    pair = ("lungs-bce", "full-ce")
    assert compare_cases(changed, *pair) == compare_cases(results, *pair)


def test_subgroups_are_compared_on_their_own_images(results: Results) -> None:
    subgroups = compare_cases(results, "lungs-bce", "full-ce")["subgroups"]
    # Every third of 30 patients has a marker; two images each.
    assert {name: (s["n"], s["n_groups"]) for name, s in subgroups.items()} == {
        "marker": (20, 10),
        "no-marker": (40, 20),
    }


def test_images_without_a_stratum_give_no_subgroup(results: Results) -> None:
    for name, case in results.cases.items():
        results = with_case(results, name, predictions=case.predictions.assign(subgroup=""))
    assert compare_cases(results, "lungs-bce", "full-ce")["subgroups"] == {}


def test_maps_are_compared_by_their_mean_share_in_the_lungs(results: Results) -> None:
    found = compare_cases(results, "lungs-bce", "full-ce")["maps"]
    assert set(found) == {"gradcam", "eigencam"}
    # The fixture's shares are 0.3 + number / 100 for full-ce, and 0.45 more for lungs-bce.
    assert found["gradcam"] == {
        "n": 6,
        "in_lungs_first": 0.775,
        "in_lungs_second": 0.325,
        "lungs_area_first": 0.25,
        "lungs_area_second": 0.25,
        "difference": 0.45,
        "low": pytest.approx(0.45),
        "high": pytest.approx(0.45),
    }


def maps_of(case: CaseResults, in_lungs: list[float | None]) -> Json:
    """The case's maps with other shares."""
    images = [
        image | {"gradcam": {"in_lungs": share, "lungs_area": 0.25}}
        for image, share in zip(case.cam["images"], in_lungs, strict=True)
    ]
    return {"images": images}


@pytest.mark.parametrize(
    ("in_lungs", "n"),
    [([None] * 6, 0), ([0.5, 0.6, None, None, None, None], 2)],  # no image; two of one patient
)
def test_empty_maps_leave_nothing_to_compare(
    results: Results, in_lungs: list[float | None], n: int
) -> None:
    cam = maps_of(results.cases["full-ce"], in_lungs)
    changed = with_case(results, "full-ce", cam=cam)
    found = compare_cases(changed, "lungs-bce", "full-ce")["maps"]["gradcam"]
    assert found["n"] == n
    assert (found["low"], found["high"]) == (None, None)
    json.dumps(found, allow_nan=False)


def test_a_map_that_one_case_lacks_is_left_out_for_both(results: Results) -> None:
    cam = maps_of(results.cases["full-ce"], [0.3, None, 0.32, 0.33, 0.34, 0.35])
    changed = with_case(results, "full-ce", cam=cam)
    found = compare_cases(changed, "lungs-bce", "full-ce")["maps"]["gradcam"]
    assert found["n"] == 5
    expected = np.mean([0.75, 0.77, 0.78, 0.79, 0.8])
    assert found["in_lungs_first"] == pytest.approx(expected)
