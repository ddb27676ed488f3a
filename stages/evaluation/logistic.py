"""Logistic regressions of a few terms under many weightings of the same rows, all at once."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

FloatArray = NDArray[np.float64]

MAX_STEPS = 50
SMALL_STEP = 1e-4  # the error that Newton's method leaves is about the square of its last step
LARGE_STEP = 4.0  # in units of standardised terms; farther on the curve is another one


def fit_logistic(
    terms: FloatArray, offset: FloatArray, is_so: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """Coefficients of the greatest likelihood, by Newton's method.

    Every weighting starts from what all rows together give, from where two or three steps do.

    Args:
        terms: (n, p) of each row; the first is 1, the others are best of mean 0 and deviation 1.
        offset: (n,) added to the linear predictor as it is.
        is_so: (n,) what is told.
        weights: (B, n) non-negative; every row must have a maximum, that is terms that do not tell
            the two apart.

    Returns:
        (B, p); NaN where MAX_STEPS do not get there.
    """
    target = is_so.astype(np.float64)
    all_rows, nowhere = np.ones((1, len(terms))), np.zeros((1, terms.shape[1]))
    centre = _climb(nowhere, terms, offset, target, all_rows)
    if np.isnan(centre).any():
        return np.full((len(weights), terms.shape[1]), np.nan)
    probability = expit(terms @ centre[0] + offset)
    errors = (probability - target)[:, None] * terms
    bends = (probability * (1 - probability))[:, None] * _products(terms)
    curvatures = (weights @ bends).reshape(-1, terms.shape[1], terms.shape[1])
    first = _newton_steps(weights @ errors, curvatures)
    return _climb(centre + first, terms, offset, target, weights)


def _climb(
    start: FloatArray,
    terms: FloatArray,
    offset: FloatArray,
    target: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """From (b, p) to the top; a step after which it goes down as steeply is halved."""
    found = np.full(start.shape, np.nan)
    left, at, products = np.arange(len(start)), start.copy(), _products(terms)
    step, slope = np.zeros_like(at), np.full(len(at), np.inf)
    for _ in range(MAX_STEPS):
        gradients, curvatures = _expand(at, terms, products, offset, target, weights[left])
        # Along the last step: below 0 before it, above 0 where it went too far.
        is_too_far = (gradients * step).sum(axis=1) > 0.9 * slope
        step[is_too_far] /= 2
        at[is_too_far] -= step[is_too_far]
        slope[is_too_far] /= 2  # that of half the step
        ahead = ~is_too_far
        step[ahead] = _newton_steps(gradients[ahead], curvatures[ahead])
        slope[ahead] = np.abs((gradients[ahead] * step[ahead]).sum(axis=1))
        at[ahead] += step[ahead]
        is_done = ahead & (np.abs(step).max(axis=1) < SMALL_STEP)
        found[left[is_done]] = at[is_done]
        left, at, step, slope = (part[~is_done] for part in (left, at, step, slope))
        if not len(left):
            break
    return found


def _expand(
    at: FloatArray,
    terms: FloatArray,
    products: FloatArray,
    offset: FloatArray,
    target: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Gradient (b, p) and curvature (b, p, p) of minus the log likelihood at (b, p)."""
    probability = expit(at @ terms.T + offset)  # (b, n)
    gradients = (weights * (probability - target)) @ terms
    curvatures = (weights * probability * (1 - probability)) @ products
    return gradients, curvatures.reshape(*at.shape, at.shape[1])


def _products(terms: FloatArray) -> FloatArray:
    """(n, p * p) of every two terms."""
    return (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)


def _newton_steps(gradients: FloatArray, curvatures: FloatArray) -> FloatArray:
    """(b, p), none longer than LARGE_STEP."""
    # Where all probabilities are 0 or 1 the curvature vanishes; a trace of it keeps the direction.
    scale = np.trace(curvatures, axis1=1, axis2=2)[:, None, None]
    ridge = (1e-12 * scale + 1e-300) * np.eye(gradients.shape[1])
    steps = -np.linalg.solve(curvatures + ridge, gradients[:, :, None])[:, :, 0]
    length = np.abs(steps).max(axis=1, keepdims=True)
    bounded: FloatArray = steps * (LARGE_STEP / np.maximum(length, LARGE_STEP))
    return bounded
