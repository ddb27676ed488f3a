import re

import pytest

from stages.reporting.discussion import (
    OPTIMISTIC,
    DatasetDiscussion,
    build_discussion,
    render_markdown,
)
from stages.reporting.results import Results
from tests.reporting.conftest import Files, make_comparison


def discuss_ct(files: Files) -> DatasetDiscussion:
    return build_discussion(files.load())["ct"]


@pytest.fixture
def two_comparisons(files: Files) -> Files:
    pairs = {"crop": ["lungs-bce", "full-ce"], "folds": ["lungs-folds", "full-ce"]}
    files.comparisons = {name: make_comparison(*pair) for name, pair in pairs.items()}
    files.update_params(comparisons=pairs)
    return files


def numbers_of(content: object) -> set[str]:
    """Every number of parsed JSON, in each of the ways that the discussion writes numbers."""
    if isinstance(content, dict | list):
        parts = content.values() if isinstance(content, dict) else content
        return set().union(*(numbers_of(part) for part in parts))
    if isinstance(content, bool) or not isinstance(content, int | float):
        return set()
    written = (f"{content:.3f}", f"{content:+.3f}", f"{content:+.2f}", f"{content:.0%}")
    return {str(content), *written}


# What the introduction says of the power of a comparison.
POWER = ("8 of 10", "z(1 - 0.05 / 2m) + z(0.8)", "2.8 of them for m = 1 test")


def test_every_number_of_the_text_stands_in_the_json(two_comparisons: Files) -> None:
    files = two_comparisons
    cases = [[case.metrics, case.headline] for case in files.cases.values()]
    text = render_markdown(build_discussion(files.load()))
    for constant in ("95 %", "p < 0.001", "below 0.05", *POWER):
        text = text.replace(constant, "")
    quoted = re.findall(r"(?<![\w.-])[+-]?\d+(?:\.\d+)?%?", text)
    assert len(quoted) > 150
    assert set(quoted) <= numbers_of([files.comparisons, cases, files.external])


def test_other_json_makes_another_text(files: Files) -> None:
    before = render_markdown(build_discussion(files.load()))
    files.cases["lungs-bce"].metrics["balanced_accuracy_low"] = 0.7654
    after = render_markdown(build_discussion(files.load()))
    assert "0.765 to 0.900" in after
    assert "0.765" not in before


def test_data_sets_are_discussed_apart_and_drawings_called_so(two_comparisons: Files) -> None:
    text = render_markdown(build_discussion(two_comparisons.load()))
    _, drawn, real = re.split(r"^## ", text, flags=re.MULTILINE)
    assert drawn.startswith("ct (phantoms: drawings, not patients)\n")
    assert "No figure of this section says anything about patients." in drawn
    assert ("### crop\n" in drawn, "### folds\n" in drawn) == (True, True)
    assert "labels-bce" not in drawn
    assert real.startswith("labels\n\nSource: data/raw\n")
    assert ("lungs-bce" in real, "### crop" in real, "drawings" in real) == (False, False, False)


def test_allowed_leakage_is_said_before_any_figure(two_comparisons: Files) -> None:
    assert OPTIMISTIC not in render_markdown(build_discussion(two_comparisons.load()))
    two_comparisons.update_info("ct", leakage=["g1"])
    section = discuss_ct(two_comparisons)
    assert section.notices[1].startswith("Leakage allowed: ")
    assert [sentences[0] for sentences in section.comparisons.values()] == [OPTIMISTIC] * 2


def test_a_data_set_without_a_case_has_no_figures(files: Files) -> None:
    files.leave_out_cases()
    assert discuss_ct(files).conclusion == ["No case is trained on this data set."]


def test_runs_of_a_case_that_is_not_compared_are_in_the_conclusion(files: Files) -> None:
    def told(section: DatasetDiscussion) -> bool:
        return any(s.startswith("The models of lungs-folds, one by") for s in section.conclusion)

    assert told(discuss_ct(files))
    files.comparisons = {"folds": make_comparison("lungs-folds", "full-ce")}
    section = discuss_ct(files)
    assert not told(section)
    assert any(s.startswith("The models of lungs-folds") for s in section.comparisons["folds"])


