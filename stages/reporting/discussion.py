"""The findings of each data set in words, each sentence made from the figures that it quotes.

The page and plots/discussion.md show the same sentences, those of `build_discussion`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from stages.reporting.cases import describe_at_chance, describe_best, describe_runs
from stages.reporting.comparisons import describe_settled, discuss
from stages.reporting.external import describe_external
from stages.reporting.optimism import describe_left_out, describe_optimistic
from stages.reporting.results import DatasetResults, Results
from stages.reporting.searches import describe_search
from stages.reporting.shortcuts import describe_giveaway, describe_headline
from stages.reporting.wording import SIGNIFICANCE

INTRODUCTION = (
    "On all test images a comparison is settled where the p-value of the paired difference, "
    "adjusted by Holm's method for all named comparisons, is below "
    f"{SIGNIFICANCE}, and not settled elsewhere. Each metric and each test is adjusted on its own; "
    "intervals are not. Strata are looked at without correction, as are maps, shortcuts and "
    "external tests: there, settled means that the 95 % interval excludes zero. Beside what is not "
    "settled stands the least true difference that would be, in 8 of 10 samples of so many images: "
    "(z(1 - 0.05 / 2m) + z(0.8)) standard errors, 2.8 of them for m = 1 test; m is the number "
    "of comparisons adjusted for; it takes the standard error seen and a normal distribution for "
    "granted. An interval is Wilson's of as many independent images as the figure's variance over "
    "whole groups is worth (patients, or images that look the same), and that of a difference has "
    "one more image on which the models disagree; the p-value goes with the interval. DeLong's and "
    "McNemar's tests sum over the images of a group."
)
OPTIMISTIC = "These figures are optimistic: leakage between the splits was allowed (allow_leakage)."


class DatasetDiscussion(NamedTuple):
    """What is said of one data set.

    Attributes:
        title: name of the data set, with a warning if it is drawn.
        notices: what must be known before any figure is read.
        comparisons: name of a comparison to its sentences.
        searches: likewise of a search.
        conclusion: sentences over all of them.
    """

    title: str
    notices: list[str]
    comparisons: dict[str, list[str]]
    searches: dict[str, list[str]]
    conclusion: list[str]


def build_discussion(results: Results) -> dict[str, DatasetDiscussion]:
    """The discussion of each data set, by its name; data sets are never mixed."""
    return {name: _discuss(results, found) for name, found in results.datasets.items()}


def render_markdown(discussion: Mapping[str, DatasetDiscussion]) -> str:
    """The discussion as one Markdown document."""
    blocks = ["# Discussion", INTRODUCTION]
    for section in discussion.values():
        blocks += [f"## {section.title}", *section.notices]
        for name, sentences in section.comparisons.items():
            blocks += [f"### {name}", _bullets(sentences)]
        for name, sentences in section.searches.items():
            blocks += [f"### Search {name}", _bullets(sentences)]
        blocks += ["### Conclusion", _bullets(section.conclusion)]
    return "\n\n".join(blocks) + "\n"


def _bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _discuss(results: Results, dataset: DatasetResults) -> DatasetDiscussion:
    figures = {case.name: case.figures for case in dataset.cases}
    warning = [OPTIMISTIC] if dataset.info.leakage else []
    return DatasetDiscussion(
        dataset.title,
        _notices(results, dataset),
        {name: warning + discuss(found, figures) for name, found in dataset.comparisons.items()},
        {name: warning + describe_search(found) for name, found in dataset.searches.items()},
        _conclude(results, dataset),
    )


def _notices(results: Results, dataset: DatasetResults) -> list[str]:
    info = dataset.info
    origin = (
        f"These images are drawings made by the pipeline itself ({info.source}). No figure of "
        "this section says anything about patients."
        if info.is_phantom
        else f"Source: {info.source}"
    )
    leakage = (
        "Leakage allowed: some groups stand in more than one of the splits that came with the "
        "data, so every figure of this section is optimistic."
    )
    left_out = f"Left out, since they have no results: {', '.join(dataset.left_out)}."
    not_reached = f"Not here, since nothing is there yet: {', '.join(results.not_reached)}."
    return [
        origin,
        *([leakage] if info.leakage else []),
        *describe_optimistic(dataset.cases),
        *([left_out] if dataset.left_out else []),
        *([not_reached] if results.not_reached else []),
    ]


def _conclude(results: Results, dataset: DatasetResults) -> list[str]:
    """Sentences over all cases and comparisons of one data set."""
    cases, comparisons = dataset.cases, dataset.comparisons
    figures = {case.name: case.figures for case in cases}
    if not cases:
        return ["No case is trained on this data set."]
    compared = {case for found in comparisons.values() for case in (found.first, found.second)}
    alone = [case for case in cases if case.name not in compared]
    views = dict.fromkeys(case.settings.view for case in cases)
    honest = {case.name: case.figures for case in cases if not case.is_optimistic}
    return [
        *describe_settled(comparisons),
        *(sentence for case in alone for sentence in describe_runs(case.title, case.figures)),
        *(describe_best(honest) if honest else []),
        *describe_at_chance(figures, len(dataset.info.class_names)),
        *describe_left_out(cases),
        *(describe_giveaway(v, dataset.info.positive, dataset.audits[v]) for v in views),
        *(
            sentence
            for case in cases
            if case.headline
            for sentence in describe_headline(case.name, case.headline)
        ),
        *(
            describe_external(
                name, found, results.cases[found.case], results.datasets[found.dataset].title
            )
            for name, found in dataset.external.items()
        ),
    ]
