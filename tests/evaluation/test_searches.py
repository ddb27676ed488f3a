import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.params import Search
from stages.evaluation.metrics import CRITERIA
from stages.evaluation.outcomes import Outcomes
from stages.evaluation.searches import Choice, Searched, run_searches
from stages.evaluation.statistics.records import Bootstrap

BOOTSTRAP = Bootstrap(draws=100, seed=42)
CANDIDATES = ("full-ce", "lungs-bce")


def rows(sure: float, *, fold: int = 1, first: int = 0, right: int = 12) -> pd.DataFrame:
    """Of 12 images, a patient each: those of their own class with this probability, all `right`.

    The others have as much of the other class, so that a log loss is easy to tell.
    """
    images = range(first, first + 12)
    labels = ["covid" if image % 2 else "normal" for image in images]
    of_own = [sure if number < right else 1 - sure for number in range(12)]
    covid = [own if name == "covid" else 1 - own for own, name in zip(of_own, labels, strict=True)]
    return pd.DataFrame(
        {
            "image_id": [f"i{image}" for image in images],
            "group_id": [f"g{image}" for image in images],
            "fold": str(fold),
            "label": labels,
            "prediction": ["covid" if share > 0.5 else "normal" for share in covid],
            "prob_normal": [1 - share for share in covid],
            "prob_covid": covid,
        }
    )


def search_of(
    outcomes: Outcomes,
    said: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    by: str = "log_loss",
    **sections: Any,
) -> Searched:
    """Of cases by their validation and test rows."""
    cases = {
        name: replace(outcomes.cases[name], val=val, test=test)
        for name, (val, test) in said.items()
    }
    search = Search.model_validate({"cases": list(said), "by": by})
    params = outcomes.params.model_copy(update={"searches": {"of-two": search}, **sections})
    return run_searches(replace(outcomes, params=params, cases=cases), BOOTSTRAP)["of-two"]


def test_validation_chooses_though_another_is_better_on_test(outcomes: Outcomes) -> None:
    found = search_of(
        outcomes,
        {
            "full-ce": (rows(0.6), rows(0.99, first=20)),
            "lungs-bce": (rows(0.9), rows(0.7, first=20)),
        },
    )
    assert found.choices == [Choice(None, "lungs-bce")]
    log_loss = {part: getattr(found, part).metrics["log_loss"].value for part in ("val", "test")}
    assert log_loss["val"] == pytest.approx(-math.log(0.9), abs=1e-6)
    assert log_loss["test"] == pytest.approx(-math.log(0.7), abs=1e-6)
    assert found.optimism == pytest.approx(math.log(0.9 / 0.7), abs=2e-6)


@pytest.mark.parametrize("by", ["auroc", "balanced_accuracy"])
def test_of_what_grows_with_quality_the_highest_is_chosen(outcomes: Outcomes, by: str) -> None:
    test = rows(0.9, first=20, right=6)
    found = search_of(
        outcomes, {"full-ce": (rows(0.9, right=8), test), "lungs-bce": (rows(0.9), test)}, by
    )
    assert found.choices == [Choice(None, "lungs-bce")]
    assert found.optimism is not None
    assert found.optimism > 0


def test_of_equal_candidates_the_first_is_chosen(outcomes: Outcomes) -> None:
    said = {name: (rows(0.8), rows(0.8, first=20)) for name in CANDIDATES}
    assert search_of(outcomes, said).choices == [Choice(None, CANDIDATES[0])]


def in_folds(
    outcomes: Outcomes, held_out: str
) -> tuple[dict[str, tuple[pd.DataFrame, pd.DataFrame]], dict[str, Any]]:
    """Two candidates, each the better one on the validation images of one of two folds."""
    protocol = outcomes.params.protocol("five-folds")
    protocol = protocol.model_copy(update={"folds": 2, "held_out": held_out})
    cases = {
        name: outcomes.params.case(name).model_copy(update={"protocol": "two-folds"})
        for name in CANDIDATES
    }
    said = {
        name: (
            pd.concat([rows(val_1, fold=1), rows(val_2, fold=2, first=20)]),
            pd.concat([rows(test_1, fold=1, first=40), rows(test_2, fold=2, first=60)]),
        )
        for name, (val_1, val_2, test_1, test_2) in {
            "full-ce": (0.9, 0.6, 0.8, 0.99),
            "lungs-bce": (0.55, 0.7, 0.99, 0.7),
        }.items()
    }
    return said, {"cases": cases, "protocols": {"two-folds": protocol}, "comparisons": {}}


def test_where_folds_are_tested_each_chooses_for_itself(outcomes: Outcomes) -> None:
    said, sections = in_folds(outcomes, "test")
    found = search_of(outcomes, said, **sections)
    assert found.choices == [Choice(1, "full-ce"), Choice(2, "lungs-bce")]
    chosen_loss = -(math.log(0.8) + math.log(0.7)) / 2
    assert found.test.metrics["log_loss"].value == pytest.approx(chosen_loss, abs=1e-6)
    assert (found.test.n, found.val.n) == (24, 24)
    assert found.set_aside == []


def test_where_folds_validate_there_is_one_choice_over_all_of_them(outcomes: Outcomes) -> None:
    said, sections = in_folds(outcomes, "val")
    found = search_of(outcomes, said, **sections)
    assert found.choices == [Choice(None, "full-ce")]
    chosen_loss = -(math.log(0.8) + math.log(0.99)) / 2
    assert found.test.metrics["log_loss"].value == pytest.approx(chosen_loss, abs=1e-6)
    assert found.set_aside == ["lungs-bce"]


@pytest.mark.parametrize("named", ["comparisons", "weights"])
def test_what_is_compared_or_started_from_is_not_set_aside(outcomes: Outcomes, named: str) -> None:
    said = {
        name: (rows(sure), rows(0.8)) for name, sure in zip(CANDIDATES, (0.9, 0.6), strict=True)
    }
    sections: dict[str, Any] = {"comparisons": {}}
    assert search_of(outcomes, said, **sections).set_aside == ["lungs-bce"]
    if named == "weights":
        params = outcomes.params
        start = params.case("full-ce").model_copy(update={"weights": "lungs-bce"})
        sections["cases"] = params.cases | {"full-ce": start}
    else:
        sections[named] = getattr(outcomes.params, named)
    assert search_of(outcomes, said, **sections).set_aside == []


def test_a_criterion_without_a_value_is_said(outcomes: Outcomes) -> None:
    val = rows(0.8)
    val = val[val["label"] == "covid"]
    said = {name: (val, rows(0.8)) for name in CANDIDATES}
    with pytest.raises(UserError, match=r"searches.of-two.by: auroc has no value .* log_loss"):
        search_of(outcomes, said, "auroc")


def test_searches_can_be_by_every_criterion_that_is_written_down() -> None:
    assert get_args(Search.model_fields["by"].annotation) == CRITERIA
