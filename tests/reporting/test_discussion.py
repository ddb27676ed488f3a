import copy
import re
from dataclasses import replace
from typing import Any, get_args

import pytest

from stages.config.params import CamMethod
from stages.evaluation.comparisons import compare_all_cases
from stages.reporting.discussion import (
    DISCUSSED,
    INTRODUCTION,
    METHOD_NAMES,
    OPTIMISTIC,
    build_discussion,
    conclude,
    discuss,
    render_markdown,
)
from stages.reporting.results import Results

Json = dict[str, Any]


def found(difference: float | None, low: float | None, high: float | None) -> Json:
    result = {
        "first": 0.875,
        "first_low": 0.801,
        "first_high": 0.931,
        "second": 0.775,
        "second_low": 0.702,
        "second_high": 0.843,
        "difference": difference,
        "low": low,
        "high": high,
        "p_value": 0.0125,
        "undefined": "needs an image" if low is None else None,
    }
    counts = {"n_rows_first": 90, "n_rows_second": 90, "n_only_first": 0, "n_only_second": 0}
    return {"n": 90, "n_groups": 30} | counts | {"balanced_accuracy": result, "auroc": dict(result)}


def adjusted(plain: Json, p_value: float | None = 0.0375) -> Json:
    """Figures on all test images; those of strata have no adjusted p-value."""
    return plain | {metric: plain[metric] | {"p_value_holm": p_value} for metric in DISCUSSED}


@pytest.fixture
def comparison() -> Json:
    return {
        "first": "crop",
        "second": "full",
        "differs": {"sampler": ["weighted", "none"]},
        "test": adjusted(found(0.1, 0.05, 0.15)),
        "delong": {
            "positive": "covid",
            "difference": 0.102,
            "low": 0.051,
            "high": 0.153,
            "p_value": 0.0141,
            "p_value_holm": 0.0423,
            "undefined": None,
        },
        "mcnemar": {
            "n_only_first": 14,
            "n_only_second": 3,
            "p_value": 0.0076,
            "p_value_holm": 0.0152,
            "undefined": None,
        },
        "subgroups": {},
        "maps": {
            "gradcam": {
                "n": 20,
                "in_lungs_first": 0.61,
                "in_lungs_second": 0.42,
                "lungs_area_first": 0.35,
                "lungs_area_second": 0.25,
                "difference": 0.19,
                "low": 0.02,
                "high": 0.36,
            }
        },
    }


@pytest.fixture
def metrics() -> dict[str, Json]:
    return {"crop": figures_of(0.9, 0.85, 0.95), "full": figures_of(0.8, 0.7, 0.84)}


def figures_of(value: float | None, low: float | None, high: float | None) -> Json:
    figures = {"balanced_accuracy": value, "balanced_accuracy_low": low}
    return figures | {"balanced_accuracy_high": high, "n_runs": 1, "n_test": 90}


def figures_of_runs() -> Json:
    spread = {"balanced_accuracy_run_mean": 0.873, "balanced_accuracy_run_sd": 0.0214}
    return figures_of(0.88, 0.8, 0.9) | {
        "n_runs": 5,
        **spread,
        "auroc_run_mean": 0.911,
        "auroc_run_sd": None,
    }


