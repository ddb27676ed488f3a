"""Intervals of figures with bounds, from the number of independent images that they are worth.

A percentile bootstrap of a perfect score is (1, 1), and at 20 images its 95 % intervals hold the
truth in 9 of 10. Here a figure in [0, 1] with variance v is treated as a share of n images with the
same variance, n = p (1 - p) / v + 1, and gets Wilson's interval (1927) of n: the effective sample
size of surveys (Korn and Graubard 1998; compared by Franco et al. 2019). For shares of images that
is a design effect for clusters, exactly 1 where each patient has one image.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from stages.evaluation.statistics.intervals import LEVEL, UPPER, Interval, wilson

POWER = 0.8
# Images added to a difference, of which each model is right on one half: of Bonett and Price 2012,
# who add two to shares of images. Two held 98 to 100 % of AUROCs in tests/benchmarks/coverage.py.
ADDED = 1.0


class Support(NamedTuple):
    """How many independent images a figure rests on, and between what it lies.

    Attributes:
        images: if images of a patient had nothing in common; of a share, its denominator.
        patients: if all images of a patient were the same picture: Kish's effective size of the
            same. A perfect score counts for so many, since it does not say how alike they are.
        most: more than this its variance cannot make of it.
        least: nor less.
        low: the least value that the figure can have.
        high: the greatest; infinity of a loss without one.
    """

    images: float
    patients: float
    most: float
    least: float
    low: float = 0.0
    high: float = 1.0

    @property
    def span(self) -> float:
        """Between the least and the greatest value."""
        return self.high - self.low

    @property
    def quantile(self) -> float:
        """Standard errors on either side of a 95 % interval.

        1.96 times the ratio of the quantiles of Student's t of patients and of images, for clusters
        are fewer than images (Korn and Graubard 1998): 1.96 where each patient has one image.
        """
        clusters, images = (max(size - 1, 1.0) for size in (self.patients, self.images))
        return float(ndtri(UPPER) * stdtrit(clusters, UPPER) / stdtrit(images, UPPER))


class Tested(NamedTuple):
    """A difference with its interval and what inverts it.

    Attributes:
        interval: its ends.
        p_value: below 0.05 exactly where the interval excludes zero; None without a spread.
        detectable: the least true difference that is settled at 0.05 in 8 of 10 such samples.
    """

    interval: Interval
    p_value: float | None
    detectable: float


def effective_size(value: float, variance: float, support: Support) -> float:
    """Number of independent images that would give a share like this the same variance.

    Args:
        value: a figure between the bounds of its support.
        variance: of it; that of a perfect score, which is 0, says nothing: `patients` is taken.
        support: `most` and `least` keep a poor variance of few patients within reason.
    """
    share = (value - support.low) / support.span
    if not 0 < share < 1 or (variance == 0 and math.isinf(support.most)):
        return support.patients
    if variance == 0:
        return support.most
    size = share * (1 - share) * support.span**2 / variance + 1
    return float(np.clip(size, support.least, support.most))


def bounded_interval(value: float, variance: float, support: Support) -> Interval:
    """Wilson's interval of a figure with bounds; of one that has none above, a t of its logarithm.

    Args:
        value: the figure.
        variance: of it, of whole patients.
        support: what it rests on.
    """
    if math.isinf(support.high):
        return _log_interval(value, variance, support)
    size = effective_size(value, variance, support)
    if variance > 0:
        size = max(size * (ndtri(UPPER) / support.quantile) ** 2, support.least)
    low, high = wilson((value - support.low) / support.span, size)
    return Interval(support.low + support.span * low, support.low + support.span * high)


def paired_interval(
    difference: float,
    variance: float,
    sizes: tuple[float, float],
    supports: tuple[Support, Support],
) -> Tested:
    """Of two models on the same patients, as Bonett and Price 2012 have it for shares of images.

    ADDED images on which one of the two is right pull the difference to 0 and leave it a variance
    where the models agree on every image: that they agree on 20 does not say that they are equal.

    Args:
        difference: first minus second.
        variance: of the difference, of whole patients.
        sizes: effective sizes of both.
        supports: of both.
    """
    span, quantile = supports[0].span, max(support.quantile for support in supports)
    if math.isinf(span):
        return _test(difference, variance, quantile, math.inf)
    size = 2 / (1 / sizes[0] + 1 / sizes[1])
    shrunk = difference * size / (size + ADDED)
    spread = (size**2 * variance + ADDED * span**2) / (size + ADDED) ** 2
    return _test(shrunk, spread, quantile, span)


def independent_interval(
    values: tuple[float, float],
    variances: tuple[float, float],
    supports: tuple[Support, Support],
) -> Tested:
    """Of one model on other patients, as Agresti and Caffo 2000 have it for shares of images.

    Args:
        values: both figures; the first minus the second is tested.
        variances: of both.
        supports: of both.
    """
    span, quantile = supports[0].span, max(support.quantile for support in supports)
    if math.isinf(span):
        return _test(values[0] - values[1], sum(variances), quantile, math.inf)
    shares, spread = [], 0.0
    for value, variance, support in zip(values, variances, supports, strict=True):
        size = effective_size(value, variance, support)
        share = (size * (value - support.low) / span + 1) / (size + 2)
        shares.append(share)
        spread += share * (1 - share) / (size + 2)
    return _test((shares[0] - shares[1]) * span, spread * span**2, quantile, span)


def ratio_interval(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Of the ratio of two independent shares, by MOVER-R from the Wilson interval of each.

    Donner and Zou 2012, equation 9, written without a difference in a denominator; Newcombe 2016.
    Normal logarithms with added images (Agresti and Coull 1998) are too narrow where the second
    share is small: of 100 images and a specificity of 0.99, 95 % intervals of LR+ held 7 of 10.

    Args:
        first: a share and the effective size behind it.
        second: likewise, of the denominator.

    Returns:
        Two ends from 0 up; the upper one is infinite where the second share may be 0.
    """
    (top, _), (bottom, _) = first, second
    (low, high), (least, most) = wilson(*first), wilson(*second)
    product = top * bottom
    from_low, from_most = low * (2 * top - low), most * (2 * bottom - most)
    from_high, from_least = high * (2 * top - high), least * (2 * bottom - least)
    # Both roots are of numbers from 0 up, but for rounding.
    below = product + math.sqrt(max(product**2 - from_low * from_most, 0.0))
    above = product + math.sqrt(max(product**2 - from_high * from_least, 0.0))
    return (
        from_low / below if from_low > 0 else 0.0,
        above / from_least if from_least > 0 else math.inf,
    )


