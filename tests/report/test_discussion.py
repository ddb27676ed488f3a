import copy
import re
from dataclasses import replace
from typing import Any

import pytest

from stages.report.comparisons import compare_cases
from stages.report.discussion import build_discussion, conclude, discuss, render_markdown
from stages.report.results import Results

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


@pytest.fixture
def comparison() -> Json:
    return {
        "first": "crop",
        "second": "full",
        "differs": {"sampler": ["weighted", "none"]},
        "test": found(0.1, 0.05, 0.15),
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
def headlines() -> dict[str, Json]:
    return {"crop": headline(0.9, 0.85, 0.95), "full": headline(0.8, 0.7, 0.84)}


def headline(value: float | None, low: float | None, high: float | None) -> Json:
    figures = {"balanced_accuracy": value, "balanced_accuracy_low": low}
    return figures | {"balanced_accuracy_high": high, "n_runs": 1, "n_test": 90}


def headline_of_runs() -> Json:
    spread = {"balanced_accuracy_run_mean": 0.873, "balanced_accuracy_run_sd": 0.0214}
    return headline(0.88, 0.8, 0.9) | {
        "n_runs": 5,
        **spread,
        "auroc_run_mean": 0.911,
        "auroc_run_sd": None,
    }


def test_a_sentence_quotes_the_figures_of_both_cases(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    assert discuss(comparison, headlines)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is 0.875 (95 % interval 0.801 to "
        "0.931) for crop and 0.775 (95 % interval 0.702 to 0.843) for full: a difference of "
        "+0.100 (95 % interval +0.050 to +0.150, p = 0.013), settled in favour of crop."
    )


def test_auroc_is_written_in_capitals(comparison: Json, headlines: dict[str, Json]) -> None:
    assert " AUROC is 0.875 (95 %" in discuss(comparison, headlines)[2]


def test_a_sentence_on_maps_quotes_shares_and_what_a_constant_map_would_reach(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    assert discuss(comparison, headlines)[3] == (
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
    comparison: Json, headlines: dict[str, Json], keys: tuple[str, ...], value: float, said: str
) -> None:
    before = " ".join(discuss(comparison, headlines))
    changed = copy.deepcopy(comparison)
    here = changed
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    assert said in " ".join(discuss(changed, headlines))
    assert said not in before


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
def test_a_comparison_is_settled_where_the_interval_excludes_zero(
    comparison: Json, headlines: dict[str, Json], low: float, high: float, verdict: str
) -> None:
    comparison["test"] = found(0.1, low, high)
    assert discuss(comparison, headlines)[-1] == (
        f"Verdict: on all test images, balanced accuracy {verdict}, AUROC {verdict}."
    )
    sentence = conclude({"look": comparison}, headlines)[0]
    assert sentence == f"By balanced accuracy, on all test images: look {verdict}."


def test_the_verdict_is_of_each_stratum(comparison: Json, headlines: dict[str, Json]) -> None:
    comparison["subgroups"] = {"marker": found(0.2, -0.1, 0.5)}
    assert discuss(comparison, headlines)[-1] == (
        "Verdict: on all test images, balanced accuracy settled in favour of crop, AUROC settled "
        "in favour of crop; on images of marker, balanced accuracy not settled, AUROC not settled."
    )


def test_a_small_p_value_is_not_written_as_zero(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    comparison["test"]["auroc"]["p_value"] = 0.0002
    assert ", p < 0.001)" in discuss(comparison, headlines)[2]


def test_figures_without_an_interval_are_not_compared_and_the_reason_is_given(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    comparison["test"] = found(None, None, None)
    assert discuss(comparison, headlines)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is not compared: needs an image."
    )


def test_maps_without_an_interval_are_not_compared(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    nothing = dict.fromkeys(comparison["maps"]["gradcam"], None)
    comparison["maps"] = {"eigencam": nothing}
    assert discuss(comparison, headlines)[3] == "EigenCAM: too few maps to compare."


def test_a_subgroup_is_discussed_by_its_own_figures(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    comparison["subgroups"] = {"marker": found(0.2, -0.1, 0.5) | {"n": 12, "n_groups": 6}}
    comparison["subgroups"]["marker"]["auroc"]["first"] = 0.8125
    sentence = discuss(comparison, headlines)[4]
    assert sentence.startswith("On the 12 test images of marker (6 groups) AUROC is 0.812 (95 %")
    assert sentence.endswith("not settled.")


def test_the_spread_over_runs_is_given_where_there_are_several(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    headlines["crop"] = headline_of_runs()
    sentences = discuss(comparison, headlines)
    assert sentences[1] == (
        "The models of crop, one by one: balanced accuracy mean of 5 runs 0.873, standard "
        "deviation 0.021; AUROC is undefined in a run."
    )
    assert not any(s.startswith("The models of full") for s in sentences)


def test_runs_of_a_case_that_is_not_compared_are_in_the_conclusion(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    comparisons = {"look": comparison}
    alone = conclude(comparisons, headlines | {"alone": headline_of_runs()})
    assert any(s.startswith("The models of alone, one by one: ") for s in alone)
    compared = conclude(comparisons, headlines | {"crop": headline_of_runs()})
    assert not any(s.startswith("The models of") for s in compared)


def test_the_best_case_is_named_with_its_interval(headlines: dict[str, Json]) -> None:
    assert conclude({}, headlines) == [
        "No comparison is named for this data set.",
        "The best balanced accuracy is that of crop: 0.900 (95 % interval 0.850 to 0.950) on 90 "
        "test images.",
        "Its interval overlaps that of no other case.",
        "A best case picked by test figures looks better than it is.",
    ]


def test_overlapping_intervals_and_ties_are_named(headlines: dict[str, Json]) -> None:
    others = {
        "near": headline(0.83, 0.7, 0.85),  # touches
        "nearer": headline(0.89, 0.84, 0.99),
        "same": headline(0.9003, 0.7, 0.95),
        "unknown": headline(0.7, None, None),
        "undefined": headline(None, None, None),
    }
    best = headlines | others
    best["crop"]["balanced_accuracy"] = 0.9004
    assert conclude({}, best)[2] == (
        "It ties with same. Its interval overlaps those of near, nearer."
    )


def test_cases_on_other_test_images_are_mentioned(headlines: dict[str, Json]) -> None:
    headlines["full"]["n_test"] = 300
    assert "The cases are not all tested on the same images." in conclude({}, headlines)


def test_a_single_case_is_not_called_picked(headlines: dict[str, Json]) -> None:
    assert len(conclude({}, {"crop": headlines["crop"]})) == 2


def test_several_comparisons_are_called_uncorrected(
    comparison: Json, headlines: dict[str, Json]
) -> None:
    warning = "No interval or p-value is corrected for the number of comparisons."
    assert warning not in conclude({"one": comparison}, headlines)
    assert warning in conclude({"one": comparison, "two": comparison}, headlines)


@pytest.fixture
def comparisons(results: Results) -> dict[str, Json]:
    return {
        "crop": compare_cases(results, "lungs-bce", "full-ce"),
        "folds": compare_cases(results, "lungs-folds", "full-ce"),
    }


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
    results: Results, comparisons: dict[str, Json]
) -> None:
    metrics = {name: case.metrics for name, case in results.cases.items()}
    text = render_markdown(build_discussion(results, comparisons))
    for constant in ("95 %", "p < 0.001"):
        text = text.replace(constant, "")
    quoted = re.findall(r"(?<![\w.-])[+-]?\d+(?:\.\d+)?%?", text)
    assert len(quoted) > 100
    assert set(quoted) <= numbers_of([comparisons, metrics])


def test_other_json_makes_another_text(results: Results, comparisons: dict[str, Json]) -> None:
    before = render_markdown(build_discussion(results, comparisons))
    results.cases["lungs-bce"].metrics["balanced_accuracy_low"] = 0.7654
    assert "0.765 to 0.900" in render_markdown(build_discussion(results, comparisons))
    assert "0.765" not in before


def test_data_sets_are_discussed_apart_and_drawings_called_so(
    results: Results, comparisons: dict[str, Json]
) -> None:
    text = render_markdown(build_discussion(results, comparisons))
    _, drawn, real = re.split(r"^## ", text, flags=re.MULTILINE)
    assert drawn.startswith("ct (phantoms: drawings, not patients)\n")
    assert "No figure of this section says anything about patients." in drawn
    assert ("### crop\n" in drawn, "### folds\n" in drawn) == (True, True)
    assert "labels-bce" not in drawn
    assert real.startswith("labels\n\nSource: data/raw\n")
    assert ("lungs-bce" in real, "### crop" in real, "drawings" in real) == (False, False, False)


def test_allowed_leakage_is_said_before_any_figure(results: Results) -> None:
    tables = results.datasets["ct"]
    leaking = replace(tables, info=replace(tables.info, leakage=["g1"]))
    section = build_discussion(replace(results, datasets={"ct": leaking}), {})["ct"]
    assert section.notices[1].startswith("Leakage allowed: ")


def test_a_data_set_without_a_case_has_no_figures(results: Results) -> None:
    section = build_discussion(replace(results, cases={}), {})["ct"]
    assert section.conclusion == ["No case uses this data set."]
