"""Searches: of several cases the one that is best on validation images, and that one tested.

The best of many test figures is partly the luckiest (Cawley and Talbot 2010, "On Over-fitting in
Model Selection and Subsequent Selection Bias in Performance Evaluation"). So candidates are held
against each other on validation images, and the chosen one alone is looked at on test images.

Where every fold is the test set of its models, the images that validate one fold test another.
There the choice is made anew in each fold and tested on that fold: nested cross-validation (Varma
and Simon 2006, "Bias in error estimation when using cross-validation for model selection").
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import Params, Search
from stages.config.progress import progress
from stages.dataset.task import Task
from stages.evaluation.metrics import (
    CRITERIA,
    SHRINKING,
    compute_metrics,
    metric_requirements,
)
from stages.evaluation.outcomes import Outcomes
from stages.evaluation.scored import draw_metrics, score_rows
from stages.evaluation.statistics.bootstrap import estimate
from stages.evaluation.statistics.records import Bootstrap, Estimates, flatten, select
from stages.evaluation.statistics.rounding import rounded


class Choice(NamedTuple):
    """The case that was best on the validation images of a fold; of all runs where it is None."""

    fold: int | None
    case: str


class Figures(NamedTuple):
    """What cases are worth on some images: every criterion."""

    n: int
    n_groups: int
    metrics: Estimates

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, task: Task, bootstrap: Bootstrap) -> Self:
        """Of rows of predictions."""
        found = estimate(draw_metrics(score_rows(rows, task), task, bootstrap))
        n, n_groups = (int(rows[column].nunique()) for column in ("image_id", "group_id"))
        return cls(n, n_groups, select(found, CRITERIA))

    def to_json(self) -> dict[str, Any]:
        """All of it on one level, and why figures have no value."""
        flat = flatten(self.metrics)
        counts = {"n": self.n, "n_groups": self.n_groups}
        return {**counts, **flat.values, "undefined": flat.undefined}


class Searched(NamedTuple):
    """What became of a search.

    Attributes:
        by: the criterion.
        candidates: each on all validation images.
        choices: one, or one per fold.
        val: of the chosen, on the validation images that they were chosen on.
        test: of the chosen, each on the test images of its fold.
        set_aside: candidates that were not chosen, and that no comparison and no other case names.
    """

    by: str
    candidates: Mapping[str, Figures]
    choices: Sequence[Choice]
    val: Figures
    test: Figures
    set_aside: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """As metrics/searches.json has it."""
        return {
            "by": self.by,
            "candidates": {name: found.to_json() for name, found in self.candidates.items()},
            "choices": [choice._asdict() for choice in self.choices],
            "val": self.val.to_json(),
            "test": self.test.to_json(),
            "optimism": self.optimism,
            "set_aside": list(self.set_aside),
        }

    @property
    def optimism(self) -> float | None:
        """By how much the criterion was better on validation than on test images."""
        val, test = (found.metrics[self.by].value for found in (self.val, self.test))
        if val is None or test is None:
            return None
        return rounded((test - val) if self.by in SHRINKING else (val - test))


def run_searches(outcomes: Outcomes, bootstrap: Bootstrap) -> dict[str, Searched]:
    """Every search that params.yaml names.

    Raises:
        UserError: the criterion of one has no value for any of its candidates.
    """
    searches = outcomes.params.searches
    found = {
        name: _run_search(outcomes, name, search, bootstrap)
        for name, search in progress(searches.items(), "searches", len(searches))
    }
    aside = find_set_aside(outcomes.params, found)
    return {
        name: searched._replace(set_aside=[case for case in searched.candidates if case in aside])
        for name, searched in found.items()
    }


def find_set_aside(params: Params, found: Mapping[str, Searched]) -> set[str]:
    """Candidates whose test figures are no result: not chosen, compared or started from."""
    candidates = {case for searched in found.values() for case in searched.candidates}
    chosen = {choice.case for searched in found.values() for choice in searched.choices}
    elsewhere = {
        *(case for pair in params.comparisons.values() for case in pair),
        *(case.weights for case in params.cases.values()),
    }
    return candidates - chosen - elsewhere


def _run_search(outcomes: Outcomes, name: str, search: Search, bootstrap: Bootstrap) -> Searched:
    cases = {case: outcomes.cases[case] for case in search.cases}
    task = cases[search.cases[0]].task
    choices = [
        _choose(outcomes, name, search, fold) for fold in _find_folds(outcomes, search.cases[0])
    ]
    val, test = (
        pd.concat([_of_fold(getattr(cases[case], split), fold) for fold, case in choices])
        for split in ("val", "test")
    )
    return Searched(
        search.by,
        {case: Figures.of_rows(found.val, task, bootstrap) for case, found in cases.items()},
        choices,
        Figures.of_rows(val, task, bootstrap),
        Figures.of_rows(test, task, bootstrap),
    )


def _find_folds(outcomes: Outcomes, case: str) -> Sequence[int | None]:
    """The folds in each of which a choice is made; None where there is one choice."""
    protocol = outcomes.params.protocol(outcomes.params.case(case).protocol)
    if not protocol.has_folds or protocol.held_out != "test":
        return [None]
    return sorted({int(fold) for fold in outcomes.cases[case].val["fold"]})


def _of_fold(rows: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    return rows if fold is None else rows[rows["fold"] == str(fold)]


def _choose(outcomes: Outcomes, name: str, search: Search, fold: int | None) -> Choice:
    """The best candidate; of several that are equal the one that is named first."""
    figures = {
        case: _value(_of_fold(found.val, fold), found.task, search.by)
        for case in search.cases
        for found in [outcomes.cases[case]]
    }
    known = {case: value for case, value in figures.items() if value is not None}
    if not known:
        where = "" if fold is None else f" of fold {fold}"
        needs = metric_requirements(outcomes.cases[search.cases[0]].task)[search.by]
        raise UserError(
            f"params.yaml: searches.{name}.by: {search.by} has no value on the validation "
            f"images{where}: it needs {needs}; allowed here: log_loss"
        )
    sign = -1 if search.by in SHRINKING else 1
    return Choice(fold, max(known, key=lambda case: sign * known[case]))


def _value(rows: pd.DataFrame, task: Task, metric: str) -> float | None:
    return rounded(float(compute_metrics(*score_rows(rows, task)[:3], task)[metric][0]))
