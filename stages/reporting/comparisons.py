"""The named comparisons of a data set: one table, and sentences on each."""

from collections.abc import Iterator, Mapping, Sequence

from stages.evaluation.statistics.records import Estimate
from stages.reporting.cases import describe_runs
from stages.reporting.coverage import Sample, find_coverage, with_coverage
from stages.reporting.differences import describe_differences
from stages.reporting.documents import (
    CaseFigures,
    Compared,
    ComparedMaps,
    Comparison,
    McnemarTest,
)
from stages.reporting.optimism import describe_worth
from stages.reporting.table import (
    Cell,
    Table,
    count_cell,
    difference_cell,
    marked_cell,
    p_value_cell,
)
from stages.reporting.wording import (
    DISCUSSED,
    METHOD_NAMES,
    OPTIMISTIC,
    Mark,
    difference_text,
    ends_text,
    label,
    p_values_text,
    percent,
    power_text,
    standing,
    with_interval,
)


def build_comparison_table(
    comparisons: Mapping[str, Comparison],
    marks: Mapping[str, Sequence[Mark]],
    samples: Mapping[str, Sample],
) -> Table:
    """First minus second case on the test images of both, with each test's adjusted p-value.

    Args:
        comparisons: by name.
        marks: of each case; a comparison has those of both.
        samples: of each case.
    """
    return Table(
        "Comparisons: the first case minus the second, on the test images of both; p-values "
        "adjusted by Holm's method over all named comparisons",
        [
            *("comparison", "first", "second", "images"),
            *("balanced accuracy", "p, bootstrap", "AUROC", "p, bootstrap"),
            *("AUROC, DeLong", "p, DeLong", "right in the first only", "in the second only"),
            "p, McNemar",
        ],
        [
            [
                marked_cell(name, _marks_of_both(found, marks)),
                *_comparison_cells(found, samples[found.first]),
            ]
            for name, found in comparisons.items()
        ],
    )


def _marks_of_both(found: Comparison, marks: Mapping[str, Sequence[Mark]]) -> list[Mark]:
    return list(dict.fromkeys([*marks[found.first], *marks[found.second]]))


def _comparison_cells(found: Comparison, sample: Sample) -> list[Cell]:
    mcnemar, test = found.mcnemar, found.test
    sample = sample._replace(n=test.n, n_groups=test.n_groups)
    return [
        Cell(found.first),
        Cell(found.second),
        count_cell(found.test.n),
        *(
            cell
            for metric in DISCUSSED
            for cell in _tested_cells(
                test.metrics[metric].difference, find_coverage(metric, sample, "difference")
            )
        ),
        *_tested_cells(found.delong, None),
        count_cell(mcnemar.n_only_first),
        count_cell(mcnemar.n_only_second),
        p_value_cell(mcnemar.p_value, mcnemar.p_value_holm),
    ]


def _tested_cells(difference: Estimate, held: float | None) -> list[Cell]:
    """A difference, with what could have been settled where it is not, and its p-value."""
    power = power_text(difference)
    shown = difference_cell(difference).with_note(f"{power} settled" if power else "")
    return [
        with_coverage(shown, difference, held),
        p_value_cell(difference.p_value, difference.p_value_holm),
    ]


def discuss(found: Comparison, figures: Mapping[str, CaseFigures]) -> list[str]:
    """What a named comparison shows, a sentence or two per finding, the verdict last.

    Args:
        found: the comparison.
        figures: of both cases, by name.
    """
    first, second = found.first, found.second
    return [
        describe_differences(first, second, found.differs),
        *describe_worth(found),
        *_coverage_sentences(first, second, found.test),
        *(s for case in dict.fromkeys((first, second)) for s in describe_runs(case, figures[case])),
        *_metric_sentences(found, "", found.test),
        _delong_sentence(found.positive, found.delong),
        _mcnemar_sentence(first, second, found.mcnemar),
        *(
            s
            for name, part in found.subgroups.items()
            for s in _metric_sentences(found, name, part)
        ),
        *(_map_sentence(METHOD_NAMES[m], first, second, maps) for m, maps in found.maps.items()),
        _verdict_sentence(found),
    ]


