import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from stages.config.errors import UserError
from stages.config.params import Focal
from stages.evaluation import shared_draws
from stages.evaluation.comparisons import (
    Comparison,
    compare_all_cases,
    compare_cases,
    find_differences,
)
from stages.evaluation.headlines import build_headlines
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.outcomes import Outcomes
from stages.evaluation.scored import draw_metrics
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.paired_tests import (
    AccuracyTest,
    adjust_holm,
    delong_test,
    mcnemar_test,
)
from stages.evaluation.statistics.records import Bootstrap, Estimate

BOOTSTRAP = Bootstrap(draws=200, seed=42)


def with_case(outcomes: Outcomes, name: str, **changes: Any) -> Outcomes:
    """The outcomes with something of one case replaced."""
    changed = replace(outcomes.cases[name], **changes)
    return replace(outcomes, cases={**outcomes.cases, name: changed})


def with_comparisons(outcomes: Outcomes, **pairs: list[str]) -> Outcomes:
    """The outcomes under a params.yaml with other comparisons."""
    return replace(outcomes, params=outcomes.params.model_copy(update={"comparisons": pairs}))


def compared(outcomes: Outcomes, first: str, second: str) -> Comparison:
    return compare_cases(outcomes, first, second, SharedDraws(BOOTSTRAP))


def all_compared(outcomes: Outcomes, **pairs: list[str]) -> dict[str, Comparison]:
    return compare_all_cases(with_comparisons(outcomes, **pairs), SharedDraws(BOOTSTRAP))


def test_the_difference_is_the_first_case_minus_the_second(outcomes: Outcomes) -> None:
    found = compared(outcomes, "lungs-bce", "full-ce")
    tests = {name: outcomes.cases[name].test for name in ("lungs-bce", "full-ce")}
    aurocs = {n: roc_auc_score(t["label"] == "covid", t["prob_covid"]) for n, t in tests.items()}
    balanced = {n: balanced_accuracy_score(t["label"], t["prediction"]) for n, t in tests.items()}
    for metric, values in (("auroc", aurocs), ("balanced_accuracy", balanced)):
        expected = values["lungs-bce"] - values["full-ce"]
        difference = found.test.metrics[metric].difference
        assert difference.value == pytest.approx(expected, abs=1e-6)
        assert difference.low is not None
        assert difference.low > 0
    assert (found.first, found.second) == ("lungs-bce", "full-ce")
    assert (found.test.counts["n"], found.test.counts["n_groups"]) == (60, 30)


def test_the_order_of_the_cases_turns_the_sign(outcomes: Outcomes) -> None:
    one = compared(outcomes, "lungs-bce", "full-ce").test.metrics["auroc"]
    other = compared(outcomes, "full-ce", "lungs-bce").test.metrics["auroc"]
    assert (one.first, one.second) == (other.second, other.first)
    value, low, high, _, p_value = other.difference[:5]
    assert value is not None
    assert low is not None
    assert high is not None
    assert one.difference[:3] == pytest.approx((-value, -high, -low))
    assert one.difference.p_value == p_value


def test_a_case_does_not_differ_from_itself(outcomes: Outcomes) -> None:
    found = compared(outcomes, "full-ce", "full-ce")
    difference = found.test.metrics["auroc"].difference
    assert (difference.value, difference.p_value, difference.excludes_zero) == (0.0, 1.0, False)
    assert found.differs == {}
    assert found.maps["gradcam"].difference.value == 0


def test_the_order_of_the_rows_in_the_files_plays_no_part(outcomes: Outcomes) -> None:
    shuffled = outcomes.cases["full-ce"].test.sample(frac=1, random_state=0)
    assert compared(
        with_case(outcomes, "full-ce", test=shuffled), "lungs-bce", "full-ce"
    ) == compared(outcomes, "lungs-bce", "full-ce")


