import copy
from typing import get_args

import pytest

from stages.config.params import CamMethod
from stages.reporting import coverage
from stages.reporting.comparisons import (
    build_comparison_table,
    describe_settled,
    discuss,
)
from stages.reporting.coverage import Sample
from stages.reporting.discussion import INTRODUCTION
from stages.reporting.documents import CaseFigures, Comparison
from stages.reporting.table import Cell
from stages.reporting.wording import LEAKAGE, METHOD_NAMES, Mark
from tests.reporting.conftest import (
    Json,
    adjusted,
    make_compared,
    make_comparison,
    make_coverage,
    make_metrics,
)


@pytest.fixture
def comparison() -> Json:
    """An entry of metrics/comparisons.json, without strata and with one method."""
    made = make_comparison("crop", "full")
    return made | {"subgroups": {}, "maps": {"gradcam": made["maps"]["gradcam"]}}


def said_of(comparison: Json, **figures: Json) -> list[str]:
    """The sentences, with other figures of the cases named."""
    flat = {case: make_metrics(0.3) | figures.get(case, {}) for case in ("crop", "full")}
    return discuss(
        Comparison.model_validate(comparison),
        {case: CaseFigures.model_validate(values) for case, values in flat.items()},
    )


def shown(comparison: Json, *marks: Mark) -> dict[str, Cell]:
    """The cells of the table's row; of two columns of one heading, the first."""
    found = {"look": Comparison.model_validate(comparison)}
    samples = dict.fromkeys(("crop", "full"), Sample(90, 30, 0.5, 0.8))
    table = build_comparison_table(found, {"crop": marks, "full": ()}, samples)
    return dict(zip(reversed(table.columns), reversed(table.rows[0]), strict=True))


def test_the_adjusted_p_value_stands_over_the_plain_one(comparison: Json) -> None:
    comparison["delong"]["p_value_holm"] = 0.0002
    cells = shown(comparison)
    assert cells["p, McNemar"] == Cell("0.015", "unadjusted 0.008", 0.0152, True)
    assert cells["p, DeLong"].text == "< 0.001"


def test_a_difference_has_its_sign_and_interval(comparison: Json) -> None:
    cells = shown(comparison)
    assert cells["AUROC"] == Cell("+0.100", "+0.050 to +0.150", 0.1, True)
    assert (cells["right in the first only"].number, cells["in the second only"].number) == (14, 3)


def test_a_test_that_is_undefined_says_why(comparison: Json) -> None:
    nothing = dict.fromkeys(("difference", "low", "high", "p_value", "p_value_holm"))
    comparison["delong"] |= nothing | {"undefined": "several rows per image"}
    comparison["mcnemar"] |= {"n_only_first": None, "p_value": None, "p_value_holm": None}
    cells = shown(comparison)
    assert cells["AUROC, DeLong"] == Cell("n/a", "several rows per image", None, True)
    assert cells["p, DeLong"] == cells["p, McNemar"] == Cell("n/a", "", None, True)
    assert cells["right in the first only"].text == "n/a"


def test_a_comparison_of_cases_that_leak_is_marked(comparison: Json) -> None:
    assert shown(comparison, LEAKAGE)["comparison"].text == "look †"
    assert shown(comparison)["comparison"].text == "look"


def test_the_spread_over_the_runs_of_a_case_is_told(comparison: Json) -> None:
    spread = {"balanced_accuracy_run_mean": 0.873, "balanced_accuracy_run_sd": 0.0214}
    spread |= {"auroc_run_mean": 0.911, "auroc_run_sd": 0.0125, "n_runs": 5}
    sentences = said_of(comparison, crop=spread)
    assert sentences[1].startswith("The models of crop, one by one: balanced accuracy mean of 5 ")
    assert not any(sentence.startswith("The models of full") for sentence in sentences)


def test_what_is_not_settled_stands_beside_what_would_be(comparison: Json) -> None:
    comparison["test"]["auroc"] |= {"p_value_holm": 0.2, "detectable": 0.08}
    comparison["test"]["auroc"]["detectable_holm"] = 0.123
    assert shown(comparison)["AUROC"].note == "+0.050 to +0.150; 0.12 would be settled"
    assert shown(comparison)["balanced accuracy"].note == "+0.050 to +0.150"
    assert "AUROC not settled (a difference of 0.12 would be)" in said_of(comparison)[-1]
    comparison["subgroups"] = {"marker": comparison["test"]}
    del comparison["test"]["auroc"]["detectable_holm"]  # strata are of no family
    comparison["test"]["auroc"]["low"] = -0.01
    assert "on images of marker, balanced accuracy settled" in said_of(comparison)[-1]
    assert said_of(comparison)[-1].endswith("AUROC not settled (a difference of 0.08 would be).")


def test_a_difference_whose_intervals_do_not_hold_is_marked(
    comparison: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "load_coverage", lambda: make_coverage(0.9))
    cells = shown(comparison)
    assert cells["AUROC"].note == "+0.050 to +0.150; ¶ 90%"
    assert cells["AUROC, DeLong"].note == "+0.051 to +0.153"  # not simulated


def test_nothing_named_is_nothing_settled() -> None:
    assert describe_settled({}) == ["No comparison is named for this data set."]


