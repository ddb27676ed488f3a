"""Forest plots: figures with their intervals, a row each, on scales that the rows share.

The page draws them inside a table, so that they can be read aloud, copied and scrolled. Places are
in percent of a plot's width.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stages.evaluation.statistics.records import Estimate
from stages.reporting.cases import rank
from stages.reporting.documents import Comparison
from stages.reporting.results import CaseResults, DatasetResults
from stages.reporting.shortcuts import probe_label
from stages.reporting.wording import (
    OPTIMISTIC,
    as_text,
    difference_text,
    is_settled,
    label,
    standing,
    with_interval,
)

METRICS = ("auroc", "balanced_accuracy")
CHECK = "\N{CHECK MARK}"  # behind what is settled
MOST_TICKS = 6
STEPS = (0.05, 0.1, 0.2, 0.5)  # between ticks, the finest that is not too many


class Tick(NamedTuple):
    """A number on a scale."""

    at: float
    text: str


class Scale(NamedTuple):
    """What a plot shows, from its left to its right."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """In percent from the left."""
        return round(100 * (value - self.low) / (self.high - self.low), 1)

    @property
    def ticks(self) -> list[Tick]:
        """Round numbers, both ends among them where they are round."""
        width = self.high - self.low
        step = next((s for s in STEPS if width / s < MOST_TICKS), STEPS[-1])
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.place(n * step), f"{n * step:g}") for n in range(first, last + 1)]


class Point(NamedTuple):
    """A figure, and the ends of its interval, which may have none."""

    at: float
    low: float | None
    high: float | None


class Plot(NamedTuple):
    """A cell: marks on a scale, and what they say.

    Attributes:
        reference: of chance, or of no difference.
        point: the figure; None where it is undefined.
        beside: that of the best shortcut, drawn hollow; None where there is none.
        is_filled: whether the figure's own mark is.
        text: the figure in short.
        said: all of it in words.
    """

    reference: float
    point: Point | None
    beside: Point | None
    is_filled: bool
    text: str
    said: str


class Row(NamedTuple):
    """A case or a comparison, with a plot per column of the forest."""

    name: str
    note: str
    is_best: bool
    plots: list[Plot]


class Group(NamedTuple):
    """Rows of one data set."""

    dataset: str
    rows: list[Row]


class Column(NamedTuple):
    """A heading with its scale."""

    title: str
    ticks: list[Tick]


class Forest(NamedTuple):
    """All rows, by data set."""

    caption: str
    columns: list[Column]
    groups: list[Group]


def draw_case_forest(datasets: Mapping[str, DatasetResults]) -> Forest:
    """Test figures of all cases, each beside its best shortcut; data sets share the scales."""
    scales = {metric: _scale_of_cases(datasets.values(), metric) for metric in METRICS}
    return Forest(
        "Test figures of all cases with 95 % intervals, beside the best shortcut of each view",
        [Column(_heading(metric), scale.ticks) for metric, scale in scales.items()],
        [Group(name, _case_rows(dataset, scales)) for name, dataset in datasets.items()],
    )


def _heading(metric: str) -> str:
    name = label(metric)
    return name[0].upper() + name[1:]


def _scale_of_cases(datasets: Iterable[DatasetResults], metric: str) -> Scale:
    """From the lowest of all that is drawn, in tenths, to 1."""
    drawn = [1.0]
    for dataset in datasets:
        drawn.append(chance_of(metric, len(dataset.info.class_names)))
        for case in dataset.cases:
            for found in (case.figures.get(metric), shortcut_of(case, dataset, metric)):
                drawn += [value for value in found[:3] if value is not None]
    return Scale(math.floor(10 * min(drawn) + 1e-9) / 10, 1.0)


def chance_of(metric: str, n_classes: int) -> float:
    """What a case that knows nothing reaches."""
    return 0.5 if metric == "auroc" else 1 / n_classes


def shortcut_of(case: CaseResults, dataset: DatasetResults, metric: str) -> Estimate:
    """The best shortcut's figure: AUROC on the case's test images, else over its whole view.

    An optimistic case is held against none.
    """
    if case.headline is None:
        return Estimate(None)
    if metric == "auroc":
        return case.headline.shortcut_auroc
    return dataset.audits[case.settings.view].probes[case.headline.shortcut].balanced_accuracy


def _case_rows(dataset: DatasetResults, scales: Mapping[str, Scale]) -> list[Row]:
    honest = {case.name: case.figures for case in dataset.cases if not case.is_optimistic}
    best = rank(honest)[:1]
    return [
        Row(
            case.title,
            "; ".join(mark.note for mark in case.marks),
            case.name in best,
            [_case_plot(case, dataset, metric, scale) for metric, scale in scales.items()],
        )
        for case in dataset.cases
    ]


def _case_plot(case: CaseResults, dataset: DatasetResults, metric: str, scale: Scale) -> Plot:
    own, shortcut = case.figures.get(metric), shortcut_of(case, dataset, metric)
    chance = chance_of(metric, len(dataset.info.class_names))
    said = f"{with_interval(own)}; chance {as_text(chance)}"
    if case.headline is not None:
        name = probe_label(case.headline.shortcut)
        said += f"; best shortcut ({name}) {with_interval(shortcut)}"
    return Plot(
        scale.place(chance),
        _place(own, scale),
        _place(shortcut, scale),
        is_filled=True,
        text=as_text(own.value),
        said=said,
    )


def _place(found: Estimate, scale: Scale) -> Point | None:
    if found.value is None:
        return None
    low, high = (None if end is None else scale.place(end) for end in (found.low, found.high))
    return Point(scale.place(found.value), low, high)


def draw_comparison_forest(datasets: Mapping[str, DatasetResults]) -> Forest | None:
    """Differences of all named comparisons, those settled filled; None where none is named."""
    named = {name: dataset for name, dataset in datasets.items() if dataset.comparisons}
    if not named:
        return None
    comparisons = [found for dataset in named.values() for found in dataset.comparisons.values()]
    scales = {metric: _scale_of_differences(comparisons, metric) for metric in METRICS}
    return Forest(
        "Named comparisons: the first case minus the second, with 95 % intervals",
        [Column(_heading(metric), scale.ticks) for metric, scale in scales.items()],
        [
            Group(
                dataset,
                [
                    _comparison_row(name, comparison, scales)
                    for name, comparison in found.comparisons.items()
                ],
            )
            for dataset, found in named.items()
        ],
    )


def _scale_of_differences(comparisons: Sequence[Comparison], metric: str) -> Scale:
    """In tenths, with 0 in it."""
    drawn = [0.0]
    for comparison in comparisons:
        difference = comparison.test.metrics[metric].difference
        drawn += [value for value in difference[:3] if value is not None]
    low, high = math.floor(10 * min(drawn) + 1e-9) / 10, math.ceil(10 * max(drawn) - 1e-9) / 10
    return Scale(low, high) if low < high else Scale(-0.1, 0.1)


def _comparison_row(name: str, found: Comparison, scales: Mapping[str, Scale]) -> Row:
    return Row(
        name + (OPTIMISTIC.sign if found.optimistic else ""),
        "",
        False,
        [_comparison_plot(found, metric, scale) for metric, scale in scales.items()],
    )


def _comparison_plot(found: Comparison, metric: str, scale: Scale) -> Plot:
    difference = found.test.metrics[metric].difference
    verdict = standing(difference, found.first, found.second)
    settled = is_settled(difference)
    figures = f"{difference_text(difference)}, " if difference.has_interval else ""
    return Plot(
        scale.place(0),
        _place(difference, scale),
        None,
        is_filled=settled,
        text=as_text(difference.value, "+") + (f" {CHECK}" if settled else ""),
        said=f"{found.first} minus {found.second}: {figures}{verdict}",
    )