def test_subgroups_are_compared_on_their_own_images(outcomes: Outcomes) -> None:
    subgroups = compared(outcomes, "lungs-bce", "full-ce").subgroups
    # Every third of 30 patients has a marker; two images each.
    counts = {name: found.counts for name, found in subgroups.items()}
    assert {name: (of["n"], of["n_groups"]) for name, of in counts.items()} == {
        "marker": (20, 10),
        "no-marker": (40, 20),
    }


def test_images_without_a_stratum_give_no_subgroup(outcomes: Outcomes) -> None:
    for name, case in outcomes.cases.items():
        outcomes = with_case(outcomes, name, test=case.test.assign(subgroup=""))
    assert compared(outcomes, "lungs-bce", "full-ce").subgroups == {}


def test_maps_are_compared_by_their_mean_share_in_the_lungs(outcomes: Outcomes) -> None:
    found = compared(outcomes, "lungs-bce", "full-ce").to_json()["maps"]
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


def test_each_case_comes_with_its_own_figures(outcomes: Outcomes) -> None:
    found = compared(outcomes, "lungs-bce", "full-ce").to_json()["test"]
    for metric in HEADLINE_METRICS:
        figures = found[metric]
        difference = figures["first"] - figures["second"]
        assert figures["difference"] == pytest.approx(difference, abs=2e-6)
        for side in ("first", "second"):
            assert figures[f"{side}_low"] <= figures[side] <= figures[f"{side}_high"]
    # In the fixture, lungs-bce is always right.
    assert found["auroc"]["first"] == 1


def test_images_that_one_case_alone_is_tested_on_are_left_out_and_counted(
    outcomes: Outcomes,
) -> None:
    # Folds test all 64 images; the single run tests 60 of them.
    assert compared(outcomes, "lungs-folds", "full-ce").test.counts == {
        "n": 60,
        "n_groups": 30,
        "n_rows_first": 60,
        "n_rows_second": 60,
        "n_only_first": 4,
        "n_only_second": 0,
    }
    turned = compared(outcomes, "full-ce", "lungs-folds").test.counts
    assert (turned["n_only_first"], turned["n_only_second"]) == (0, 4)


def test_a_case_has_the_figures_of_the_shared_images_not_of_all(outcomes: Outcomes) -> None:
    folds = outcomes.cases["lungs-folds"].test.copy()
    alone = folds["image_id"].str.contains("-")
    folds.loc[alone, "prediction"] = np.where(folds[alone]["label"] == "covid", "normal", "covid")
    changed = with_case(outcomes, "lungs-folds", test=folds)
    found = compared(changed, "lungs-folds", "full-ce").test.metrics["balanced_accuracy"]
    shared = folds[~alone]
    expected = balanced_accuracy_score(shared["label"], shared["prediction"])
    assert found.first.value == pytest.approx(expected, abs=1e-6)


def test_all_rows_of_an_image_are_compared(outcomes: Outcomes) -> None:
    """Two trainings: one always right, one always wrong; half of the rows are right."""
    right = outcomes.cases["lungs-bce"].test.assign(prediction=lambda t: t["label"])
    wrong = right.assign(
        seed="2", prediction=np.where(right["label"] == "covid", "normal", "covid")
    )
    both = pd.concat([right, wrong], ignore_index=True)
    changed = with_case(outcomes, "lungs-bce", test=both)
    counts, metrics = compared(changed, "lungs-bce", "full-ce").test
    assert (counts["n"], counts["n_rows_first"], counts["n_rows_second"]) == (60, 120, 60)
    assert metrics["accuracy"].first.value == 0.5
    alone = compared(outcomes, "full-ce", "lungs-bce").test.metrics["accuracy"].first
    assert metrics["accuracy"].first.has_interval
    assert alone.has_interval


def test_rows_averaged_over_runs_need_no_fold(outcomes: Outcomes) -> None:
    averaged = outcomes.cases["lungs-bce"].test.assign(fold="", seed="")
    changed = with_case(outcomes, "lungs-bce", test=averaged)
    pair = ("lungs-bce", "full-ce")
    assert compared(changed, *pair) == compared(outcomes, *pair)


