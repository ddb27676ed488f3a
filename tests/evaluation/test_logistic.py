import numpy as np
import pytest
import statsmodels.api as sm

from stages.evaluation.logistic import fit_logistic


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_are_those_of_statsmodels_under_every_weighting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    term = rng.normal(size=80)
    is_so = rng.random(80) < 1 / (1 + np.exp(-2 * term + 1))
    weights = rng.integers(0, 4, size=(6, 80)).astype(float)
    terms, offset = np.column_stack((np.ones(80), term)), rng.normal(size=80)
    found = fit_logistic(terms, offset, is_so, weights)
    for row, counts in zip(found, weights, strict=True):
        expected = sm.GLM(
            is_so.astype(float),
            terms,
            family=sm.families.Binomial(),
            offset=offset,
            freq_weights=counts,
        ).fit(tol=1e-12)
        assert row == pytest.approx(expected.params, abs=1e-6)


def test_a_constant_is_found_from_far_away_where_newtons_own_step_is_useless() -> None:
    # Told with near certainty and always wrong: the slope at the start is 5e-7 and the step to it
    # a million. Of symmetric mistakes the constant is 0; three of one kind to one move it.
    logits = np.array([14.5, 14.5, 14.5, -14.5])
    is_so = np.array([False, False, False, True])
    found = fit_logistic(np.ones((4, 1)), logits, is_so, np.array([[1.0, 0, 0, 1], [1, 1, 1, 1]]))
    assert found[0, 0] == pytest.approx(0, abs=1e-6)
    # 3 / (1 + exp(-14.5 - a)) + 1 / (1 + exp(14.5 - a)) = 1: a is about -14.5 - log 2.
    assert found[1, 0] == pytest.approx(-14.5 - np.log(2), abs=1e-5)


def test_terms_that_nearly_tell_apart_have_a_steep_but_finite_fit() -> None:
    term = np.concatenate((np.linspace(-1, 0.01, 30), np.linspace(0, 1, 30)))
    is_so = np.arange(60) >= 30
    terms = np.column_stack((np.ones(60), term))
    [found] = fit_logistic(terms, np.zeros(60), is_so, np.ones((1, 60)))
    probability = 1 / (1 + np.exp(-terms @ found))
    assert np.isfinite(found).all()
    assert found[1] > 50
    assert terms.T @ (probability - is_so) == pytest.approx(np.zeros(2), abs=1e-6)