def test_a_sentence_quotes_the_figures_of_both_cases(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    assert discuss(comparison, metrics)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is 0.875 (95 % interval 0.801 to "
        "0.931) for crop and 0.775 (95 % interval 0.702 to 0.843) for full: a difference of "
        "+0.100 (95 % interval +0.050 to +0.150, p = 0.013, adjusted p = 0.037), settled in favour "
        "of crop."
    )


def test_auroc_is_written_in_capitals(comparison: Json, metrics: dict[str, Json]) -> None:
    assert " AUROC is 0.875 (95 %" in discuss(comparison, metrics)[2]


def test_the_paired_tests_have_a_sentence_each(comparison: Json, metrics: dict[str, Json]) -> None:
    assert discuss(comparison, metrics)[3:5] == [
        "DeLong's test of the AUROC of covid against the rest: a difference of +0.102 (95 % "
        "interval +0.051 to +0.153, p = 0.014, adjusted p = 0.042).",
        "McNemar's test of the accuracy: 14 images are right for crop alone and 3 for full alone "
        "(p = 0.008, adjusted p = 0.015).",
    ]


def test_a_paired_test_that_is_not_made_says_why(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    for test in ("delong", "mcnemar"):
        comparison[test] = dict.fromkeys(comparison[test])
        comparison[test] |= {"positive": "covid", "undefined": "an image has up to 2 rows"}
    assert discuss(comparison, metrics)[3:5] == [
        "DeLong's test of the AUROC of covid against the rest is not made: an image has up to 2 "
        "rows.",
        "McNemar's test of the accuracy is not made: an image has up to 2 rows.",
    ]


def test_a_sentence_on_maps_quotes_shares_and_what_a_constant_map_would_reach(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    assert discuss(comparison, metrics)[5] == (
        "Grad-CAM puts 61% of its weight inside the lungs for crop and 42% for full (difference "
        "+0.19, 95 % interval +0.02 to +0.36, settled as more for crop; 20 images); a constant "
        "map would put 35% and 25% there."
    )


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("test", "auroc", "first"), 0.123, "AUROC is 0.123 (95"),
        (("test", "auroc", "first_low"), 0.124, "0.124 to 0.931) for crop"),
        (("test", "auroc", "first_high"), 0.999, "0.801 to 0.999) for crop"),
        (("test", "auroc", "second"), 0.125, "and 0.125 (95"),
        (("test", "auroc", "second_low"), 0.126, "0.126 to 0.843) for full"),
        (("test", "auroc", "second_high"), 0.998, "0.702 to 0.998) for full"),
        (("test", "auroc", "difference"), -0.321, "a difference of -0.321"),
        (("test", "auroc", "low"), 0.0625, "+0.062 to"),
        (("test", "auroc", "high"), 0.444, "to +0.444"),
        (("test", "auroc", "p_value"), 0.25, "p = 0.250"),
        (("test", "auroc", "p_value_holm"), 0.75, "adjusted p = 0.750"),
        (("delong", "positive"), "ill", "the AUROC of ill against"),
        (("delong", "difference"), -0.654, "a difference of -0.654"),
        (("delong", "low"), -0.655, "-0.655 to +0.153"),
        (("delong", "high"), 0.656, "+0.051 to +0.656"),
        (("delong", "p_value"), 0.35, "p = 0.350"),
        (("delong", "p_value_holm"), 0.45, "adjusted p = 0.450"),
        (("mcnemar", "n_only_first"), 91, "91 images are right for crop"),
        (("mcnemar", "n_only_second"), 92, "and 92 for full alone"),
        (("mcnemar", "p_value"), 0.55, "p = 0.550"),
        (("mcnemar", "p_value_holm"), 0.65, "adjusted p = 0.650"),
        (("test", "n"), 77, "On the 77 test images"),
        (("test", "n_groups"), 11, "(11 groups)"),
        (("test", "n_only_first"), 5, "5 test images of crop are left out: full is not"),
        (("test", "n_only_second"), 6, "6 test images of full are left out: crop is not"),
        (("test", "n_rows_second"), 180, "full has several models for an image, 180 predictions"),
        (("maps", "gradcam", "in_lungs_first"), 0.11, "puts 11% of its weight"),
        (("maps", "gradcam", "in_lungs_second"), 0.12, "and 12% for full"),
        (("maps", "gradcam", "lungs_area_second"), 0.99, "and 99% there"),
        (("maps", "gradcam", "difference"), 0.77, "difference +0.77"),
        (("maps", "gradcam", "n"), 8, "8 images"),
        (("differs",), {"lr": [0.5, 0.25]}, "Setting: lr is 0.5 for crop and 0.25 for full."),
    ],
)
def test_a_changed_figure_changes_the_sentence(
    comparison: Json, metrics: dict[str, Json], keys: tuple[str, ...], value: float, said: str
) -> None:
    before = " ".join(discuss(comparison, metrics))
    changed = copy.deepcopy(comparison)
    here = changed
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    assert said in " ".join(discuss(changed, metrics))
    assert said not in before


