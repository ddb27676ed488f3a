import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from stages.config.errors import UserError
from stages.config.params import Focal
from stages.evaluation.comparisons import compare_all_cases, compare_cases, find_differences
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.paired_tests import adjust_holm, delong_test, mcnemar_test
from stages.reporting.results import CaseResults, Results

Json = dict[str, Any]


def with_case(results: Results, name: str, **changes: Any) -> Results:
    """The results with some files of one case replaced."""
    changed: CaseResults = replace(results.cases[name], **changes)
    return replace(results, cases={**results.cases, name: changed})


def with_comparisons(results: Results, **pairs: list[str]) -> Results:
    """The results of params.yaml with other comparisons."""
    params = results.params.model_copy(update={"comparisons": pairs})
    return replace(results, params=params)


def test_the_difference_is_the_first_case_minus_the_second(results: Results) -> None:
    found = compare_cases(results, "lungs-bce", "full-ce")
    tests = {
        name: results.cases[name].predictions.query("split == 'test'")
        for name in ("lungs-bce", "full-ce")
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
    auroc = found["test"]["auroc"]
    assert [auroc[k] for k in ("difference", "low", "high", "p_value")] == [0, 0, 0, 1]
    assert found["differs"] == {}
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


def test_each_case_comes_with_its_own_figures(results: Results) -> None:
    found = compare_cases(results, "lungs-bce", "full-ce")["test"]
    for metric in HEADLINE_METRICS:
        figures = found[metric]
        difference = figures["first"] - figures["second"]
        assert figures["difference"] == pytest.approx(difference, abs=2e-6)
        for side in ("first", "second"):
            assert figures[f"{side}_low"] <= figures[side] <= figures[f"{side}_high"]
    # In the fixture, lungs-bce is always right.
    assert found["auroc"]["first"] == 1


def test_images_that_one_case_alone_is_tested_on_are_left_out_and_counted(results: Results) -> None:
    # Folds test all 64 images; the single run tests 60 of them.
    found = compare_cases(results, "lungs-folds", "full-ce")["test"]
    counts = {key: value for key, value in found.items() if key.startswith("n")}
    assert counts == {
        "n": 60,
        "n_groups": 30,
        "n_rows_first": 60,
        "n_rows_second": 60,
        "n_only_first": 4,
        "n_only_second": 0,
    }
    turned = compare_cases(results, "full-ce", "lungs-folds")["test"]
    assert (turned["n_only_first"], turned["n_only_second"]) == (0, 4)


def test_a_case_has_the_figures_of_the_shared_images_not_of_all(results: Results) -> None:
    folds = results.cases["lungs-folds"].predictions.copy()
    alone = folds["image_id"].str.contains("-")
    folds.loc[alone, "prediction"] = np.where(folds[alone]["label"] == "covid", "normal", "covid")
    changed = with_case(results, "lungs-folds", predictions=folds)
    found = compare_cases(changed, "lungs-folds", "full-ce")["test"]
    shared = folds[(folds["split"] == "test") & ~alone]
    expected = balanced_accuracy_score(shared["label"], shared["prediction"])
    assert found["balanced_accuracy"]["first"] == pytest.approx(expected, abs=1e-6)


def test_all_rows_of_an_image_are_compared(results: Results) -> None:
    """Two trainings: one always right, one always wrong; half of the rows are right."""
    right = results.cases["lungs-bce"].predictions.assign(prediction=lambda t: t["label"])
    wrong = right.assign(
        seed="2", prediction=np.where(right["label"] == "covid", "normal", "covid")
    )
    both = pd.concat([right, wrong], ignore_index=True)
    changed = with_case(results, "lungs-bce", predictions=both)
    found = compare_cases(changed, "lungs-bce", "full-ce")["test"]
    assert (found["n"], found["n_rows_first"], found["n_rows_second"]) == (60, 120, 60)
    assert found["accuracy"]["first"] == 0.5
    assert found["accuracy"]["first_low"] == 0.5  # drawn with its image, both rows or none


def test_rows_averaged_over_runs_need_no_fold(results: Results) -> None:
    averaged = results.cases["lungs-bce"].predictions.assign(fold="", seed="")
    changed = with_case(results, "lungs-bce", predictions=averaged)
    pair = ("lungs-bce", "full-ce")
    assert compare_cases(changed, *pair) == compare_cases(results, *pair)


def test_cases_without_a_common_test_image_are_refused(results: Results) -> None:
    elsewhere = results.cases["full-ce"].predictions
    elsewhere = elsewhere.assign(image_id="x" + elsewhere["image_id"])
    changed = with_case(results, "full-ce", predictions=elsewhere)
    with pytest.raises(UserError, match="lungs-bce and full-ce have no test image in common"):
        compare_cases(changed, "lungs-bce", "full-ce")


def test_what_cannot_be_compared_says_why(results: Results) -> None:
    for name in ("lungs-bce", "full-ce"):
        table = results.cases[name].predictions
        marked = np.where(table["label"] == "covid", "ill", "well")
        results = with_case(results, name, predictions=table.assign(subgroup=marked))
    auroc = compare_cases(results, "lungs-bce", "full-ce")["subgroups"]["ill"]["auroc"]
    assert (auroc["difference"], auroc["low"], auroc["p_value"]) == (None, None, None)
    assert auroc["undefined"] == "needs an image of every class (normal, covid) for both models"


def test_settings_that_differ_are_listed_with_both_values(results: Results) -> None:
    assert find_differences(results.params, "lungs-bce", "full-ce") == {
        "view": ["lungs", "full"],
        "loss": [
            {"name": "bce", "label_smoothing": 0.0},
            {"name": "ce", "label_smoothing": 0.0},
        ],
        "view.crop": [
            {"mode": "lungs", "margin": 0.05, "fallback_fraction": 0.8},
            {"mode": "none"},
        ],
    }


def test_seeds_and_ensembles_count_as_settings(results: Results) -> None:
    case = results.params.case("full-ce")
    focal = Focal(name="focal", gamma=2.0, alpha=None)
    other = case.model_copy(update={"seeds": [1, 2], "ensemble": True, "loss": focal})
    cases = {"full-ce": case, "other": other}
    differs = find_differences(
        results.params.model_copy(update={"cases": cases}), "full-ce", "other"
    )
    assert list(differs) == ["loss", "seeds", "ensemble"]
    assert (differs["seeds"], differs["ensemble"]) == ([[1], [1, 2]], [False, True])
    json.dumps(differs, allow_nan=False)


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


def test_only_drawn_maps_are_compared(results: Results) -> None:
    images = results.cases["full-ce"].cam["images"]
    selected = [["drawn", "error"], *[["drawn"]] * 3, ["error"], ["uncertain"]]
    chosen = [image | {"selected_as": how} for image, how in zip(images, selected, strict=True)]
    changed = with_case(results, "full-ce", cam={"images": chosen})
    found = compare_cases(changed, "lungs-bce", "full-ce")["maps"]["gradcam"]
    assert found["n"] == 4
    assert found["in_lungs_second"] == pytest.approx(np.mean([0.3, 0.31, 0.32, 0.33]))


def test_the_paired_tests_are_on_the_shared_images(results: Results) -> None:
    """lungs-folds tests four images that full-ce does not."""
    found = compare_cases(results, "lungs-folds", "full-ce")
    first, second = (
        results.cases[name].predictions.query("split == 'test'").set_index("image_id")
        for name in ("lungs-folds", "full-ce")
    )
    first = first.loc[second.index]
    groups = second["group_id"]
    auroc = delong_test(
        second["label"] == "covid", first["prob_covid"], second["prob_covid"], groups
    )
    right = [(side["prediction"] == side["label"]).to_numpy() for side in (first, second)]
    accuracy = mcnemar_test(*right, groups)
    assert found["delong"] == {
        "positive": "covid",
        "difference": pytest.approx(auroc.difference, rel=1e-5),
        "low": pytest.approx(auroc.low, rel=1e-5),
        "high": pytest.approx(auroc.high, rel=1e-5),
        "p_value": pytest.approx(auroc.p_value, rel=1e-5),
        "undefined": None,
    }
    assert found["mcnemar"] == {
        "n_only_first": accuracy.n_only_first,
        "n_only_second": accuracy.n_only_second,
        "p_value": pytest.approx(accuracy.p_value, rel=1e-5),
        "undefined": None,
    }
    assert found["mcnemar"]["n_only_first"] > found["mcnemar"]["n_only_second"]


def test_delong_is_of_the_positive_class_where_there_are_three(results: Results) -> None:
    """Turning normal into pneumonia and back leaves covid against the rest as it was."""
    table = results.cases["labels-bce"].predictions
    columns = {"prob_normal": "prob_pneumonia", "prob_pneumonia": "prob_normal"}
    turned = with_case(results, "labels-bce", predictions=table.rename(columns=columns))
    both = replace(turned, cases={**turned.cases, "full-ce": results.cases["labels-bce"]})
    delong = compare_cases(both, "labels-bce", "full-ce")["delong"]
    assert (delong["positive"], delong["difference"], delong["p_value"]) == ("covid", 0.0, 1.0)
    assert delong["undefined"] == "the variance of the difference is 0"


def test_several_rows_of_an_image_leave_no_paired_test(results: Results) -> None:
    one = results.cases["lungs-bce"].predictions
    both = pd.concat([one, one.assign(seed="2")], ignore_index=True)
    changed = with_case(results, "lungs-bce", predictions=both)
    found = compare_all_cases(with_comparisons(changed, crop=["lungs-bce", "full-ce"]))["crop"]
    reason = "an image has up to 2 rows; `ensemble: true` gives one row per image"
    nothing = {"p_value": None, "p_value_holm": None, "undefined": reason}
    ends = dict.fromkeys(("difference", "low", "high"))
    assert found["delong"] == {"positive": "covid"} | ends | nothing
    assert found["mcnemar"] == {"n_only_first": None, "n_only_second": None} | nothing
    assert found["test"]["auroc"]["p_value_holm"] is not None


def test_p_values_are_adjusted_over_all_comparisons(results: Results) -> None:
    """Each metric, and each of the two tests, is a family of its own."""
    pairs = {
        "crop": ["lungs-bce", "full-ce"],
        "folds": ["lungs-folds", "full-ce"],
        "same": ["full-ce", "full-ce"],
        "labels": ["labels-bce", "labels-bce"],
    }
    found = compare_all_cases(with_comparisons(results, **pairs))
    assert list(found) == list(pairs)
    families = [
        {name: f["test"][metric] for name, f in found.items()} for metric in HEADLINE_METRICS
    ]
    families += [{name: f[test] for name, f in found.items()} for test in ("delong", "mcnemar")]
    for family in families:
        expected = adjust_holm({name: test["p_value"] for name, test in family.items()})
        assert {name: test["p_value_holm"] for name, test in family.items()} == {
            name: pytest.approx(p_value, rel=1e-5) for name, p_value in expected.items()
        }
    auroc = found["crop"]["test"]["auroc"]
    assert auroc["p_value_holm"] == pytest.approx(4 * auroc["p_value"])
    json.dumps(found, allow_nan=False)


def test_strata_are_not_adjusted(results: Results) -> None:
    found = compare_all_cases(with_comparisons(results, crop=["lungs-bce", "full-ce"]))["crop"]
    assert "p_value_holm" not in found["subgroups"]["marker"]["auroc"]


def test_a_single_comparison_is_its_own_family(results: Results) -> None:
    found = compare_all_cases(with_comparisons(results, crop=["lungs-bce", "full-ce"]))["crop"]
    for test in (found["test"]["auroc"], found["delong"], found["mcnemar"]):
        assert test["p_value_holm"] == pytest.approx(test["p_value"])


def test_nothing_named_is_nothing_compared(results: Results) -> None:
    assert compare_all_cases(with_comparisons(results)) == {}


def test_a_tiny_p_value_is_not_rounded_to_zero(results: Results) -> None:
    p_value = compare_cases(results, "lungs-bce", "full-ce")["delong"]["p_value"]
    assert 0 < p_value < 5e-7