def _coverage_sentences(first: str, second: str, found: Compared) -> Iterator[str]:
    """Which test images are not compared, and who scores an image more than once."""
    for case, other, n_only, n_rows in (
        (first, second, found.n_only_first, found.n_rows_first),
        (second, first, found.n_only_second, found.n_rows_second),
    ):
        if n_only:
            yield f"{n_only} test images of {case} are left out: {other} is not tested on them."
        if n_rows > found.n:
            yield (
                f"{case} has several models for an image, {n_rows} predictions for {found.n} "
                "images; each counts."
            )


def _metric_sentences(comparison: Comparison, stratum: str, found: Compared) -> Iterator[str]:
    first, second = comparison.first, comparison.second
    images = f"the {found.n} test images {f'of {stratum} ' if stratum else ''}"
    for metric in DISCUSSED:
        where = f"On {images}({found.n_groups} groups) {label(metric)}"
        pair = found.metrics[metric]
        if not pair.difference.has_interval:
            yield f"{where} is not compared: {pair.difference.why_undefined}."
            continue
        yield (
            f"{where} is {with_interval(pair.first)} for {first} and {with_interval(pair.second)} "
            f"for {second}: a difference of {difference_text(pair.difference)}, "
            f"{standing(pair.difference, first, second)}."
        )


def _delong_sentence(positive: str, test: Estimate) -> str:
    what = f"DeLong's test of the AUROC of {positive} against the rest"
    if not test.has_interval:
        return f"{what} is not made: {test.why_undefined}."
    return f"{what}: a difference of {difference_text(test)}."


def _mcnemar_sentence(first: str, second: str, test: McnemarTest) -> str:
    if test.p_value is None:
        return f"McNemar's test of the accuracy is not made: {test.undefined}."
    return (
        f"McNemar's test of the accuracy: {test.n_only_first} images are right for {first} alone "
        f"and {test.n_only_second} for {second} alone "
        f"({p_values_text(test.p_value, test.p_value_holm)})."
    )


def _map_sentence(method: str, first: str, second: str, maps: ComparedMaps) -> str:
    difference = maps.difference
    if not difference.has_interval:
        return f"{method}: too few maps to compare."
    # More is not better by itself: lungs fill more of a lung crop than of a whole picture.
    verdict = standing(difference, first, second, ahead="as more for")
    return (
        f"{method} puts {percent(maps.in_lungs_first)} of its weight inside the lungs for {first} "
        f"and {percent(maps.in_lungs_second)} for {second} (difference {difference.value:+.2f}, "
        f"95 % interval {ends_text(difference, '+', decimals=2)}, {verdict}; {maps.n} images); "
        f"a constant map would put {percent(maps.lungs_area_first)} and "
        f"{percent(maps.lungs_area_second)} there."
    )


def _verdict_sentence(found: Comparison) -> str:
    """What is settled and what is not, over all test images and in each stratum."""
    strata = {"on all test images": found.test}
    strata |= {f"on images of {name}": part for name, part in found.subgroups.items()}
    said = [
        f"{where}, " + ", ".join(f"{label(m)} {_standing_of(found, part, m)}" for m in DISCUSSED)
        for where, part in strata.items()
    ]
    return f"Verdict{_sign(found)}: {'; '.join(said)}."


def _sign(found: Comparison) -> str:
    """What a comparison with an optimistic case carries wherever it is summed up."""
    return OPTIMISTIC.sign if found.optimistic else ""


def _standing_of(comparison: Comparison, part: Compared, metric: str) -> str:
    return standing(part.metrics[metric].difference, comparison.first, comparison.second)


def describe_settled(comparisons: Mapping[str, Comparison]) -> list[str]:
    """Which of the comparisons are settled, by metric."""
    if not comparisons:
        return ["No comparison is named for this data set."]
    return [
        f"By {label(metric)}, on all test images: "
        + "; ".join(
            f"{name}{_sign(found)} {_standing_of(found, found.test, metric)}"
            for name, found in comparisons.items()
        )
        + "."
        for metric in DISCUSSED
    ]
