"""The comparisons in words; every figure comes from the JSON files that the words describe.

The page and plots/discussion.md show the same sentences, those of `build_discussion`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.imaging.image_set import DatasetInfo
from stages.report.differences import describe_differences
from stages.report.results import Results

Json = dict[str, Any]

DISCUSSED = ("balanced_accuracy", "auroc")
CHOSEN_BY = "balanced_accuracy"
METHOD_NAMES = {"gradcam": "Grad-CAM", "eigencam": "EigenCAM"}
INTRODUCTION = (
    "A comparison is settled where the 95 % interval of the paired difference excludes zero, and "
    "not settled elsewhere. Intervals come from a bootstrap that draws whole groups (patients, or "
    "identical images), the same ones for both cases."
)


class DatasetDiscussion(NamedTuple):
    """What is said of one data set.

    Attributes:
        title: name of the data set, with a warning if it is drawn.
        notices: what must be known before any figure is read.
        comparisons: name of a comparison to its sentences.
        conclusion: sentences over all of them.
    """

    title: str
    notices: list[str]
    comparisons: dict[str, list[str]]
    conclusion: list[str]


def build_discussion(
    results: Results, comparisons: Mapping[str, Json]
) -> dict[str, DatasetDiscussion]:
    """The discussion of each data set, by its name; data sets are never mixed."""
    return {
        dataset: _discuss_dataset(
            tables.info,
            {
                name: found
                for name, found in comparisons.items()
                if results.dataset_of(found["first"]) == dataset
            },
            {case: results.cases[case].metrics for case in results.cases_of(dataset)},
        )
        for dataset, tables in results.datasets.items()
    }


def render_markdown(discussion: Mapping[str, DatasetDiscussion]) -> str:
    """The discussion as one Markdown document."""
    blocks = ["# Discussion", INTRODUCTION]
    for section in discussion.values():
        blocks += [f"## {section.title}", *section.notices]
        for name, sentences in section.comparisons.items():
            blocks += [f"### {name}", "\n".join(f"- {sentence}" for sentence in sentences)]
        blocks += ["### Conclusion", " ".join(section.conclusion)]
    return "\n\n".join(blocks) + "\n"


def _discuss_dataset(
    info: DatasetInfo, comparisons: dict[str, Json], headlines: dict[str, Json]
) -> DatasetDiscussion:
    return DatasetDiscussion(
        title=f"{info.dataset} (phantoms: drawings, not patients)"
        if info.is_phantom
        else info.dataset,
        notices=_notices(info),
        comparisons={name: discuss(found, headlines) for name, found in comparisons.items()},
        conclusion=conclude(comparisons, headlines),
    )


def _notices(info: DatasetInfo) -> list[str]:
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
    return [origin, leakage] if info.leakage else [origin]


def discuss(comparison: Json, headlines: Mapping[str, Json]) -> list[str]:
    """What a named comparison shows, a sentence or two per finding, the verdict last.

    Args:
        comparison: an entry of comparisons.json.
        headlines: flat figures by case, those of metrics/cases/.
    """
    first, second = comparison["first"], comparison["second"]
    strata = {"": comparison["test"], **comparison["subgroups"]}
    return [
        describe_differences(first, second, comparison["differs"]),
        *_coverage_sentences(first, second, comparison["test"]),
        *(s for case in dict.fromkeys((first, second)) for s in _run_sentences(case, headlines)),
        *(
            _metric_sentence(metric, stratum, comparison, found)
            for stratum, found in strata.items()
            for metric in DISCUSSED
        ),
        *(
            _map_sentence(METHOD_NAMES[method], first, second, maps)
            for method, maps in comparison["maps"].items()
        ),
        _verdict_sentence(comparison),
    ]


def _coverage_sentences(first: str, second: str, found: Json) -> list[str]:
    """Which test images are not compared, and who scores an image more than once."""
    sentences = []
    for case, side, other in ((first, "first", second), (second, "second", first)):
        if found[f"n_only_{side}"]:
            sentences.append(
                f"{found[f'n_only_{side}']} test images of {case} are left out: {other} is not "
                "tested on them."
            )
        if found[f"n_rows_{side}"] > found["n"]:
            sentences.append(
                f"{case} has several models for an image, {found[f'n_rows_{side}']} predictions "
                f"for {found['n']} images; each counts."
            )
    return sentences


def _run_sentences(case: str, headlines: Mapping[str, Json]) -> list[str]:
    """Spread over the trainings of a case; nothing for a single one."""
    figures = headlines[case]
    if figures["n_runs"] == 1:
        return []
    said = "; ".join(f"{_label(metric)} {_spread(figures, metric)}" for metric in DISCUSSED)
    return [f"The models of {case}, one by one: {said}."]


def _spread(figures: Json, metric: str) -> str:
    mean, deviation = figures[f"{metric}_run_mean"], figures[f"{metric}_run_sd"]
    if mean is None or deviation is None:
        return "is undefined in a run"
    return f"mean of {figures['n_runs']} runs {mean:.3f}, standard deviation {deviation:.3f}"


def _metric_sentence(metric: str, stratum: str, comparison: Json, found: Json) -> str:
    first, second, result = comparison["first"], comparison["second"], found[metric]
    images = f"the {found['n']} test images {f'of {stratum} ' if stratum else ''}"
    where = f"On {images}({found['n_groups']} groups) {_label(metric)}"
    if result["low"] is None:
        return f"{where} is not compared: {result['undefined']}."
    a, b = (_with_interval(result, side) for side in ("first", "second"))
    return (
        f"{where} is {a} for {first} and {b} for {second}: a difference of "
        f"{result['difference']:+.3f} (95 % interval {result['low']:+.3f} to "
        f"{result['high']:+.3f}, {_p_value(result['p_value'])}), "
        f"{_standing(result, first, second)}."
    )


def _with_interval(figures: Json, name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    interval = "no interval" if low is None else f"95 % interval {low:.3f} to {high:.3f}"
    return f"{figures[name]:.3f} ({interval})"


def _label(metric: str) -> str:
    return metric.replace("_", " ").replace("auroc", "AUROC")


def _p_value(p_value: float) -> str:
    """As text; a bootstrap's p-value is never 0."""
    return "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"


