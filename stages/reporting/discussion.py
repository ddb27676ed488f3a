"""The comparisons in words; every figure comes from the JSON files that the words describe.

The page and plots/discussion.md show the same sentences, those of `build_discussion`.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.dataset.image_set import DatasetInfo
from stages.reporting.differences import describe_differences
from stages.reporting.results import Results

Json = dict[str, Any]

DISCUSSED = ("balanced_accuracy", "auroc")
CHOSEN_BY = "balanced_accuracy"
CHANCE = 0.5  # AUROC
SIGNIFICANCE = 0.05
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "eigencam": "EigenCAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "layercam": "LayerCAM",
    "scorecam": "Score-CAM",
    "xgradcam": "XGrad-CAM",
    "hirescam": "HiRes-CAM",
}
INTRODUCTION = (
    "On all test images a comparison is settled where the p-value of the paired difference, "
    "adjusted by Holm's method for all named comparisons, is below "
    f"{SIGNIFICANCE}, and not settled elsewhere. Each metric and each test is adjusted on its own; "
    "intervals are not. Strata are looked at without correction, as are maps, shortcuts and "
    "external tests: there, settled means that the 95 % interval excludes zero. Intervals and "
    "p-values of metrics come from a bootstrap that draws whole groups (patients, or images that "
    "look the same), the same ones for both cases; DeLong's and McNemar's tests sum over the "
    "images of a group."
)
OPTIMISTIC = "These figures are optimistic: leakage between the splits was allowed (allow_leakage)."


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
    results: Results, comparisons: Mapping[str, Json], headlines: Mapping[str, Json]
) -> dict[str, DatasetDiscussion]:
    """The discussion of each data set, by its name; data sets are never mixed.

    Args:
        results: what all stages wrote.
        comparisons: content of comparisons.json.
        headlines: content of headlines.json, each case beside the best shortcut of its view.
    """
    return {
        dataset: _discuss_dataset(results, dataset, comparisons, headlines)
        for dataset in results.datasets
    }


def render_markdown(discussion: Mapping[str, DatasetDiscussion]) -> str:
    """The discussion as one Markdown document."""
    blocks = ["# Discussion", INTRODUCTION]
    for section in discussion.values():
        blocks += [f"## {section.title}", *section.notices]
        for name, sentences in section.comparisons.items():
            blocks += [f"### {name}", _bullets(sentences)]
        blocks += ["### Conclusion", _bullets(section.conclusion)]
    return "\n\n".join(blocks) + "\n"


def _bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _discuss_dataset(
    results: Results,
    dataset: str,
    comparisons: Mapping[str, Json],
    headlines: Mapping[str, Json],
) -> DatasetDiscussion:
    info, cases = results.datasets[dataset].info, results.cases_of(dataset)
    metrics = {case: results.cases[case].metrics for case in cases}
    own = {name: found for name, found in comparisons.items() if found["first"] in cases}
    warning = [OPTIMISTIC] if info.leakage else []
    return DatasetDiscussion(
        title=_title(info),
        notices=_notices(info),
        comparisons={name: warning + discuss(found, metrics) for name, found in own.items()},
        conclusion=[
            *(_draws_sentences(results, len(comparisons)) if own else []),
            *conclude(own, metrics),
            *(
                _giveaway_sentence(name, info.positive, results.audits[name])
                for name in dict.fromkeys(results.params.case(case).view for case in cases)
            ),
            *(_shortcut_sentence(case, headlines[case]) for case in cases),
            *(
                _external_sentence(name, found, _title(results.datasets[found["dataset"]].info))
                for name, found in results.external.items()
                if found["case"] in cases
            ),
        ],
    )


def _title(info: DatasetInfo) -> str:
    return f"{info.dataset} (phantoms: drawings, not patients)" if info.is_phantom else info.dataset


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


def discuss(comparison: Json, metrics: Mapping[str, Json]) -> list[str]:
    """What a named comparison shows, a sentence or two per finding, the verdict last.

    Args:
        comparison: an entry of comparisons.json.
        metrics: flat figures by case, those of metrics/cases/.
    """
    first, second = comparison["first"], comparison["second"]
    return [
        describe_differences(first, second, comparison["differs"]),
        *_coverage_sentences(first, second, comparison["test"]),
        *(s for case in dict.fromkeys((first, second)) for s in _run_sentences(case, metrics)),
        *(_metric_sentence(metric, "", comparison, comparison["test"]) for metric in DISCUSSED),
        _delong_sentence(comparison["delong"]),
        _mcnemar_sentence(first, second, comparison["mcnemar"]),
        *(
            _metric_sentence(metric, stratum, comparison, found)
            for stratum, found in comparison["subgroups"].items()
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


def _run_sentences(case: str, metrics: Mapping[str, Json]) -> list[str]:
    """Spread over the trainings of a case; nothing for a single one."""
    figures = metrics[case]
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
        f"{_difference(result)}, {_standing(result, first, second)}."
    )


def _delong_sentence(test: Json) -> str:
    what = f"DeLong's test of the AUROC of {test['positive']} against the rest"
    if test["low"] is None:
        return f"{what} is not made: {test['undefined']}."
    return f"{what}: a difference of {_difference(test)}."


def _mcnemar_sentence(first: str, second: str, test: Json) -> str:
    if test["p_value"] is None:
        return f"McNemar's test of the accuracy is not made: {test['undefined']}."
    return (
        f"McNemar's test of the accuracy: {test['n_only_first']} images are right for {first} "
        f"alone and {test['n_only_second']} for {second} alone ({_p_values(test)})."
    )


def _difference(result: Json) -> str:
    """A difference with its interval and, if there are any, its p-values."""
    tested = f", {_p_values(result)}" if "p_value" in result else ""
    return (
        f"{result['difference']:+.3f} (95 % interval {result['low']:+.3f} to "
        f"{result['high']:+.3f}{tested})"
    )


def _p_values(result: Json) -> str:
    """As it is, and adjusted where it was; strata are not."""
    plain = _p_value(result["p_value"])
    if "p_value_holm" not in result:
        return plain
    return f"{plain}, adjusted {_p_value(result['p_value_holm'])}"


def _with_interval(figures: Json, name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    interval = "no interval" if low is None else f"95 % interval {low:.3f} to {high:.3f}"
    return f"{figures[name]:.3f} ({interval})"


def _label(metric: str) -> str:
    return metric.replace("_", " ").replace("auroc", "AUROC")


def _p_value(p_value: float) -> str:
    """As text; a p-value is never 0."""
    return "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"


def _standing(result: Json, first: str, second: str, ahead: str = "in favour of") -> str:
    """Who is ahead, if that is settled: see INTRODUCTION."""
    if result["low"] is None:
        return "not compared"
    if result.get("p_value_holm", 0) >= SIGNIFICANCE or result["low"] <= 0 <= result["high"]:
        return "not settled"
    return f"settled {ahead} {first if result['low'] > 0 else second}"


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


def conclude(comparisons: Mapping[str, Json], metrics: Mapping[str, Json]) -> list[str]:
    """Sentences over all cases and comparisons of one data set.

    Args:
        comparisons: entries of comparisons.json.
        metrics: flat figures by case, those of metrics/cases/.
    """
    if not metrics:
        return ["No case is trained on this data set."]
    compared = {found[side] for found in comparisons.values() for side in ("first", "second")}
    return [
        *_settled_sentences(comparisons),
        *(s for case in metrics if case not in compared for s in _run_sentences(case, metrics)),
        *_best_sentences(metrics),
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
    return sentences


def _best_sentences(metrics: Mapping[str, Json]) -> list[str]:
    """The case ahead by the metric of choice, and which others cannot be told from it."""
    defined = {case: m for case, m in metrics.items() if m[CHOSEN_BY] is not None}
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


def _draws_sentences(results: Results, count: int) -> list[str]:
    """Whether the bootstrap is too coarse for any of `count` adjusted p-values to be small."""
    # The smallest p-value is 2 / (draws + 1), and Holm multiplies the smallest by the count.
    needed = math.ceil(2 * count / SIGNIFICANCE)
    if results.params.evaluate.bootstrap_draws >= needed:
        return []
    return [
        f"With so few draws no metric can be settled: set evaluate.bootstrap_draws to {needed} or "
        "more."
    ]


def _giveaway_sentence(view: str, positive: str, audit: Json) -> str:
    """Which shortcuts tell the positive class from the rest in a view, by their intervals."""
    shares = {
        probe: found["by_class"][positive]
        for probe, found in audit["probes"].items()
        if found["kind"] == "shortcut"
    }
    telling = {
        probe: share
        for probe, share in shares.items()
        if share["auroc_low"] is not None and share["auroc_low"] > CHANCE
    }
    if not telling:
        return f"No shortcut tells {positive} from the rest in the view {view}."
    ranked = sorted(telling, key=lambda probe: -telling[probe]["auroc"])
    said = "; ".join(
        f"{_label(probe)} {_with_interval(telling[probe], 'auroc')}" for probe in ranked
    )
    return f"Shortcuts that tell {positive} from the rest in the view {view}, by AUROC: {said}."


def _shortcut_sentence(case: str, found: Json) -> str:
    """A case beside what can be told without looking at the disease."""
    shortcut = _label(found["shortcut"])
    if found["difference_low"] is None:
        return f"{case} is not compared with its best shortcut, {shortcut}: no interval."
    difference = {"difference": found["difference"]} | {
        end: found[f"difference_{end}"] for end in ("low", "high")
    }
    return (
        f"The AUROC of {case} is {_with_interval(found, 'auroc')} on {found['n']} test images, "
        f"that of the best shortcut ({shortcut}) {_with_interval(found, 'shortcut_auroc')}: a "
        f"difference of {_difference(difference)}, "
        f"{_standing(difference, 'the case', 'the shortcut')}."
    )


def _external_sentence(name: str, found: Json, dataset: str) -> str:
    """What a case loses on images from elsewhere, and which images those are."""
    said = "; ".join(_drop(metric, found["drop"][metric]) for metric in DISCUSSED)
    return (
        f"External test {name}: {found['case']} as it is on {found['n']} images "
        f"({found['n_groups']} groups) of {dataset}; left out are {found['n_left_out']} of other "
        f"classes and {found['n_shared_with_training']} that its own data set has too: {said}."
    )


def _drop(metric: str, drop: Json) -> str:
    if drop["low"] is None:
        return f"{_label(metric)} is not compared"
    # The words hold whichever of the two the difference starts from.
    side = "lower" if drop["external"] < drop["own"] else "higher"
    return (
        f"{_label(metric)} {drop['external']:.3f} there and {drop['own']:.3f} on its own test "
        f"images, a difference of {_difference(drop)}, {_standing(drop, side, side, ahead='as')}"
    )
