from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from stages.evaluation.headlines import Headline, build_headlines
from stages.evaluation.outcomes import Outcomes, Shortcut
from stages.evaluation.scored import draw_metrics, score_rows
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.bootstrap import estimate
from stages.evaluation.statistics.records import Bootstrap, Estimate

BOOTSTRAP = Bootstrap(draws=200, seed=42)


def headlines_of(outcomes: Outcomes) -> dict[str, Headline]:
    return build_headlines(outcomes, SharedDraws(BOOTSTRAP))


def headline_of(outcomes: Outcomes, case: str, test: pd.DataFrame) -> Headline:
    """Of a case with other test rows."""
    changed = replace(outcomes.cases[case], test=test)
    return headlines_of(replace(outcomes, cases={case: changed}))[case]


def auroc_of(outcomes: Outcomes, case: str, rows: pd.DataFrame) -> Estimate:
    task = outcomes.cases[case].task
    return estimate(draw_metrics(score_rows(rows, task), task, BOOTSTRAP))["auroc"]


def test_every_case_has_its_score_that_of_the_shortcut_and_their_difference(
    outcomes: Outcomes,
) -> None:
    headlines = headlines_of(outcomes)
    assert list(headlines) == list(outcomes.cases)
    for case, headline in headlines.items():
        found = headline.to_json()
        for name in (
            *("auroc", "shortcut_auroc", "difference"),
            *("accuracy", "shortcut_accuracy", "accuracy_difference"),
        ):
            ends = [found[f"{name}{end}"] for end in ("_low", "", "_high")]
            assert all(low <= high for low, high in pairwise(ends)), (case, name)
        difference = found["auroc"] - found["shortcut_auroc"]
        assert found["difference"] == pytest.approx(difference, abs=2e-6)
        difference = found["accuracy"] - found["shortcut_accuracy"]
        assert found["accuracy_difference"] == pytest.approx(difference, abs=2e-6)


def test_both_are_scored_on_the_test_images_of_the_case_alone(outcomes: Outcomes) -> None:
    found = headlines_of(outcomes)["labels-bce"]
    test = outcomes.cases["labels-bce"].test
    audited = outcomes.shortcuts["labels-full"].rows
    assert len(audited) > len(test)
    beside = audited[audited["image_id"].isin(test["image_id"])]
    assert found.n == len(test)
    assert found.auroc.first == auroc_of(outcomes, "labels-bce", test)
    assert found.auroc.second == auroc_of(outcomes, "labels-bce", beside)
    assert found.auroc.second != auroc_of(outcomes, "labels-bce", audited)


def test_a_case_is_held_against_the_best_shortcut_of_its_own_view(outcomes: Outcomes) -> None:
    headlines = headlines_of(outcomes)
    assert {case: found.shortcut for case, found in headlines.items()} == {
        "full-ce": "border",
        "lungs-bce": "file",
        "lungs-folds": "file",
        "labels-bce": "border",
    }
    # The border knows more than the file, in the made-up audits.
    border, file = (headlines[case].auroc.second.value for case in ("full-ce", "lungs-bce"))
    assert border is not None
    assert file is not None
    assert border > file


def test_its_accuracy_is_held_against_the_probe_that_is_right_most_often(
    outcomes: Outcomes,
) -> None:
    headlines = headlines_of(outcomes)
    assert {case: found.most_accurate for case, found in headlines.items()} == {
        "full-ce": "border",
        "lungs-bce": "majority",
        "lungs-folds": "majority",
        "labels-bce": "metadata",
    }
    test = outcomes.cases["labels-bce"].test
    said = outcomes.most_accurate["labels-full"].rows.set_index("image_id")
    beside = said.loc[test["image_id"]]
    right = (beside["prediction"] == beside["label"]).mean()
    assert headlines["labels-bce"].accuracy.second.value == pytest.approx(right, abs=1e-6)


def test_an_image_that_several_runs_test_counts_once(outcomes: Outcomes) -> None:
    test = outcomes.cases["lungs-bce"].test
    runs = pd.concat([test.assign(seed="1"), test.assign(seed="2")])
    twice, once = headline_of(outcomes, "lungs-bce", runs), headlines_of(outcomes)["lungs-bce"]
    assert twice.n == once.n
    assert twice.auroc.first.value == once.auroc.first.value
    # Twice the rows do not say more: the interval is as wide, but for the quantile of Student's t.
    assert twice.auroc.first[:3] == pytest.approx(once.auroc.first[:3], abs=0.01)


def test_a_case_that_knows_as_much_as_the_shortcut_gains_nothing(outcomes: Outcomes) -> None:
    own = outcomes.cases["full-ce"].test
    said = own.drop(columns="source_path").rename(columns={"split": "probe"})
    same = replace(outcomes, shortcuts={**outcomes.shortcuts, "full": Shortcut("itself", said)})
    difference = headlines_of(same)["full-ce"].auroc.difference
    assert (difference.value, difference.p_value, difference.excludes_zero) == (0.0, 1.0, False)


def test_a_figure_that_has_no_value_is_none(outcomes: Outcomes) -> None:
    normal = outcomes.cases["full-ce"].test.query("label == 'normal'")
    found = headline_of(outcomes, "full-ce", normal).to_json()
    figures = [f"{n}{e}" for n in ("auroc", "shortcut_auroc", "difference") for e in ("", "_low")]
    assert [found[name] for name in figures] == [None] * 6
    assert found["n"] > 0


def test_a_case_of_an_optimistic_protocol_has_no_headline(outcomes: Outcomes) -> None:
    case = outcomes.cases["lungs-bce"]
    optimistic = replace(case, metrics={**case.metrics, "optimistic": True})
    cases = {**outcomes.cases, "lungs-bce": optimistic}
    found = headlines_of(replace(outcomes, cases=cases))
    assert [*found] == ["full-ce", "lungs-folds", "labels-bce"]