def test_cases_without_a_common_test_image_are_refused(outcomes: Outcomes) -> None:
    elsewhere = outcomes.cases["full-ce"].test
    elsewhere = elsewhere.assign(image_id="x" + elsewhere["image_id"])
    changed = with_case(outcomes, "full-ce", test=elsewhere)
    with pytest.raises(UserError, match="lungs-bce and full-ce have no test image in common"):
        compared(changed, "lungs-bce", "full-ce")


def test_what_cannot_be_compared_says_why(outcomes: Outcomes) -> None:
    for name in ("lungs-bce", "full-ce"):
        table = outcomes.cases[name].test
        marked = np.where(table["label"] == "covid", "ill", "well")
        outcomes = with_case(outcomes, name, test=table.assign(subgroup=marked))
    auroc = compared(outcomes, "lungs-bce", "full-ce").subgroups["ill"].metrics["auroc"]
    reason = "needs an image of every class (normal, covid) for both models"
    assert auroc.difference == Estimate(None, why_undefined=reason)


def test_settings_that_differ_are_listed_with_both_values(outcomes: Outcomes) -> None:
    assert find_differences(outcomes.params, "lungs-bce", "full-ce") == {
        "view": ["lungs", "full"],
        "loss": [
            {"kind": "bce", "label_smoothing": 0.0},
            {"kind": "ce", "label_smoothing": 0.0},
        ],
        "view.crop": [
            {"kind": "lungs", "margin": 0.05, "fallback_fraction": 0.8},
            {"kind": "none"},
        ],
    }


def test_what_a_recipe_and_a_protocol_say_counts_as_settings(outcomes: Outcomes) -> None:
    params, case = outcomes.params, outcomes.params.case("full-ce")
    focal = Focal(kind="focal", gamma=2.0, alpha=None)
    other = case.model_copy(update={"loss": focal, "recipe": "long", "protocol": "twice"})
    long = params.recipe("short").model_copy(update={"epochs": 9})
    twice = params.protocol("once").model_copy(update={"seeds": [1, 2], "ensemble": True})
    changed = params.model_copy(
        update={
            "cases": {"full-ce": case, "other": other},
            "recipes": {**params.recipes, "long": long},
            "protocols": {**params.protocols, "twice": twice},
        }
    )
    differs = find_differences(changed, "full-ce", "other")
    assert list(differs) == ["loss", "epochs", "seeds", "ensemble"]
    assert (differs["seeds"], differs["ensemble"]) == ([[1], [1, 2]], [False, True])
    assert differs["epochs"] == [2, 9]
    json.dumps(differs, allow_nan=False)


def test_a_recipe_of_another_name_that_says_the_same_is_no_difference(outcomes: Outcomes) -> None:
    params, case = outcomes.params, outcomes.params.case("full-ce")
    recipes = {**params.recipes, "again": params.recipe("short")}
    cases = {"full-ce": case, "other": case.model_copy(update={"recipe": "again"})}
    changed = params.model_copy(update={"cases": cases, "recipes": recipes})
    assert find_differences(changed, "full-ce", "other") == {}


def with_maps(outcomes: Outcomes, in_lungs: list[float | None]) -> Outcomes:
    """Other shares of the maps of full-ce."""
    maps = outcomes.cases["full-ce"].maps
    changed = maps["gradcam"].assign(in_lungs=np.array(in_lungs, dtype=float))
    return with_case(outcomes, "full-ce", maps={**maps, "gradcam": changed})


@pytest.mark.parametrize(
    ("in_lungs", "n"),
    [([None] * 6, 0), ([0.5, 0.6, None, None, None, None], 2)],  # no image; two of one patient
)
def test_empty_maps_leave_nothing_to_compare(
    outcomes: Outcomes, in_lungs: list[float | None], n: int
) -> None:
    changed = with_maps(outcomes, in_lungs)
    found = compared(changed, "lungs-bce", "full-ce").to_json()["maps"]["gradcam"]
    assert found["n"] == n
    assert (found["low"], found["high"]) == (None, None)
    json.dumps(found, allow_nan=False)