def _standing(result: Json, first: str, second: str, ahead: str = "in favour of") -> str:
    """Who is ahead, if the interval excludes zero."""
    if result["low"] is None:
        return "not compared"
    if result["low"] > 0:
        return f"settled {ahead} {first}"
    if result["high"] < 0:
        return f"settled {ahead} {second}"
    return "not settled"


def _map_sentence(method: str, first: str, second: str, maps: Json) -> str:
    if maps["low"] is None:
        return f"{method}: too few maps to compare."
    # More is not better by itself: lungs fill more of a lung crop than of a whole picture.
    standing = _standing(maps, first, second, ahead="as more for")
    return (
        f"{method} puts {maps['in_lungs_first']:.0%} of its weight inside the lungs for {first} "
        f"and {maps['in_lungs_second']:.0%} for {second} (difference {maps['difference']:+.2f}, "
        f"95 % interval {maps['low']:+.2f} to {maps['high']:+.2f}, "
        f"{standing}; {maps['n']} images); "
        f"a constant map would put {maps['lungs_area_first']:.0%} and "
        f"{maps['lungs_area_second']:.0%} there."
    )


def _verdict_sentence(comparison: Json) -> str:
    """What is settled and what is not, over all test images and in each stratum."""
    pair = comparison["first"], comparison["second"]
    strata = {"on all test images": comparison["test"]}
    strata |= {f"on images of {name}": found for name, found in comparison["subgroups"].items()}
    said = [
        f"{where}, "
        + ", ".join(f"{_label(metric)} {_standing(found[metric], *pair)}" for metric in DISCUSSED)
        for where, found in strata.items()
    ]
    return f"Verdict: {'; '.join(said)}."


def conclude(comparisons: Mapping[str, Json], headlines: Mapping[str, Json]) -> list[str]:
    """Sentences over all cases and comparisons of one data set.

    Args:
        comparisons: entries of comparisons.json.
        headlines: flat figures by case, those of metrics/cases/.
    """
    if not headlines:
        return ["No case uses this data set."]
    compared = {found[side] for found in comparisons.values() for side in ("first", "second")}
    return [
        *_settled_sentences(comparisons),
        *(s for case in headlines if case not in compared for s in _run_sentences(case, headlines)),
        *_best_sentences(headlines),
    ]


def _settled_sentences(comparisons: Mapping[str, Json]) -> list[str]:
    if not comparisons:
        return ["No comparison is named for this data set."]
    sentences = []
    for metric in DISCUSSED:
        said = "; ".join(
            f"{name} {_standing(found['test'][metric], found['first'], found['second'])}"
            for name, found in comparisons.items()
        )
        sentences.append(f"By {_label(metric)}, on all test images: {said}.")
    if len(comparisons) > 1:
        sentences.append("No interval or p-value is corrected for the number of comparisons.")
    return sentences


def _best_sentences(headlines: Mapping[str, Json]) -> list[str]:
    """The case ahead by the metric of choice, and which others cannot be told from it."""
    defined = {case: m for case, m in headlines.items() if m[CHOSEN_BY] is not None}
    if not defined:
        return [f"No case has a {_label(CHOSEN_BY)}."]
    best = max(defined, key=lambda case: defined[case][CHOSEN_BY])
    figures = defined[best]
    sentences = [
        f"The best {_label(CHOSEN_BY)} is that of {best}: {_with_interval(figures, CHOSEN_BY)} "
        f"on {figures['n_test']} test images."
    ]
    others = {case: m for case, m in defined.items() if case != best}
    if not others:
        return sentences
    sentences += [_rivals_sentence(figures, others)]
    if len({m["n_test"] for m in defined.values()}) > 1:
        sentences.append("The cases are not all tested on the same images.")
    return [*sentences, "A best case picked by test figures looks better than it is."]


def _rivals_sentence(best: Json, others: Mapping[str, Json]) -> str:
    """Cases with the same figure, and cases whose interval overlaps."""
    ties = [c for c, m in others.items() if f"{m[CHOSEN_BY]:.3f}" == f"{best[CHOSEN_BY]:.3f}"]
    near = [case for case, m in others.items() if case not in ties and _overlaps(best, m)]
    said = [f"It ties with {', '.join(ties)}."] if ties else []
    if near:
        said.append(
            f"Its interval overlaps {'those' if len(near) > 1 else 'that'} of {', '.join(near)}."
        )
    return " ".join(said) or "Its interval overlaps that of no other case."


def _overlaps(a: Json, b: Json) -> bool:
    """Whether two intervals share a point; one that is undefined shares none."""
    ends = [m[f"{CHOSEN_BY}{end}"] for m in (a, b) for end in ("_low", "_high")]
    if None in ends:
        return False
    low_a, high_a, low_b, high_b = ends
    return bool(low_a <= high_b and low_b <= high_a)
