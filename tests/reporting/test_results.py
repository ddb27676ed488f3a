"""Reading what the other stages wrote."""

import pandas as pd
import pytest
from pydantic import ValidationError

from stages.config.paths import Paths
from stages.evaluation.statistics.records import Estimate, of_class
from stages.reporting.documents import Calibration, Compared
from stages.reporting.map_documents import MapScores, Mean
from stages.reporting.results import Results
from tests.reporting.conftest import Files, make_calibration, make_compared


def test_a_case_comes_with_its_recipe_and_its_protocol(results: Results) -> None:
    case = results.cases["lungs-folds"]
    assert (case.settings.view, case.recipe.epochs, case.protocol.folds) == ("lungs", 2, 5)
    assert case.figures.n_runs == 5
    assert case.figures.run_means["auroc"] == 0.873
    assert [run.name for run in case.report.runs][:2] == ["fold1-seed1", "fold2-seed1"]


def test_a_figure_comes_with_its_interval(results: Results) -> None:
    # lungs-bce: 0.5 + 0.9 / 3, as the fixture has it.
    assert results.cases["lungs-bce"].figures.get("auroc") == Estimate(0.8, 0.7, 0.9)
    assert results.cases["lungs-bce"].figures.get("auroc_of-nobody") == Estimate(None)


def test_a_class_may_be_called_like_the_end_of_an_interval(files: Files) -> None:
    ends = {"": 0.5, "_low": 0.25, "_high": 0.75}
    for name in (of_class("recall", "covid"), of_class("recall", "covid_low")):
        files.cases["full-ce"].metrics |= {name + end: value for end, value in ends.items()}
    figures = files.load().cases["full-ce"].figures
    for class_name in ("covid", "covid_low"):
        assert figures.get(of_class("recall", class_name)) == Estimate(0.5, 0.25, 0.75)


def test_a_pair_comes_with_the_p_values_of_its_difference() -> None:
    pair = Compared.model_validate(make_compared(0.1, 0.05, 0.15)).metrics["auroc"]
    assert pair.first == Estimate(0.875, 0.801, 0.931)
    assert pair.second == Estimate(0.775, 0.702, 0.843)
    assert pair.difference == Estimate(0.1, 0.05, 0.15, None, 0.0125, None)


def test_why_a_difference_is_undefined_is_read() -> None:
    pair = Compared.model_validate(make_compared(None, None, None)).metrics["auroc"]
    assert pair.difference.why_undefined == "needs an image"


def test_what_stands_deeper_in_a_file_is_read() -> None:
    before = Calibration.model_validate(make_calibration([""])["before"])
    assert (before.ece, before.brier) == (0.15, Estimate(0.2, 0.1, 0.3))
    assert before.confidence == [0.55, 0.75, 0.95]
    mean = Mean.model_validate({"mean": 0.4, "low": 0.3, "high": None, "n": 6})
    assert (mean.estimate, mean.n) == (Estimate(0.4, 0.3, None), 6)


def test_a_map_lies_in_the_regions_that_are_known() -> None:
    lungs = {"in_lungs": None, "lungs_area": 0.25}
    assert list(MapScores.model_validate(lungs).regions) == ["lungs"]
    lesions = {"in_lesions": 0.5, "lesions_area": 0.1, "peak_in_lesions": 1.0}
    found = MapScores.model_validate(lungs | lesions)
    assert found.regions["lungs"].share is None
    assert (found.regions["lesions"].share, found.regions["lesions"].area) == (0.5, 0.1)


def test_a_data_set_has_its_own_cases_comparisons_views_and_external_tests(
    results: Results,
) -> None:
    ct, labels = results.datasets["ct"], results.datasets["labels"]
    assert [case.name for case in ct.cases] == ["full-ce", "lungs-bce", "lungs-folds"]
    assert ct.cases[0] is results.cases["full-ce"]
    assert (list(ct.comparisons), list(labels.comparisons)) == (["crop"], [])
    assert (list(ct.audits), list(labels.audits)) == (["full", "lungs"], ["labels-full"])
    assert (list(ct.external), list(labels.external)) == (["elsewhere"], [])
    assert (ct.strata, labels.strata) == (["marker", "no-marker"], [])


def test_text_stays_text(files: Files) -> None:
    found = files.datasets["ct"]
    found.manifest["group_id"] = [f"{number:06d}" for number in range(len(found.manifest))]
    found.rejected = pd.DataFrame({"file": ["007"], "reason": [""]})
    ct = files.load().datasets["ct"]
    assert ct.manifest["group_id"].iloc[7] == "000007"  # ids keep their zeros
    assert ct.rejected.to_numpy().tolist() == [["007", ""]]


def test_files_of_removed_cases_are_not_looked_at(files: Files) -> None:
    files.load()
    del files.cases["labels-bce"]
    settings = {k: v for k, v in files.params.cases.items() if k != "labels-bce"}
    files.update_params(cases=settings)
    results = files.load()
    assert Paths(files.root).case_metrics("labels-bce").exists()
    assert "labels-bce" not in results.cases
    assert results.datasets["labels"].cases == []


def test_records_do_not_change(results: Results) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        results.cases["full-ce"].figures.n_test = 1