def test_a_sentence_quotes_the_figures_of_both_cases(comparison: Json) -> None:
    assert said_of(comparison)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is 0.875 (95 % interval 0.801 to "
        "0.931) for crop and 0.775 (95 % interval 0.702 to 0.843) for full: a difference of "
        "+0.100 (95 % interval +0.050 to +0.150, p = 0.013, adjusted p = 0.037), settled in favour "
        "of crop."
    )


def test_auroc_is_written_in_capitals(comparison: Json) -> None:
    assert " AUROC is 0.875 (95 %" in said_of(comparison)[2]


def test_the_paired_tests_have_a_sentence_each(comparison: Json) -> None:
    assert said_of(comparison)[3:5] == [
        "DeLong's test of the AUROC of covid against the rest: a difference of +0.102 (95 % "
        "interval +0.051 to +0.153, p = 0.014, adjusted p = 0.042).",
        "McNemar's test of the accuracy: 14 images are right for crop alone and 3 for full alone "
        "(p = 0.008, adjusted p = 0.015).",
    ]


def test_a_paired_test_that_is_not_made_says_why(comparison: Json) -> None:
    for test in ("delong", "mcnemar"):
        comparison[test] = dict.fromkeys(comparison[test])
        comparison[test] |= {"positive": "covid", "undefined": "an image has up to 2 rows"}
    assert said_of(comparison)[3:5] == [
        "DeLong's test of the AUROC of covid against the rest is not made: an image has up to 2 "
        "rows.",
        "McNemar's test of the accuracy is not made: an image has up to 2 rows.",
    ]


def test_a_sentence_on_maps_quotes_shares_and_what_a_constant_map_would_reach(
    comparison: Json,
) -> None:
    assert said_of(comparison)[5] == (
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
    comparison: Json, keys: tuple[str, ...], value: float, said: str
) -> None:
    before = " ".join(said_of(comparison))
    changed = copy.deepcopy(comparison)
    here = changed
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    assert said in " ".join(said_of(changed))
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
    low: float | None,
    high: float | None,
    p_value: float | None,
    verdict: str,
) -> None:
    comparison["test"] = adjusted(make_compared(0.1, low, high), p_value)
    assert said_of(comparison)[-1] == (
        f"Verdict: on all test images, balanced accuracy {verdict}, AUROC {verdict}."
    )
    sentence = describe_settled({"look": Comparison.model_validate(comparison)})[0]
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
    comparison: Json, low: float, high: float, verdict: str
) -> None:
    comparison["subgroups"] = {"marker": make_compared(0.1, low, high)}
    assert said_of(comparison)[-1].endswith(
        f"; on images of marker, balanced accuracy {verdict}, AUROC {verdict}."
    )


def test_strata_are_said_once_to_be_uncorrected(comparison: Json) -> None:
    assert INTRODUCTION.count("Strata are looked at without correction") == 1
    comparison["subgroups"] = {"marker": make_compared(0.2, 0.1, 0.5)}
    of_marker = [s for s in said_of(comparison) if "images of marker (" in s]
    assert all("p = 0.013)" in s and "adjusted" not in s for s in of_marker)
    assert len(of_marker) == 2


def test_the_verdict_is_of_each_stratum(comparison: Json) -> None:
    comparison["subgroups"] = {"marker": make_compared(0.2, -0.1, 0.5)}
    assert said_of(comparison)[-1] == (
        "Verdict: on all test images, balanced accuracy settled in favour of crop, AUROC settled "
        "in favour of crop; on images of marker, balanced accuracy not settled, AUROC not settled."
    )


def test_a_small_p_value_is_not_written_as_zero(comparison: Json) -> None:
    comparison["test"]["auroc"]["p_value"] = 0.0002
    assert ", p < 0.001, adjusted" in said_of(comparison)[2]


def test_figures_without_an_interval_are_not_compared_and_the_reason_is_given(
    comparison: Json,
) -> None:
    comparison["test"] = adjusted(make_compared(None, None, None), None)
    assert said_of(comparison)[1] == (
        "On the 90 test images (30 groups) balanced accuracy is not compared: needs an image."
    )


def test_maps_without_an_interval_are_not_compared(comparison: Json) -> None:
    nothing = dict.fromkeys(comparison["maps"]["gradcam"], None)
    comparison["maps"] = {"eigencam": nothing | {"n": 0}}
    assert said_of(comparison)[5] == "EigenCAM: too few maps to compare."


def test_a_subgroup_is_discussed_by_its_own_figures(comparison: Json) -> None:
    comparison["subgroups"] = {"marker": make_compared(0.2, -0.1, 0.5) | {"n": 12, "n_groups": 6}}
    comparison["subgroups"]["marker"]["auroc"]["first"] = 0.8125
    sentence = said_of(comparison)[6]
    assert sentence.startswith("On the 12 test images of marker (6 groups) AUROC is 0.812 (95 %")
    assert sentence.endswith("not settled.")


def test_every_method_of_params_has_a_name(comparison: Json) -> None:
    maps = comparison["maps"]["gradcam"]
    comparison["maps"] = dict.fromkeys(get_args(CamMethod), maps)
    said = " ".join(said_of(comparison))
    assert all(f"{name} puts " in said for name in METHOD_NAMES.values())
    assert len(METHOD_NAMES) == len(get_args(CamMethod))
