"""What a run found, on one screen: what it asked, what is settled, what not, what not to believe.

Phantoms and real images have a panel each, so that no plot and no sentence is about both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from stages.evaluation.statistics.records import Estimate
from stages.reporting.cases import CHOSEN_BY, find_at_chance, overlap, rank
from stages.reporting.documents import Comparison, Headline
from stages.reporting.forest import (
    METRICS,
    Forest,
    draw_case_forest,
    draw_comparison_forest,
)
from stages.reporting.gallery import add_map
from stages.reporting.map_documents import ExplainedImage
from stages.reporting.picture_store import Picture, PictureStore
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.shortcuts import probe_label
from stages.reporting.wording import (
    METHOD_NAMES,
    as_text,
    ends_text,
    is_settled,
    label,
)

STRIP = 6  # images of the strip, at least 2 of each data set
NAMED = 3  # names in a sentence; the others are counted

Datasets = Mapping[str, DatasetResults]


class Answer(NamedTuple):
    """The best case of a data set, what it is ahead of the next, and of the best shortcut."""

    title: str
    best: str
    lead: str
    shortcut: str


class Verdict(NamedTuple):
    """A sentence on a panel under what it answers."""

    title: str
    text: str


class StripImage(NamedTuple):
    """A test image beside its map."""

    case: str
    text: str
    is_error: bool
    original: Picture
    overlay: Picture


class OverviewPanel(NamedTuple):
    """All data sets of one kind: drawn, or not."""

    title: str
    is_phantom: bool
    answers: dict[str, Answer]
    cases: Forest
    comparisons: Forest | None
    verdicts: list[Verdict]
    strip: list[StripImage]
    method: str


class Overview(NamedTuple):
    """What a run asked, and a panel for each kind of images that it has cases on."""

    question: str
    scope: str
    panels: list[OverviewPanel]


def build_overview(results: Results, store: PictureStore) -> Overview:
    """All of it; the store takes the pictures of the strips."""
    with_cases = {name: found for name, found in results.datasets.items() if found.cases}
    kinds = {
        is_phantom: {n: d for n, d in with_cases.items() if d.info.is_phantom == is_phantom}
        for is_phantom in (False, True)
    }
    method = results.params.cam.methods[0]
    return Overview(
        results.params.study.question or "Which of the cases below tells the classes apart best?",
        _describe_scope(results),
        [
            _build_panel(datasets, is_phantom, method, store)
            for is_phantom, datasets in kinds.items()
            if datasets
        ],
    )


def _describe_scope(results: Results) -> str:
    counts = {
        "case": len(results.cases),
        "data set": len(results.datasets),
        "named comparison": len(results.params.comparisons),
        "external test": len(results.external),
    }
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


def _build_panel(
    datasets: Datasets, is_phantom: bool, method: str, store: PictureStore
) -> OverviewPanel:
    return OverviewPanel(
        "Phantoms: drawings, nothing here is about patients" if is_phantom else "Real images",
        is_phantom,
        {name: describe_lead(dataset) for name, dataset in datasets.items()},
        draw_case_forest(datasets),
        draw_comparison_forest(datasets),
        judge(datasets, is_phantom),
        _draw_strip(datasets, method, store),
        METHOD_NAMES[method],
    )


def describe_lead(dataset: DatasetResults) -> Answer:
    """Which case is the best, and by how much; optimistic cases stand aside."""
    honest = {case.name: case for case in dataset.cases if not case.is_optimistic}
    ranked = rank({name: case.figures for name, case in honest.items()})
    title = dataset.info.dataset
    if not ranked:
        return Answer(title, "", "no case that is not optimistic has a figure", "")
    best = honest[ranked[0]]
    return Answer(
        title,
        best.title,
        f"{label(CHOSEN_BY)} {as_text(best.figures.get(CHOSEN_BY).value)}, "
        f"{_over_the_next(dataset, honest, ranked)}",
        _over_the_shortcut(best.headline),
    )


def _over_the_next(
    dataset: DatasetResults, cases: Mapping[str, CaseResults], ranked: Sequence[str]
) -> str:
    """Difference to the second; by the paired test where the two are a named comparison."""
    if len(ranked) == 1:
        return "the only case"
    first, second = ranked[:2]
    a, b = (cases[name].figures.get(CHOSEN_BY) for name in (first, second))
    assert a.value is not None  # it is ranked
    assert b.value is not None
    lead = f"{a.value - b.value:+.3f} over the next, {cases[second].title}"
    for found in dataset.comparisons.values():
        if {found.first, found.second} == {first, second}:
            settled = is_settled(_difference(found, CHOSEN_BY))
            return f"{lead}, {'settled' if settled else 'not settled'}"
    return f"{lead}, {'intervals overlap' if overlap(a, b) else 'intervals apart'}, no paired test"


def _over_the_shortcut(found: Headline | None) -> str:
    """Whether a shortcut does as well, by AUROC on the same test images."""
    if found is None or not found.difference.has_interval:
        return "Does a shortcut do as well? Not compared"
    difference, name = found.difference, probe_label(found.shortcut)
    return (
        f"Does a shortcut do as well? {_does_as_well(difference)}: AUROC "
        f"{as_text(difference.value, '+')} ({ends_text(difference, '+')}) against {name}"
    )


def _does_as_well(difference: Estimate) -> str:
    if not difference.excludes_zero:
        return "Not ruled out"
    return "No" if is_above(difference) else "Yes, better"


def is_above(difference: Estimate) -> bool:
    """Whether all of the interval is above zero."""
    return difference.low is not None and difference.low > 0


def judge(datasets: Datasets, is_phantom: bool) -> list[Verdict]:
    """What is settled, what is not, and what not to believe, a sentence each."""
    comparisons = {
        name: found for dataset in datasets.values() for name, found in dataset.comparisons.items()
    }
    return [
        Verdict("Settled", _say_settled(comparisons)),
        Verdict("Not settled", _say_open(comparisons)),
        Verdict("Not to believe", _sentence(_doubts(datasets, is_phantom))),
    ]


def _sentence(parts: Iterable[str]) -> str:
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}." if said else "Nothing that this run knows of."


def _difference(found: Comparison, metric: str) -> Estimate:
    return found.test.metrics[metric].difference


def _say_settled(comparisons: Mapping[str, Comparison]) -> str:
    if not comparisons:
        return "No comparison is named."
    said = [_settled_text(name, found) for name, found in comparisons.items() if _by(found)]
    of_all = f"of {len(comparisons)} named comparisons, after Holm's correction"
    return f"{len(said)} {of_all}{': ' if said else ''}{_name_some(said, '; ')}."


def _by(found: Comparison) -> list[str]:
    """The metrics by which a comparison is settled."""
    return [metric for metric in METRICS if is_settled(_difference(found, metric))]


def _settled_text(name: str, found: Comparison) -> str:
    winners = {
        metric: found.first if is_above(_difference(found, metric)) else found.second
        for metric in _by(found)
    }
    said = (
        f"{winner} ahead by {' and '.join(label(m) for m, one in winners.items() if one == winner)}"
        for winner in dict.fromkeys(winners.values())
    )
    return f"{name} ({', '.join(said)})"


def _say_open(comparisons: Mapping[str, Comparison]) -> str:
    if not comparisons:
        return "Whatever differs between cases: no pair was tested."
    still_open = {name: found for name, found in comparisons.items() if not _by(found)}
    if not still_open:
        return "Each comparison is settled by one figure at least."
    least = [
        found.detectable_holm or found.detectable
        for comparison in still_open.values()
        if (found := _difference(comparison, CHOSEN_BY)).detectable is not None
    ]
    known = [value for value in least if value is not None]
    could = (
        f"; a true difference in {label(CHOSEN_BY)} has to be {_range_text(known)} to be settled"
        if known
        else ""
    )
    return f"{len(still_open)} of {len(comparisons)}: {_name_some([*still_open], ', ')}{could}."


def _range_text(values: Sequence[float]) -> str:
    low, high = (f"{end:.2f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _doubts(datasets: Datasets, is_phantom: bool) -> Iterator[str]:
    """Whatever a reader may take for more than it is."""
    if is_phantom:
        yield "anything about patients, as these are drawings"
    cases = [case for dataset in datasets.values() for case in dataset.cases]
    beside = [(case, case.headline.difference) for case in cases if case.headline]
    no_better = [case.title for case, difference in beside if not is_above(difference)]
    if no_better:
        yield f"that a case beats a shortcut: not shown for {_count(no_better, len(beside))}"
    at_chance = [
        name
        for dataset in datasets.values()
        for name in find_at_chance(
            {case.title: case.figures for case in dataset.cases}, len(dataset.info.class_names)
        )
    ]
    if at_chance:
        yield f"that a case beats chance: not shown for {_count(at_chance, len(cases))}"
    marked = [case.title for case in cases if case.is_optimistic or case.has_leakage]
    if marked:
        yield f"figures optimistic by protocol or leakage: {_count(marked, len(cases))}"
    if len(cases) > 1:
        yield "that a best case is as good as it looks, as test figures picked it"


def _name_some(names: Sequence[str], between: str) -> str:
    """The first few, and how many more."""
    more = len(names) - NAMED
    return between.join(names[:NAMED]) + (f"{between}and {more} more" if more > 0 else "")


def _count(names: Sequence[str], total: int) -> str:
    """A few by name, many by their number."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{len(names)} of {total} cases"


