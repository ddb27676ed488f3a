"""Curves of which each point is an estimate."""

from collections.abc import Sequence

from stages.evaluation.statistics.records import Estimate

Band = dict[str, list[float | None]]


def to_band(points: Sequence[Estimate]) -> Band:
    """Values and both ends as three lists, as reports have it; None where there is none."""
    return {
        "value": [point.value for point in points],
        "low": [point.low for point in points],
        "high": [point.high for point in points],
    }
