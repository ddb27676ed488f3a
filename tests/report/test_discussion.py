import copy
from typing import Any

import pytest

from stages.report.discussion import discuss

Json = dict[str, Any]


def found(difference: float | None, low: float | None, high: float | None) -> Json:
    result = {"difference": difference, "low": low, "high": high, "p_value": 0.0125}
    return {"n": 90, "n_groups": 30, "balanced_accuracy": result, "auroc": result}


@pytest.fixture
def comparison() -> Json:
    return {
        "first": "crop",
        "second": "full",
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
def metrics() -> dict[str, Json]:
    return {
        "crop": {"balanced_accuracy": 0.875, "auroc": 0.9, "auroc_marker": 0.8125},
        "full": {"balanced_accuracy": 0.775, "auroc": 0.8, "auroc_marker": 0.7},
    }


def test_a_sentence_quotes_the_figures_of_both_cases(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    assert discuss(comparison, metrics)[0] == (
        "On the 90 test images (30 patients) balanced accuracy is 0.875 for crop and 0.775 for "
        "full: a difference of +0.100 (95 % interval +0.050 to +0.150, p = 0.013), "
        "in favour of crop."
    )


def test_auroc_is_written_in_capitals(comparison: Json, metrics: dict[str, Json]) -> None:
    assert " AUROC is 0.900 for crop and 0.800 for full" in discuss(comparison, metrics)[1]


def test_a_sentence_on_maps_quotes_shares_and_what_a_constant_map_would_reach(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    assert discuss(comparison, metrics)[2] == (
        "Grad-CAM puts 61% of its weight inside the lungs for crop and 42% for full (difference "
        "+0.19, 95 % interval +0.02 to +0.36, in favour of crop; 20 images); a constant map would "
        "put 35% and 25% there."
    )


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("test", "auroc", "difference"), -0.321, "a difference of -0.321"),
        (("test", "auroc", "low"), 0.0625, "+0.062 to"),
        (("test", "auroc", "high"), 0.444, "to +0.444"),
        (("test", "auroc", "p_value"), 0.25, "p = 0.250"),
        (("test", "n"), 77, "On the 77 test images"),
        (("test", "n_groups"), 11, "(11 patients)"),
        (("maps", "gradcam", "in_lungs_first"), 0.11, "puts 11% of its weight"),
        (("maps", "gradcam", "in_lungs_second"), 0.12, "and 12% for full"),
        (("maps", "gradcam", "lungs_area_second"), 0.99, "and 99% there"),
        (("maps", "gradcam", "difference"), 0.77, "difference +0.77"),
        (("maps", "gradcam", "n"), 8, "8 images"),
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


def test_a_changed_headline_figure_changes_the_sentence(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    metrics["full"]["auroc"] = 0.123
    assert "0.123 for full" in discuss(comparison, metrics)[1]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.2, "in favour of crop."),
        (-0.2, -0.001, "in favour of full."),
        (-0.1, 0.1, "which may be chance."),
        (0.0, 0.2, "which may be chance."),
        (-0.2, 0.0, "which may be chance."),
    ],
)
def test_a_case_is_ahead_where_the_interval_excludes_zero(
    comparison: Json, metrics: dict[str, Json], low: float, high: float, verdict: str
) -> None:
    comparison["test"] = found((low + high) / 2, low, high)
    assert discuss(comparison, metrics)[0].endswith(verdict)


def test_a_small_p_value_is_not_written_as_zero(comparison: Json, metrics: dict[str, Json]) -> None:
    comparison["test"]["auroc"] = comparison["test"]["auroc"] | {"p_value": 0.0002}
    assert ", p < 0.001)" in discuss(comparison, metrics)[1]


def test_figures_without_an_interval_are_not_compared(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    comparison["test"] = found(0.1, None, None)
    assert discuss(comparison, metrics)[0] == (
        "On the 90 test images (30 patients) balanced accuracy has no interval for both cases, "
        "so they are not compared."
    )


def test_an_undefined_figure_is_not_compared(comparison: Json, metrics: dict[str, Json]) -> None:
    metrics["crop"]["auroc"] = None
    comparison["test"] = found(None, None, None)
    assert discuss(comparison, metrics)[1].endswith("so they are not compared.")


def test_maps_without_an_interval_are_not_compared(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    nothing = dict.fromkeys(comparison["maps"]["gradcam"], None)
    comparison["maps"] = {"eigencam": nothing}
    assert discuss(comparison, metrics)[2] == "EigenCAM: too few maps to compare."


def test_a_subgroup_is_discussed_by_its_own_figures(
    comparison: Json, metrics: dict[str, Json]
) -> None:
    comparison["subgroups"] = {"marker": found(0.2, -0.1, 0.5) | {"n": 12, "n_groups": 6}}
    for case in metrics.values():
        case["balanced_accuracy_marker"] = 0.5
    sentence = discuss(comparison, metrics)[3]
    assert sentence.startswith(
        "On the 12 test images of marker (6 patients) AUROC is 0.812 for crop and 0.700 for full"
    )
    assert sentence.endswith("which may be chance.")
