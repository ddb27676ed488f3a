"""Sentences about comparisons; every figure in them comes from the JSON they describe."""

from typing import Any

Json = dict[str, Any]

DISCUSSED = ("balanced_accuracy", "auroc")
METHOD_NAMES = {"gradcam": "Grad-CAM", "eigencam": "EigenCAM"}


def discuss(comparison: Json, metrics: dict[str, Json]) -> list[str]:
    """What a named comparison shows, a sentence per finding.

    Args:
        comparison: an entry of comparisons.json.
        metrics: headline figures by case.
    """
    first, second = comparison["first"], comparison["second"]
    sentences = [
        _metric_sentence(metric, "", comparison, comparison["test"], metrics)
        for metric in DISCUSSED
    ]
    for subgroup, found in comparison["subgroups"].items():
        sentences += [
            _metric_sentence(metric, subgroup, comparison, found, metrics) for metric in DISCUSSED
        ]
    sentences += [
        _map_sentence(METHOD_NAMES[method], first, second, maps)
        for method, maps in comparison["maps"].items()
    ]
    return sentences


def _metric_sentence(
    metric: str, subgroup: str, comparison: Json, found: Json, metrics: dict[str, Json]
) -> str:
    first, second = comparison["first"], comparison["second"]
    key = f"{metric}_{subgroup}" if subgroup else metric
    images = f"the {found['n']} test images {f'of {subgroup} ' if subgroup else ''}"
    where = f"On {images}({found['n_groups']} patients)"
    a, b = metrics[first][key], metrics[second][key]
    label = metric.replace("_", " ").replace("auroc", "AUROC")
    result = found[metric]
    if a is None or b is None or result["low"] is None:
        return f"{where} {label} has no interval for both cases, so they are not compared."
    return (
        f"{where} {label} is {a:.3f} for {first} and {b:.3f} for {second}: a difference of "
        f"{result['difference']:+.3f} (95 % interval {result['low']:+.3f} to "
        f"{result['high']:+.3f}, {_p_value(result['p_value'])}), "
        f"{_verdict(result, first, second)}."
    )


def _p_value(p_value: float) -> str:
    """As text; a bootstrap's p-value is never 0."""
    return "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"


def _verdict(result: Json, first: str, second: str) -> str:
    """Who is ahead, if the interval excludes zero."""
    if result["low"] > 0:
        return f"in favour of {first}"
    if result["high"] < 0:
        return f"in favour of {second}"
    return "which may be chance"


def _map_sentence(method: str, first: str, second: str, maps: Json) -> str:
    if maps["low"] is None:
        return f"{method}: too few maps to compare."
    verdict = _verdict(maps, first, second)
    return (
        f"{method} puts {maps['in_lungs_first']:.0%} of its weight inside the lungs for {first} "
        f"and {maps['in_lungs_second']:.0%} for {second} (difference {maps['difference']:+.2f}, "
        f"95 % interval {maps['low']:+.2f} to {maps['high']:+.2f}, {verdict}; {maps['n']} images); "
        f"a constant map would put {maps['lungs_area_first']:.0%} and "
        f"{maps['lungs_area_second']:.0%} there."
    )