def test_a_map_that_one_case_lacks_is_left_out_for_both(outcomes: Outcomes) -> None:
    changed = with_maps(outcomes, [0.3, None, 0.32, 0.33, 0.34, 0.35])
    found = compared(changed, "lungs-bce", "full-ce").maps["gradcam"]
    assert found.n == 5
    expected = np.mean([0.75, 0.77, 0.78, 0.79, 0.8])
    assert found.means["in_lungs_first"] == pytest.approx(expected)


def test_the_paired_tests_are_on_the_shared_images(outcomes: Outcomes) -> None:
    """lungs-folds tests four images that full-ce does not."""
    found = compared(outcomes, "lungs-folds", "full-ce")
    first, second = (
        outcomes.cases[name].test.set_index("image_id") for name in ("lungs-folds", "full-ce")
    )
    first = first.loc[second.index]
    groups = second["group_id"]
    auroc = delong_test(
        second["label"] == "covid", first["prob_covid"], second["prob_covid"], groups
    )
    right = [(side["prediction"] == side["label"]).to_numpy() for side in (first, second)]
    accuracy = mcnemar_test(*right, groups)
    content = found.to_json()
    assert content["delong"] == {
        "positive": "covid",
        "difference": pytest.approx(auroc.value, rel=1e-5),
        "low": pytest.approx(auroc.low, rel=1e-5),
        "high": pytest.approx(auroc.high, rel=1e-5),
        "p_value": pytest.approx(auroc.p_value, rel=1e-5),
        "detectable": pytest.approx(auroc.detectable, rel=1e-5),
        "undefined": None,
        "p_value_holm": None,
    }
    assert content["mcnemar"] == {
        "n_only_first": accuracy.n_only_first,
        "n_only_second": accuracy.n_only_second,
        "p_value": pytest.approx(accuracy.p_value, rel=1e-5),
        "undefined": None,
        "p_value_holm": None,
    }
    assert content["mcnemar"]["n_only_first"] > content["mcnemar"]["n_only_second"]


def test_delong_is_of_the_positive_class_where_there_are_three(outcomes: Outcomes) -> None:
    """Turning normal into pneumonia and back leaves covid against the rest as it was."""
    table = outcomes.cases["labels-bce"].test
    columns = {"prob_normal": "prob_pneumonia", "prob_pneumonia": "prob_normal"}
    turned = with_case(outcomes, "labels-bce", test=table.rename(columns=columns))
    both = replace(turned, cases={**turned.cases, "full-ce": outcomes.cases["labels-bce"]})
    found = compared(both, "labels-bce", "full-ce")
    reason = "the variance of the difference is 0"
    assert found.positive == "covid"
    assert found.delong == Estimate(0.0, why_undefined=reason, p_value=1.0)


def test_several_rows_of_an_image_leave_no_paired_test(outcomes: Outcomes) -> None:
    one = outcomes.cases["lungs-bce"].test
    both = pd.concat([one, one.assign(seed="2")], ignore_index=True)
    changed = with_case(outcomes, "lungs-bce", test=both)
    found = all_compared(changed, crop=["lungs-bce", "full-ce"])["crop"]
    reason = "an image has up to 2 rows; `ensemble: true` gives one row per image"
    assert found.delong == Estimate(None, why_undefined=reason)
    assert found.mcnemar == AccuracyTest(None, None, None, reason)
    assert found.test.metrics["auroc"].difference.p_value_holm is not None


def test_p_values_are_adjusted_over_all_comparisons(outcomes: Outcomes) -> None:
    """Each metric, and each of the two tests, is a family of its own."""
    pairs = {
        "crop": ["lungs-bce", "full-ce"],
        "folds": ["lungs-folds", "full-ce"],
        "same": ["full-ce", "full-ce"],
        "labels": ["labels-bce", "labels-bce"],
    }
    found = all_compared(outcomes, **pairs)
    assert list(found) == list(pairs)
    families: list[Mapping[str, Estimate | AccuracyTest]] = [
        {name: f.test.metrics[metric].difference for name, f in found.items()}
        for metric in HEADLINE_METRICS
    ]
    families += [{name: f.delong for name, f in found.items()}]
    families += [{name: f.mcnemar for name, f in found.items()}]
    for family in families:
        expected = adjust_holm({name: test.p_value for name, test in family.items()})
        assert {name: test.p_value_holm for name, test in family.items()} == {
            name: pytest.approx(p_value, rel=1e-5) for name, p_value in expected.items()
        }
    auroc = found["crop"].test.metrics["auroc"].difference
    assert auroc.p_value is not None
    assert auroc.p_value_holm == pytest.approx(4 * auroc.p_value)