def detectable(standard_error: float, tests: int = 1) -> float:
    """The least true difference that a test settles at 0.05 in 8 of 10 samples of this size.

    (z(1 - 0.05 / (2 tests)) + z(0.8)) standard errors, 2.80 of them for one test: the difference is
    taken to be normal, with the standard error that was seen.

    Args:
        standard_error: of the difference.
        tests: of a family, where the hardest step of Holm's method is at 0.05 / tests.
    """
    return float(ndtri(1 - (1 - LEVEL) / (2 * tests)) + ndtri(POWER)) * standard_error


def _log_interval(value: float, variance: float, support: Support) -> Interval:
    """Student's t of the logarithm by the delta method; a value without spread is its own ends."""
    if variance == 0 or value <= 0:
        return Interval(value, value)
    factor = math.exp(_t_quantile(support) * math.sqrt(variance) / value)
    return Interval(value / factor, value * factor)


def _t_quantile(support: Support) -> float:
    return float(stdtrit(max(support.patients - 1, 1.0), UPPER))


def _test(difference: float, variance: float, quantile: float, span: float) -> Tested:
    error = math.sqrt(variance) * quantile / float(ndtri(UPPER))  # widened for few patients
    half = float(ndtri(UPPER)) * error
    low, high = (max(-span, difference - half), min(span, difference + half))
    if error == 0:
        return Tested(Interval(low, high), 1.0 if difference == 0 else None, 0.0)
    p_value = float(2 * ndtr(-abs(difference) / error))
    return Tested(Interval(low, high), p_value, detectable(error))