@pytest.mark.parametrize(
    ("low", "high", "p_value", "verdict"),
    [
        (0.001, 0.2, 0.049, "settled in favour of crop"),
        (-0.2, -0.001, 0.049, "settled in favour of full"),
        (0.001, 0.2, 0.05, "not settled"),  # by itself it would be
        (-0.2, -0.001, 0.9, "not settled"),
        (-0.1, 0.1, 1.0, "not settled"),
        (None, None, None, "not compared"),
    ],
)
def test_a_comparison_is_settled_where_the_adjusted_p_value_is_small(
    comparison: Json,
    metrics: dict[str, Json],
    low: float | None,
    high: float | None,
    p_value: float | None,
    verdict: str,
) -> None:
    comparison["test"] = adjusted(found(0.1, low, high), p_value)
    assert discuss(comparison, metrics)[-1] == (
        f"Verdict: on all test images, balanced accuracy {verdict}, AUROC {verdict}."
    )
    sentence = conclude({"look": comparison}, metrics)[0]
    assert sentence == f"By balanced accuracy, on all test images: look {verdict}."


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.2, "settled in favour of crop"),
        (-0.2, -0.001, "settled in favour of full"),
        (-0.1, 0.1, "not settled"),
        (0.0, 0.2, "not settled"),
        (-0.2, 0.0, "not settled"),
        (None, None, "not compared"),
    ],
)
def test_a_stratum_is_settled_where_the_interval_excludes_zero(
    comparison: Json, metrics: dict[str, Json], low: float, high: float, verdict: str
) -> None:
    comparison["subgroups"] = {"marker": found(0.1, low, high)}
    assert discuss(comparison, metrics)[-1].endswith(
        f"; on images of marker, balanced accuracy {verdict}, AUROC {verdict}."
    )


def test_strata_are_said_once_to_be_uncorrected(comparison: Json, metrics: dict[str, Json]) -> None:
    assert INTRODUCTION.count("Strata are looked at without correction") == 1
    comparison["subgroups"] = {"marker": found(0.2, 0.1, 0.5)}
    of_marker = [s for s in discuss(comparison, metrics) if "images of marker (" in s]
    assert all("p = 0.013)" in s and "adjusted" not in s for s in of_marker)
    assert len(of_marker) == 2


def test_the_verdict_is_of_each_stratum(comparison: Json, metrics: dict[str, Json]) -> None:
    comparison["subgroups"] = {"marker": found(0.2, -0.1, 0.5)}
    assert discuss(comparison, metrics)[-1] == (
        "Verdict: on all test images, balanced accuracy settled in favour of crop, AUROC settled "
        "in favour of crop; on images of marker, balanced accuracy not settled, AUROC not settled."
    )


def test_a_small_p_value_is_not_written_as_zero(comparison: Json, metrics: dict[str, Json]) -> None:
    comparison["test"]["auroc"]["p_value"] = 0.0002
    assert ", p < 0.001, adjusted" in discuss(comparison, metrics)[2]


def test_figures_without_an_interval_are_not_compared_and_the_reason_is_given(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    comparison["test"] = adjusted(found(None, None, None), None)
    assert discuss(comparison, metrics)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is not compared: needs an image."
    )