def test_strata_are_not_adjusted(outcomes: Outcomes) -> None:
    found = all_compared(outcomes, crop=["lungs-bce", "full-ce"])["crop"]
    content = found.to_json()
    json.dumps(content, allow_nan=False)
    assert "p_value_holm" in content["test"]["auroc"]
    assert "p_value_holm" not in content["subgroups"]["marker"]["auroc"]


def test_a_single_comparison_is_its_own_family(outcomes: Outcomes) -> None:
    found = all_compared(outcomes, crop=["lungs-bce", "full-ce"])["crop"]
    for test in (found.test.metrics["auroc"].difference, found.delong, found.mcnemar):
        assert test.p_value_holm == pytest.approx(test.p_value)


def test_nothing_named_is_nothing_compared(outcomes: Outcomes) -> None:
    assert all_compared(outcomes) == {}


def test_a_tiny_p_value_is_not_rounded_to_zero(outcomes: Outcomes) -> None:
    p_value = compared(outcomes, "lungs-bce", "full-ce").delong.p_value
    assert p_value is not None
    assert 0 < p_value < 5e-7


def test_a_case_is_drawn_once_per_set_of_images(outcomes: Outcomes) -> None:
    """Whatever it is compared with, on these images and on each of the two strata of them."""
    single = {case: outcomes.cases[case] for case in ("full-ce", "lungs-bce")}
    pairs = {"crop": ["lungs-bce", "full-ce"], "turned": ["full-ce", "lungs-bce"]}
    chosen = with_comparisons(replace(outcomes, cases=single), **pairs)
    draws = SharedDraws(BOOTSTRAP)
    probes = {
        (view, best[view].name)
        for best in (outcomes.shortcuts, outcomes.most_accurate)
        for view in {outcomes.params.case(case).view for case in single}
    }
    with mock.patch.object(shared_draws, "draw_metrics", wraps=draw_metrics) as drawn:
        compare_all_cases(chosen, draws)
        assert drawn.call_count == 2 * 3  # cases, by all images and two strata
        build_headlines(chosen, draws)
        assert drawn.call_count == 2 * 3 + len(probes)  # and the best probes of their two views


def test_two_protocols_that_test_every_image_once_are_compared_image_by_image(
    outcomes: Outcomes,
) -> None:
    folds = outcomes.cases["lungs-folds"]
    assert (folds.test["prediction"] == folds.test["label"]).all()
    # Dealt anew: other folds test the images, in another order, and two fewer of them are wrong.
    dealt = folds.test.sample(frac=1, random_state=0).assign(fold="1")
    honest = folds.test.copy()
    honest.iloc[:2, honest.columns.get_loc("prediction")] = ["covid", "covid"]
    assert (honest["label"].iloc[:2] == "normal").all()
    changed = with_case(outcomes, "lungs-folds", test=honest)
    metrics = {**folds.metrics, "optimistic": True}
    changed = with_case(changed, "full-ce", test=dealt, metrics=metrics)
    found = compared(changed, "full-ce", "lungs-folds")
    n = len(folds.test)
    assert (found.test.counts["n"], found.test.counts["n_rows_first"]) == (n, n)
    difference = found.test.metrics["accuracy"].difference
    assert difference.value == pytest.approx(2 / n, abs=1e-6)
    assert difference.has_interval
    assert (found.mcnemar.n_only_first, found.mcnemar.n_only_second) == (2, 0)
    assert found.optimistic == found.to_json()["optimistic"] == ["full-ce"]