def _draw_strip(datasets: Datasets, method: str, store: PictureStore) -> list[StripImage]:
    """Of the best case of each data set a few images drawn with the seed, an error first."""
    each = max(2, STRIP // len(datasets))
    return [
        image for dataset in datasets.values() for image in _strip_of(dataset, each, method, store)
    ]


def _strip_of(
    dataset: DatasetResults, count: int, method: str, store: PictureStore
) -> Iterator[StripImage]:
    best = describe_lead(dataset).best
    for case in dataset.cases:
        if case.title == best:
            for image in _pick(case.cam.images, count):
                yield StripImage(
                    case.title,
                    f"true {image.label}, predicted {image.prediction} {image.probability:.2f}",
                    image.is_error,
                    store.add_original(dataset, image.image_id),
                    add_map(case, dataset, method, image, store),
                )


def _pick(images: Sequence[ExplainedImage], count: int) -> list[ExplainedImage]:
    """An error, if there is one, then right decisions, the classes in turn."""
    errors = [image for image in images if image.is_error]
    right = [image for image in images if not image.is_error]
    by_class = [
        [image for image in right if image.label == name]
        for name in dict.fromkeys(image.label for image in right)
    ]
    longest = max(map(len, by_class), default=0)
    in_turn = [of[n] for n in range(longest) for of in by_class if n < len(of)]
    return [*errors[:1], *in_turn][:count]
