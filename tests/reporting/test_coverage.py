import itertools

import pandas as pd
import pytest

from stages.config.csv_file import read_csv
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Estimate
from stages.reporting import coverage
from stages.reporting.cases import build_headline_table
from stages.reporting.coverage import (
    Sample,
    describe_coverage,
    find_coverage,
    sample_of,
    with_coverage,
)
from stages.reporting.table import Cell, Table
from tests.benchmarks.coverage import AUROCS, METRICS, PREVALENCES, SIZES
from tests.reporting.conftest import Files, make_coverage

IN_THE_MIDDLE = Sample(n=50, n_groups=25, prevalence=0.3, auroc=0.9)


def simulated(monkeypatch: pytest.MonkeyPatch, held: float, **at: object) -> None:
    """All intervals hold 95 %, but for those of one design."""
    table = make_coverage(0.95)
    chosen = pd.Series(True, index=table.index)
    for column, value in at.items():
        chosen &= table[column] == value
    assert chosen.any()
    table.loc[chosen, "coverage"] = held
    monkeypatch.setattr(coverage, "load_coverage", lambda: table)


def test_the_worst_of_the_designs_on_either_side_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for at in (
        {"n": 20, "clustered": 0.0, "prevalence": 0.5, "auroc": 0.97},
        {"n": 100, "clustered": 1.0, "prevalence": 0.1, "auroc": 0.8},
    ):
        simulated(monkeypatch, 0.8, **at)
        assert find_coverage("accuracy", IN_THE_MIDDLE) == 0.8


@pytest.mark.parametrize(
    "sample",
    [
        IN_THE_MIDDLE._replace(n=100, n_groups=50),
        IN_THE_MIDDLE._replace(n=5000, n_groups=2500),
        IN_THE_MIDDLE._replace(n_groups=50),  # an image per patient
        IN_THE_MIDDLE._replace(prevalence=0.5),
        IN_THE_MIDDLE._replace(auroc=0.6),
    ],
)
def test_designs_further_away_are_not_asked(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated(monkeypatch, 0.8, n=20, clustered=1.0, prevalence=0.1, auroc=0.97)
    assert find_coverage("accuracy", IN_THE_MIDDLE) == 0.8
    assert find_coverage("accuracy", sample) == 0.95


def test_an_interval_too_wide_is_as_far_off_as_one_too_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated(monkeypatch, 0.999, n=20)
    assert find_coverage("accuracy", IN_THE_MIDDLE) == 0.999


def test_with_more_positives_than_negatives_the_rates_change_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated(monkeypatch, 0.8, metric="specificity", prevalence=0.1)
    mostly_ill = IN_THE_MIDDLE._replace(prevalence=0.9)
    assert find_coverage("sensitivity", mostly_ill) == 0.8
    assert find_coverage("specificity", mostly_ill) == 0.95


def test_what_was_not_simulated_has_no_coverage() -> None:
    assert find_coverage("auroc_lungs_hidden", IN_THE_MIDDLE) is None
    assert find_coverage("auroc", IN_THE_MIDDLE._replace(auroc=None)) == 0.95


@pytest.mark.parametrize(
    ("held", "note"),
    [(0.9, "0.400 to 0.600; ¶ 90%"), (0.998, "0.400 to 0.600; ¶ 100%"), (None, "0.400 to 0.600")]
    + [(near, "0.400 to 0.600") for near in (0.93, 0.926, 0.95, 0.97, 0.974)],
)
def test_only_what_is_not_near_95_percent_is_marked(held: float | None, note: str) -> None:
    cell = Cell("0.500", "0.400 to 0.600")
    assert with_coverage(cell, Estimate(0.5, 0.4, 0.6), held).note == note
    assert with_coverage(Cell("0.500"), Estimate(0.5), held) == Cell("0.500")


def test_a_bad_design_is_marked_in_the_table_of_cases_and_explained(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = files.load().datasets["ct"]
    assert describe_coverage([build_headline_table(dataset)]) == ""
    simulated(monkeypatch, 0.88, figure="metric", metric="sensitivity")
    table = build_headline_table(dataset)
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["sensitivity"].note == "0.400 to 0.600; ¶ 88%"
    assert cells["specificity"].note == "0.400 to 0.600"
    assert describe_coverage([table]).startswith("¶: on simulated test sets")
    assert describe_coverage([Table("", [], [[Cell("", "as it is")]])]) == ""


def test_a_case_is_held_against_sets_like_its_own(files: Files) -> None:
    case = files.load().cases["full-ce"]
    counts = case.report.test.confusion_matrix
    assert sample_of(case) == (60, 30, sum(counts[1]) / sum(map(sum, counts)), 0.5)


def test_every_figure_was_simulated_in_every_design() -> None:
    table = read_csv(coverage.COVERAGE)
    figures = [("metric", m) for m in METRICS] + [("difference", m) for m in HEADLINE_METRICS]
    expected = {
        (*figure, *design)
        for figure in figures
        for design in itertools.product(SIZES, (False, True), PREVALENCES, AUROCS)
    }
    columns = ["figure", "metric", "n", "clustered", "prevalence", "auroc"]
    found = [tuple(row) for row in table[columns].itertuples(index=False)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert table["coverage"].between(0, 1).all()
    assert (table["mean_width"] > 0).all()
    assert (table["replicates"] >= 400).all()
