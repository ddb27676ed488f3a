"""How often 95 % intervals held the truth on simulated test sets, where that is not 95 %.

The simulation is tests/benchmarks/coverage.py. A case is held against the designs on either side of
its own in images, images per patient, prevalence and AUROC; the worst of them speaks.
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.config.csv_file import read_csv
from stages.evaluation.statistics.records import Estimate
from stages.reporting.results import CaseResults
from stages.reporting.table import Cell, Table
from stages.reporting.wording import percent

COVERAGE = Path(__file__).parent / "coverage.csv"
SIGN = "¶"
HELD = (0.93, 0.97)  # what passes for 95 %, with the error of the simulation
NOMINAL = 0.95
CLUSTERED_IMAGES = 4  # per patient, of the clustered designs
OTHER_SIDE = {"sensitivity": "specificity", "specificity": "sensitivity"}


class Sample(NamedTuple):
    """What the width of an interval depends on.

    Attributes:
        n: images.
        n_groups: patients.
        prevalence: share of images of the positive class.
        auroc: of the case; None where it is undefined.
    """

    n: int
    n_groups: int
    prevalence: float
    auroc: float | None


@functools.cache
def load_coverage() -> pd.DataFrame:
    """A row per figure and design: the columns of coverage.csv."""
    table = read_csv(COVERAGE)
    return table.assign(
        clustered=table["clustered"].astype(float),
        # Nothing stands where no set had an interval.
        coverage=pd.to_numeric(table["coverage"], errors="coerce"),
    )


def sample_of(case: CaseResults) -> Sample:
    """The test images of a case; of several trainings, each image once."""
    found = case.report.test
    counts = [sum(row) for row in found.confusion_matrix]
    positive = counts[found.class_names.index(case.report.positive)]
    return Sample(
        case.figures.n_test,
        case.figures.n_test_groups,
        positive / sum(counts),
        case.figures.get("auroc").value,
    )


def with_coverage(cell: Cell, estimate: Estimate, held: float | None) -> Cell:
    """A figure with the coverage of its interval below it, where that is not near 95 %."""
    if held is None or not estimate.has_interval or HELD[0] <= round(held, 2) <= HELD[1]:
        return cell
    return cell.with_note(f"{SIGN} {percent(held)}")


def find_coverage(metric: str, sample: Sample, figure: str = "metric") -> float | None:
    """Coverage in the worst of the nearest designs; None of what was not simulated.

    Args:
        metric: such as auroc.
        sample: that the figure is of.
        figure: `metric`, or `difference` of two models.
    """
    if sample.prevalence > 0.5:  # the designs have no more positives than negatives
        sample = sample._replace(prevalence=1 - sample.prevalence)
        metric = OTHER_SIDE.get(metric, metric)
    table = load_coverage()
    cells = table[(table["figure"] == figure) & (table["metric"] == metric)]
    if cells.empty:
        return None
    for column, value in (
        ("n", sample.n),
        ("prevalence", sample.prevalence),
        ("auroc", sample.auroc),
        ("clustered", _clustering(sample)),
    ):
        if value is not None:
            cells = cells[cells[column].isin(_on_either_side(cells[column].tolist(), value))]
    held = cells["coverage"].dropna().tolist()
    return max(held, key=lambda share: abs(share - NOMINAL), default=None)


def describe_coverage(tables: Iterable[Table]) -> str:
    """What the sign means; nothing where no table has it."""
    if not any(SIGN in cell.note for table in tables for row in table.rows for cell in row):
        return ""
    return (
        f"{SIGN}: on simulated test sets as large as this one, with as many images per patient, as "
        "many positives and models about as good, 95 % intervals of this kind held the truth in so "
        "many of 100: fewer than 93, and the interval is too narrow, more than 97, and it is too "
        "wide. Figures of all test images are looked up; those without a sign are near 95."
    )


def _clustering(sample: Sample) -> float:
    """0 for an image per patient, 1 for as many as the clustered designs have."""
    extra = sample.n / max(sample.n_groups, 1) - 1
    return min(extra / (CLUSTERED_IMAGES - 1), 1.0)


def _on_either_side(values: Sequence[float], value: float) -> set[float]:
    """The next lower and the next higher of some values; where there is none, the last."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    inside = float(np.clip(value, ordered[0], ordered[-1]))
    return {float(ordered[ordered <= inside].max()), float(ordered[ordered >= inside].min())}
