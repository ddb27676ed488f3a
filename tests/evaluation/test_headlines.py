from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from stages.evaluation.headlines import build_headlines
from stages.evaluation.intervals import metrics_with_intervals
from stages.evaluation.scored import score_rows
from stages.reporting.results import Results


def auroc_of(results: Results, case: str, rows: pd.DataFrame) -> float | None:
    info = results.datasets[results.dataset_of(case)].info
    table = metrics_with_intervals(
        score_rows(rows, info),
        class_names=info.class_names,
        positive=info.positive_index,
        draws=2,
        seed=0,
    )
    return table.values["auroc"]


def rows_under_test(results: Results, case: str) -> pd.DataFrame:
    return results.cases[case].predictions.query("split == 'test'")


def test_every_case_has_its_score_that_of_the_shortcut_and_their_difference(
    results: Results,
) -> None:
    headlines = build_headlines(results)
    assert list(headlines) == list(results.cases)
    for case, found in headlines.items():
        for name in ("auroc", "shortcut_auroc", "difference"):
            ends = [found[f"{name}{end}"] for end in ("_low", "", "_high")]
            assert all(low <= high for low, high in pairwise(ends)), (case, name)
        difference = found["auroc"] - found["shortcut_auroc"]
        assert found["difference"] == pytest.approx(difference, abs=2e-6)


def test_both_are_scored_on_the_test_images_of_the_case_alone(results: Results) -> None:
    found = build_headlines(results)["labels-bce"]
    test = rows_under_test(results, "labels-bce")
    audited = results.audit_predictions["labels-full"].query("probe == 'border'")
    assert len(audited) > len(test)
    beside = audited[audited["image_id"].isin(test["image_id"])]
    assert found["n"] == len(test)
    assert found["auroc"] == auroc_of(results, "labels-bce", test)
    assert found["shortcut_auroc"] == auroc_of(results, "labels-bce", beside)
    assert found["shortcut_auroc"] != auroc_of(results, "labels-bce", audited)


def test_a_case_is_held_against_the_best_shortcut_of_its_own_view(results: Results) -> None:
    results.audits["lungs"]["best_shortcut"] = "file"
    headlines = build_headlines(results)
    assert {case: found["shortcut"] for case, found in headlines.items()} == {
        "full-ce": "border",
        "lungs-bce": "file",
        "lungs-folds": "file",
        "labels-bce": "border",
    }
    # The border knows more than the file, in the made-up audits.
    assert headlines["full-ce"]["shortcut_auroc"] > headlines["lungs-bce"]["shortcut_auroc"]


def test_an_image_that_several_runs_test_counts_once(results: Results) -> None:
    test = rows_under_test(results, "lungs-bce")
    runs = pd.concat([test.assign(seed="1"), test.assign(seed="2")])
    case = replace(results.cases["lungs-bce"], predictions=runs)
    twice = build_headlines(replace(results, cases={"lungs-bce": case}))["lungs-bce"]
    once = build_headlines(results)["lungs-bce"]
    assert twice == once


def test_a_case_that_knows_as_much_as_the_shortcut_gains_nothing(results: Results) -> None:
    probe = results.audit_predictions["full"].query("probe == 'border'")
    own = results.cases["full-ce"].predictions.drop(
        columns=["prediction", "prob_normal", "prob_covid"]
    )
    as_shortcut = own.merge(probe.drop(columns=["group_id", "label", "probe"]), on="image_id")
    case = replace(results.cases["full-ce"], predictions=as_shortcut)
    found = build_headlines(replace(results, cases={"full-ce": case}))["full-ce"]
    ends = [found[f"difference{end}"] for end in ("_low", "", "_high")]
    assert ends == [0.0, 0.0, 0.0]


def test_a_figure_that_has_no_value_is_none(results: Results) -> None:
    predictions = results.cases["full-ce"].predictions.query("label == 'normal'")
    case = replace(results.cases["full-ce"], predictions=predictions)
    found = build_headlines(replace(results, cases={"full-ce": case}))["full-ce"]
    figures = [f"{n}{e}" for n in ("auroc", "shortcut_auroc", "difference") for e in ("", "_low")]
    assert [found[name] for name in figures] == [None] * 6
    assert found["n"] > 0
