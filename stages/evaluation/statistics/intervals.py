"""The ends of 95 % intervals, from bootstrap draws or from the folds of a cross-validation."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from stages.evaluation.statistics.records import Estimate
from stages.evaluation.statistics.rounding import rounded

LEVEL = 0.95
UPPER = (1 + LEVEL) / 2
# An interval from fewer draws would be conditional on the metric being defined.
MAX_UNDEFINED_SHARE = 0.05


class Interval(NamedTuple):
    """Two ends, or None for both and the reason why."""

    low: float | None
    high: float | None
    reason: str | None = None


def percentile_interval(values: ArrayLike) -> Interval:
    """Return the central 95 % of bootstrap draws (Davison and Hinkley 1997, section 5.3).

    Args:
        values: (draws,) a metric under each draw, NaN where it is undefined.

    Returns:
        The interval of the defined draws; None with a reason if more than 5 % are undefined.
    """
    draws = np.asarray(values, dtype=np.float64)
    defined = draws[~np.isnan(draws)]
    missing = len(draws) - len(defined)
    if len(defined) == 0 or missing > MAX_UNDEFINED_SHARE * len(draws):
        limit = f"at most {MAX_UNDEFINED_SHARE:.0%} may be"
        return Interval(None, None, f"undefined in {missing} of {len(draws)} draws; {limit}")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of `size` images, which need not be whole."""
    z2 = ndtri(UPPER) ** 2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = math.sqrt(z2 * (share * (1 - share) / size + z2 / (4 * size**2))) / (1 + z2 / size)
    # Of a share of 0 or 1 one end is that share, but for the last bit.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def fold_interval(values: ArrayLike, size: float) -> Interval:
    """Return the interval of a mean over the folds of a cross-validation.

    The corrected resampled t of Nadeau and Bengio 2003, section 3: trainings share most of their
    images, so that fold values vary less than the mean does. A bootstrap of the pooled predictions
    leaves that out; where there was nothing to find, its 95 % intervals held 0.5 in 8 of 10.
    Folds can be equal by chance, as perfect ones are: no interval is narrower on either side than
    Wilson's of as many images as there are patients.

    Args:
        values: (k,) a metric of each fold, in [0, 1]; k at least 2.
        size: how many patients the metric rests on, in all folds.

    Returns:
        Two ends, kept in [0, 1]; None with a reason where a fold has no value.
    """
    folds = np.asarray(values, dtype=np.float64)
    if np.isnan(folds).any():
        return Interval(None, None, f"undefined in {np.isnan(folds).sum()} of {len(folds)} folds")
    shared = 1 / len(folds) + 1 / (len(folds) - 1)
    half = stdtrit(len(folds) - 1, UPPER) * folds.std(ddof=1) * shared**0.5
    least, most = wilson(float(folds.mean()), size)
    low, high = max(folds.mean() - half, 0.0), min(folds.mean() + half, 1.0)
    return Interval(float(min(low, least)), float(max(high, most)))


def estimate_over_folds(values: NDArray[np.float64], size: float) -> Estimate:
    """The mean over (k,) folds with its `fold_interval`; none where a fold has no value."""
    return with_ends(float(np.mean(values)), fold_interval(values, size))


def with_ends(value: float, interval: Interval) -> Estimate:
    """A figure with its interval, all of it rounded."""
    low, high = (None if end is None else rounded(end) for end in interval[:2])
    return Estimate(rounded(value), low, high, interval.reason)
