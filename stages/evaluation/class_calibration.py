"""Calibration of the probability of one class against all others: intercept, slope, smooth curve.

Levels of calibration after Van Calster et al. 2016, "A calibration hierarchy for risk models was
defined: from utopia to empirical data": in the large (intercept), weak (slope) and
moderate (curve).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.bands import to_band
from stages.evaluation.logistic import fit_logistic
from stages.evaluation.metrics import in_blocks, share
from stages.evaluation.statistics.bootstrap import draw_figures, estimate
from stages.evaluation.statistics.records import (
    Bootstrap,
    Estimate,
    Estimates,
    flatten,
    select,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

RECALIBRATION = ("calibration_intercept", "calibration_slope")
SPAN = 0.75  # share of the rows that each point of the curve is made of; that of R's `loess`
CURVE_POINTS = 25
# Where many probabilities are the same, to 0 or 1, the nearest rows would be of no width at all.
LEAST_RADIUS = 0.02


class ClassCalibration(NamedTuple):
    """Of one class against the rest.

    Attributes:
        figures: RECALIBRATION. Intercept: a of logit P = a + logit p, 0 where as many images are of
            the class as were foretold, above 0 where more are. Slope: b of logit P = a + b logit p,
            1 where probabilities are as far apart as they should be, below 1 where too far.
        predicted: (g,) probabilities from the least to the greatest that was said.
        observed: share of the images with about that probability that are of the class, by g.
    """

    figures: Estimates
    predicted: FloatArray
    observed: list[Estimate]

    def to_json(self) -> dict[str, Any]:
        """As reports have it; the names of the figures without `calibration_`."""
        flat = flatten({name.removeprefix("calibration_"): f for name, f in self.figures.items()})
        return {
            **flat.values,
            "undefined": flat.undefined,
            "curve": {
                "predicted": np.round(self.predicted, 4).tolist(),
                "observed": to_band(self.observed),
            },
        }


def calibrate_class(
    probabilities: FloatArray,
    is_class: BoolArray,
    group_ids: NDArray[np.generic],
    name: str,
    floor: float,
    bootstrap: Bootstrap,
) -> ClassCalibration:
    """Intercept, slope and curve of n rows, all under the same draws of the patients.

    Args:
        probabilities: (n,) of the class, in [0, 1].
        is_class: (n,) the truth.
        group_ids: (n,) patient of each row.
        name: of the class.
        floor: logits are of probabilities kept so far away from 0 and 1.
        bootstrap: draws and their seed.
    """
    kept = np.clip(probabilities, floor, 1 - floor)
    logits = np.log(kept) - np.log1p(-kept)
    has_both = bool(is_class.any() and not is_class.all())
    points = np.linspace(probabilities.min(), probabilities.max(), CURVE_POINTS if has_both else 0)
    radii = find_radii(probabilities, points)

    def figures(weights: NDArray[np.int32]) -> dict[str, FloatArray]:
        found = [
            np.column_stack(
                (
                    fit_intercept(logits, is_class, block),
                    fit_slope(logits, is_class, block),
                    smooth(probabilities, is_class, points, radii, block),
                )
            )
            for block in in_blocks(weights)
        ]
        return dict(zip(names, np.concatenate(found).T, strict=True))

    of_curve = [f"point_{number}" for number in range(len(points))]
    names = [*RECALIBRATION, *of_curve]
    needs = _needs(name) | dict.fromkeys(of_curve, "an image")
    found = estimate(draw_figures(figures, group_ids, needs, bootstrap))
    return ClassCalibration(
        select(found, RECALIBRATION), points, [_shortened(found[name]) for name in of_curve]
    )


def fit_intercept(logits: FloatArray, is_class: BoolArray, weights: FloatArray) -> FloatArray:
    """(B,) calibration in the large under (B, n) weights; NaN where one side has no weight.

    The constant of a logistic regression with the logits as offset (Cox 1958; Van Calster et al.
    2016).
    """
    found = np.full(len(weights), np.nan)
    has_both = (weights @ is_class > 0) & (weights @ ~is_class > 0)
    if has_both.any():
        constant = np.ones((len(logits), 1))
        found[has_both] = fit_logistic(constant, logits, is_class, weights[has_both])[:, 0]
    return found


def fit_slope(logits: FloatArray, is_class: BoolArray, weights: FloatArray) -> FloatArray:
    """(B,) calibration slopes under (B, n) weights; NaN where the logits tell all rows apart.

    The coefficient of a logistic regression on the logits (Cox 1958), which is endless where a
    threshold tells the class from the rest (Albert and Anderson 1984).
    """
    found = np.full(len(weights), np.nan)
    overlap = _overlap(logits, is_class, weights)
    if overlap.any():
        spread = logits.std()
        terms = np.column_stack((np.ones(len(logits)), (logits - logits.mean()) / spread))
        fitted = fit_logistic(terms, np.zeros(len(logits)), is_class, weights[overlap])
        found[overlap] = fitted[:, 1] / spread
    return found


def find_radii(probabilities: FloatArray, points: FloatArray) -> FloatArray:
    """(g,) how far from each point the nearest SPAN of the rows lie, at least LEAST_RADIUS."""
    nearest = max(1, int(SPAN * len(probabilities) + 1e-10)) - 1
    distances = np.abs(probabilities[:, None] - points)  # (n, g)
    radii: FloatArray = np.partition(distances, nearest, axis=0)[nearest]
    return np.maximum(radii, LEAST_RADIUS)


def smooth(
    probabilities: FloatArray,
    is_class: BoolArray,
    points: FloatArray,
    radii: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """(B, g) loess of the truth on the probabilities at points, kept in [0, 1].

    Straight lines through the rows nearest to each point, of tricube weight (Cleveland 1979, but
    for the guard against outliers, which a truth of 0 and 1 does not have); of equal probabilities
    the mean. Under draws the radii stay, and the rows within them are weighed anew.
    """
    away = probabilities[:, None] - points  # (n, g)
    near = (1 - np.minimum(np.abs(away) / radii, 1) ** 3) ** 3
    pulls = (near, near * away, near * away**2)
    columns = [*pulls, *(pull * is_class[:, None] for pull in pulls[:2])]
    sums = (weights @ np.concatenate(columns, axis=1)).reshape(len(weights), 5, -1)
    mass, lean, spread, seen, seen_lean = np.moveaxis(sums, 1, 0)  # (B, g) each
    determinant = mass * spread - lean**2
    is_line = determinant > 1e-9 * mass**2 * radii**2
    line = share(spread * seen - lean * seen_lean, np.where(is_line, determinant, 0.0))
    curve: FloatArray = np.clip(np.where(is_line, line, share(seen, mass)), 0, 1)
    return curve


def _overlap(logits: FloatArray, is_class: BoolArray, weights: FloatArray) -> BoolArray:
    """(B,) whether the logits of the weighted rows of both sides overlap."""
    is_used = weights > 0
    low_in, high_in = _ends(logits, is_used & is_class)
    low_out, high_out = _ends(logits, is_used & ~is_class)
    overlap: BoolArray = (high_out > low_in) & (high_in > low_out)
    return overlap


def _ends(logits: FloatArray, is_used: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(B,) least and greatest of the rows used; of none the greatest lies below the least."""
    low = np.where(is_used, logits, np.inf).min(axis=1)
    return low, np.where(is_used, logits, -np.inf).max(axis=1)


def _needs(name: str) -> dict[str, str]:
    both = f"an image of class {name!r} and one of another class"
    return {
        "calibration_intercept": both,
        "calibration_slope": f"{both}, and probabilities of {name!r} that no threshold tells apart",
    }


def _shortened(point: Estimate) -> Estimate:
    """To four decimals, which is less than a line is thick."""
    value, low, high = (None if end is None else round(end, 4) for end in point[:3])
    return point._replace(value=value, low=low, high=high)