def test_each_case_stands_beside_its_best_shortcut(files: Files) -> None:
    own = {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.95, "n": 61}
    shortcut = {"shortcut": "no_lungs", "shortcut_auroc": 0.7, "shortcut_auroc_low": 0.6}
    difference = {"difference": 0.2, "difference_low": 0.11, "difference_high": 0.29}
    headline = own | shortcut | {"shortcut_auroc_high": 0.8} | difference
    files.cases["full-ce"].headline |= headline
    results = files.load()
    discussion = build_discussion(results)
    assert (
        "The AUROC of full-ce is 0.900 (95 % interval 0.850 to 0.950) on 61 test images, that of "
        "the best shortcut (no lungs) 0.700 (95 % interval 0.600 to 0.800): a difference of +0.200 "
        "(95 % interval +0.110 to +0.290), settled in favour of the case."
    ) in discussion["ct"].conclusion
    assert (
        "The accuracy of full-ce is 0.700 (95 % interval 0.600 to 0.800), that of the probe that "
        "is right most often (majority) 0.650 (95 % interval 0.550 to 0.750): a difference of "
        "+0.050 (95 % interval -0.020 to +0.120), not settled."
    ) in discussion["ct"].conclusion
    for dataset, section in discussion.items():
        said = [s for s in section.conclusion if "best shortcut" in s]
        assert len(said) == len(results.datasets[dataset].cases)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.3, -0.1, "settled in favour of the shortcut."), (-0.1, 0.1, "not settled.")],
)
def test_a_case_that_does_not_beat_its_shortcut_is_said_not_to(
    files: Files, low: float, high: float, said: str
) -> None:
    files.cases["full-ce"].headline |= {"difference_low": low, "difference_high": high}
    conclusion = discuss_ct(files).conclusion
    assert next(s for s in conclusion if "AUROC of full-ce" in s).endswith(said)


def test_a_case_that_cannot_be_compared_with_its_shortcut_is_named(files: Files) -> None:
    nothing = dict.fromkeys(files.cases["full-ce"].headline)
    files.cases["full-ce"].headline = nothing | {
        "n": 60,
        "shortcut": "file",
        "most_accurate": "file",
    }
    assert ("full-ce is not compared with its best shortcut, file: no interval.") in discuss_ct(
        files
    ).conclusion


Told = tuple[float, float, float, float, float | None]


def set_shortcuts(files: Files, view: str, **figures: Told) -> None:
    """AUROC of the positive class, ends and p-values, of the probes named; 0.5 of all others."""
    for probe, found in files.audits[view]["probes"].items():
        names = ("auroc", "auroc_low", "auroc_high", "p_value", "p_value_holm")
        told = figures.get(probe, (0.5, 0.4, 0.6, 0.5, 1.0))
        found["by_class"]["covid"] = dict(zip(names, told, strict=True))


def test_shortcuts_that_tell_the_positive_class_are_named_the_best_first(files: Files) -> None:
    telling = {"border": (0.7, 0.49, 0.8, 0.01, 0.04), "file": (0.996, 0.984, 1.0, 0.001, 0.005)}
    shown = {"lungs_only": (0.9, 0.8, 1.0, 0.001, None), "thumbnail": (0.8, 0.7, 0.9, 0.001, None)}
    set_shortcuts(files, "full", **telling, **shown)
    assert (
        "Shortcuts that tell covid from the rest in the view full, by AUROC: "
        "file 0.996 (95 % interval 0.984 to 1.000), p = 0.001, adjusted p = 0.005; "
        "border 0.700 (95 % interval 0.490 to 0.800), p = 0.010, adjusted p = 0.040."
    ) in discuss_ct(files).conclusion


def test_a_view_in_which_no_shortcut_tells_is_said_to_have_none(files: Files) -> None:
    # By its interval it would tell, and by its p-value alone.
    set_shortcuts(files, "full", border=(0.6, 0.51, 0.7, 0.02, 0.06))
    said = "No shortcut is seen to tell covid from the rest in the view full."
    assert said in discuss_ct(files).conclusion


def test_an_external_test_is_told_with_its_case(results: Results) -> None:
    discussion = build_discussion(results)
    assert discussion["ct"].conclusion[-1].startswith("External test elsewhere: lungs-bce as it is")
    assert not any("External" in sentence for sentence in discussion["labels"].conclusion)
