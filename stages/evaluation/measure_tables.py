"""Calibration, net benefit and distributions of all cases, for `dvc plots`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stages.evaluation.outcomes import CaseOutcome

Band = Mapping[str, Any]  # as reports have it


def build_measure_tables(cases: Mapping[str, CaseOutcome]) -> dict[str, pd.DataFrame]:
    """By name, each with columns `case` and `class`, of which a plot makes a line each.

    Args:
        cases: by what they are called.
    """
    return {
        name: pd.concat(
            [
                table.assign(**{"class": line, "case": case})
                for case, outcome in cases.items()
                for line, table in tabulate(outcome).items()
            ],
            ignore_index=True,
        )
        for name, tabulate in (
            ("calibration", _calibrations),
            ("decision", _benefits),
            ("distribution", _distributions),
        )
    }


def _calibrations(case: CaseOutcome) -> dict[str, pd.DataFrame]:
    """Smooth curves of each class as the models come."""
    return {
        name: _with_ends("predicted", found["curve"]["predicted"], "observed", found["curve"])
        for name, found in case.report["calibration"]["before"]["classes"].items()
    }


def _benefits(case: CaseOutcome) -> dict[str, pd.DataFrame]:
    """Net benefit of acting on what the case says, on all images and on none."""
    curve = case.report["decision_curve"]
    x = curve["threshold"]
    return {
        case.task.positive_name: _with_ends("threshold", x, "net_benefit", curve),
        "all images": pd.DataFrame({"threshold": x, "net_benefit": curve["treat_all"]}),
        "no image": pd.DataFrame({"threshold": x, "net_benefit": 0.0}),
    }


def _distributions(case: CaseOutcome) -> dict[str, pd.DataFrame]:
    """Share of the images of each class by the probability of the positive one, in bins."""
    found = case.report["test"]["probabilities"]
    middles = [(number + 0.5) / found["bins"] for number in range(found["bins"])]
    return {
        name: pd.DataFrame(
            {"probability": middles, "share": [n / max(1, sum(counts)) for n in counts]}
        )
        for name, counts in found["counts"][case.task.positive_name].items()
    }


def _with_ends(
    x_name: str, x: list[float], y_name: str, curves: Mapping[str, Band]
) -> pd.DataFrame:
    band = curves[y_name]
    return pd.DataFrame(
        {x_name: x, y_name: band["value"], "low": band["low"], "high": band["high"]}
    ).astype(float)