def test_maps_without_an_interval_are_not_compared(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    nothing = dict.fromkeys(comparison["maps"]["gradcam"], None)
    comparison["maps"] = {"eigencam": nothing}
    assert discuss(comparison, metrics)[5] == "EigenCAM: too few maps to compare."


def test_a_subgroup_is_discussed_by_its_own_figures(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    comparison["subgroups"] = {"marker": found(0.2, -0.1, 0.5) | {"n": 12, "n_groups": 6}}
    comparison["subgroups"]["marker"]["auroc"]["first"] = 0.8125
    sentence = discuss(comparison, metrics)[6]
    assert sentence.startswith("On the 12 test images of marker (6 groups) AUROC is 0.812 (95 %")
    assert sentence.endswith("not settled.")


def test_the_spread_over_runs_is_given_where_there_are_several(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    metrics["crop"] = figures_of_runs()
    sentences = discuss(comparison, metrics)
    assert sentences[1] == (
        "The models of crop, one by one: balanced accuracy mean of 5 runs 0.873, standard "
        "deviation 0.021; AUROC is undefined in a run."
    )
    assert not any(s.startswith("The models of full") for s in sentences)


def test_runs_of_a_case_that_is_not_compared_are_in_the_conclusion(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    comparisons = {"look": comparison}
    alone = conclude(comparisons, metrics | {"alone": figures_of_runs()})
    assert any(s.startswith("The models of alone, one by one: ") for s in alone)
    compared = conclude(comparisons, metrics | {"crop": figures_of_runs()})
    assert not any(s.startswith("The models of") for s in compared)


def test_the_best_case_is_named_with_its_interval(metrics: dict[str, Json]) -> None:
    assert conclude({}, metrics) == [
        "No comparison is named for this data set.",
        "The best balanced accuracy is that of crop: 0.900 (95 % interval 0.850 to 0.950) on 90 "
        "test images.",
        "Its interval overlaps that of no other case.",
        "A best case picked by test figures looks better than it is.",
    ]


def test_overlapping_intervals_and_ties_are_named(metrics: dict[str, Json]) -> None:
    others = {
        "near": figures_of(0.83, 0.7, 0.85),  # touches
        "nearer": figures_of(0.89, 0.84, 0.99),
        "same": figures_of(0.9003, 0.7, 0.95),
        "unknown": figures_of(0.7, None, None),
        "undefined": figures_of(None, None, None),
    }
    best = metrics | others
    best["crop"]["balanced_accuracy"] = 0.9004
    assert conclude({}, best)[2] == (
        "It ties with same. Its interval overlaps those of near, nearer."
    )


def test_cases_on_other_test_images_are_mentioned(metrics: dict[str, Json]) -> None:
    metrics["full"]["n_test"] = 300
    assert "The cases are not all tested on the same images." in conclude({}, metrics)


def test_a_single_case_is_not_called_picked(metrics: dict[str, Json]) -> None:
    assert len(conclude({}, {"crop": metrics["crop"]})) == 2


def test_every_method_of_params_has_a_name(comparison: Json, metrics: dict[str, Json]) -> None:
    maps = comparison["maps"]["gradcam"]
    comparison["maps"] = dict.fromkeys(get_args(CamMethod), maps)
    said = " ".join(discuss(comparison, metrics))
    assert all(f"{name} puts " in said for name in METHOD_NAMES.values())
    assert len(METHOD_NAMES) == len(get_args(CamMethod))


@pytest.fixture
def two_comparisons(results: Results) -> Results:
    pairs = {"crop": ["lungs-bce", "full-ce"], "folds": ["lungs-folds", "full-ce"]}
    return replace(results, params=results.params.model_copy(update={"comparisons": pairs}))


@pytest.fixture
def comparisons(two_comparisons: Results) -> dict[str, Json]:
    return compare_all_cases(two_comparisons)


def numbers_of(content: object) -> set[str]:
    """Every number of parsed JSON, in each of the ways that the discussion writes numbers."""
    if isinstance(content, dict | list):
        parts = content.values() if isinstance(content, dict) else content
        return set().union(*(numbers_of(part) for part in parts))
    if isinstance(content, bool) or not isinstance(content, int | float):
        return set()
    written = (f"{content:.3f}", f"{content:+.3f}", f"{content:+.2f}", f"{content:.0%}")
    return {str(content), *written}


def test_every_number_of_the_text_stands_in_the_json(
    results: Results, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> None:
    metrics = {name: case.metrics for name, case in results.cases.items()}
    text = render_markdown(build_discussion(results, comparisons, headlines))
    for constant in ("95 %", "p < 0.001", "below 0.05"):
        text = text.replace(constant, "")
    quoted = re.findall(r"(?<![\w.-])[+-]?\d+(?:\.\d+)?%?", text)
    assert len(quoted) > 150
    assert set(quoted) <= numbers_of([comparisons, metrics, headlines, results.external])


def test_other_json_makes_another_text(
    results: Results, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> None:
    before = render_markdown(build_discussion(results, comparisons, headlines))
    results.cases["lungs-bce"].metrics["balanced_accuracy_low"] = 0.7654
    after = render_markdown(build_discussion(results, comparisons, headlines))
    assert "0.765 to 0.900" in after
    assert "0.765" not in before


def test_data_sets_are_discussed_apart_and_drawings_called_so(
    results: Results, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> None:
    text = render_markdown(build_discussion(results, comparisons, headlines))
    _, drawn, real = re.split(r"^## ", text, flags=re.MULTILINE)
    assert drawn.startswith("ct (phantoms: drawings, not patients)\n")
    assert "No figure of this section says anything about patients." in drawn
    assert ("### crop\n" in drawn, "### folds\n" in drawn) == (True, True)
    assert "labels-bce" not in drawn
    assert real.startswith("labels\n\nSource: data/raw\n")
    assert ("lungs-bce" in real, "### crop" in real, "drawings" in real) == (False, False, False)


def test_allowed_leakage_is_said_before_any_figure(
    results: Results, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> None:
    tables = results.datasets["ct"]
    leaking = replace(tables, info=replace(tables.info, leakage=["g1"]))
    leaked = replace(results, datasets=results.datasets | {"ct": leaking})
    section = build_discussion(leaked, comparisons, headlines)["ct"]
    assert section.notices[1].startswith("Leakage allowed: ")
    assert [sentences[0] for sentences in section.comparisons.values()] == [OPTIMISTIC] * 2
    assert OPTIMISTIC not in render_markdown(build_discussion(results, comparisons, headlines))


def test_a_data_set_without_a_case_has_no_figures(results: Results) -> None:
    section = build_discussion(replace(results, cases={}), {}, {})["ct"]
    assert section.conclusion == ["No case is trained on this data set."]


def test_too_few_draws_for_any_verdict_are_said_to_be(
    results: Results, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> None:
    """The smallest p-value of D draws is 2 / (D + 1); adjusted for N comparisons, N times that."""
    many = {f"crop{number}": comparisons["crop"] for number in range(5)}
    enough = build_discussion(results, many, headlines)["ct"].conclusion
    assert not any("draws" in sentence for sentence in enough)
    many["one more"] = comparisons["crop"]  # 6 * 2 / 201 > 0.05
    too_few = build_discussion(results, many, headlines)
    assert too_few["ct"].conclusion[0] == (
        "With so few draws no metric can be settled: set evaluate.bootstrap_draws to 240 or more."
    )
    assert not any("draws" in sentence for sentence in too_few["labels"].conclusion)


def test_each_case_stands_beside_its_best_shortcut(
    results: Results, headlines: dict[str, Json]
) -> None:
    own = {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.95, "n": 61}
    shortcut = {"shortcut": "no_lungs", "shortcut_auroc": 0.7, "shortcut_auroc_low": 0.6}
    difference = {"difference": 0.2, "difference_low": 0.11, "difference_high": 0.29}
    headlines["full-ce"] = own | shortcut | {"shortcut_auroc_high": 0.8} | difference
    discussion = build_discussion(results, {}, headlines)
    assert (
        "The AUROC of full-ce is 0.900 (95 % interval 0.850 to 0.950) on 61 test images, that of "
        "the best shortcut (no lungs) 0.700 (95 % interval 0.600 to 0.800): a difference of +0.200 "
        "(95 % interval +0.110 to +0.290), settled in favour of the case."
    ) in discussion["ct"].conclusion
    for dataset, section in discussion.items():
        said = [s for s in section.conclusion if "best shortcut" in s]
        assert len(said) == len(results.cases_of(dataset))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.3, -0.1, "settled in favour of the shortcut."), (-0.1, 0.1, "not settled.")],
)
def test_a_case_that_does_not_beat_its_shortcut_is_said_not_to(
    results: Results, headlines: dict[str, Json], low: float, high: float, said: str
) -> None:
    headlines["full-ce"] |= {"difference_low": low, "difference_high": high}
    conclusion = build_discussion(results, {}, headlines)["ct"].conclusion
    assert next(s for s in conclusion if "AUROC of full-ce" in s).endswith(said)


def test_a_case_that_cannot_be_compared_with_its_shortcut_is_named(
    results: Results, headlines: dict[str, Json]
) -> None:
    headlines["full-ce"] = dict.fromkeys(headlines["full-ce"]) | {"shortcut": "file"}
    assert (
        "full-ce is not compared with its best shortcut, file: no interval."
    ) in build_discussion(results, {}, headlines)["ct"].conclusion


def set_shortcuts(results: Results, view: str, **figures: tuple[float, float, float]) -> None:
    """AUROC of the positive class and its ends, of the shortcuts named; 0.5 of all others."""
    for probe, found in results.audits[view]["probes"].items():
        ends = figures.get(probe, (0.5, 0.4, 0.6))
        found["by_class"]["covid"] = dict(
            zip(("auroc", "auroc_low", "auroc_high"), ends, strict=True)
        )


def test_shortcuts_that_tell_the_positive_class_are_named_the_best_first(
    results: Results, headlines: dict[str, Json]
) -> None:
    telling = {"border": (0.7, 0.6, 0.8), "file": (0.996, 0.984, 1.0)}
    set_shortcuts(results, "full", **telling, lungs_only=(0.9, 0.8, 1.0))
    assert (
        "Shortcuts that tell covid from the rest in the view full, by AUROC: "
        "file 0.996 (95 % interval 0.984 to 1.000); border 0.700 (95 % interval 0.600 to 0.800)."
    ) in build_discussion(results, {}, headlines)["ct"].conclusion


def test_a_view_in_which_no_shortcut_tells_is_said_to_have_none(
    results: Results, headlines: dict[str, Json]
) -> None:
    set_shortcuts(results, "full", border=(0.6, 0.49, 0.7))
    assert (
        "No shortcut tells covid from the rest in the view full."
        in build_discussion(results, {}, headlines)["ct"].conclusion
    )


EXTERNAL = (
    "External test elsewhere: lungs-bce as it is on 20 images (20 groups) of labels; left out are "
    "10 of other classes and 0 that its own data set has too: balanced accuracy 0.600 there and "
    "0.800 on its own test images, a difference of -0.200 (95 % interval -0.300 to -0.100), "
    "settled as lower; AUROC "
)


def test_an_external_test_is_told_with_its_case(
    results: Results, headlines: dict[str, Json]
) -> None:
    discussion = build_discussion(results, {}, headlines)
    assert discussion["ct"].conclusion[-1].startswith(EXTERNAL)
    assert not any("External" in sentence for sentence in discussion["labels"].conclusion)


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ({"difference": -0.2, "low": -0.4, "high": 0.1}, "-0.400 to +0.100), not settled."),
        ({"external": 0.9, "low": 0.05, "high": 0.2}, "+0.050 to +0.200), settled as higher."),
        ({"difference": None, "low": None, "high": None}, "AUROC is not compared."),
    ],
)
def test_a_drop_is_settled_where_its_interval_excludes_zero(
    results: Results, headlines: dict[str, Json], drop: Json, said: str
) -> None:
    results.external["elsewhere"]["drop"]["auroc"] |= drop
    assert build_discussion(results, {}, headlines)["ct"].conclusion[-1].endswith(said)
