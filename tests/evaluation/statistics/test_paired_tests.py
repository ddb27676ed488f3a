import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

from stages.evaluation.statistics.bootstrap import bootstrap_weights
from stages.evaluation.statistics.paired_tests import adjust_holm, delong_test, mcnemar_test
from stages.evaluation.statistics.records import Bootstrap, Estimate

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def make_scores(
    seed: int, n: int, *, skills: tuple[float, float] = (1.0, 0.5)
) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Truth and two correlated scores on a coarse grid, so that some are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    shared = rng.normal(size=n)
    scores = [np.round(s * truth + 0.7 * shared + rng.normal(size=n), 1) for s in skills]
    return truth, scores[0], scores[1]


def order(x: float, y: float) -> float:
    """1 where the positive is ranked above the negative, one half for equal scores."""
    return 1.0 if x > y else 0.5 if x == y else 0.0


def slow_delong(truth: BoolArray, first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """Difference and variance as DeLong et al. 1988 write them: S10 / m + S01 / n."""
    v10, v01 = [], []
    for scores in (first, second):
        x, y = scores[truth], scores[~truth]
        v10.append([sum(order(a, b) for b in y) / len(y) for a in x])
        v01.append([sum(order(a, b) for a in x) / len(x) for b in y])
    matrix = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    contrast = np.array([1.0, -1.0])
    return float(np.mean(v10[0]) - np.mean(v10[1])), float(contrast @ matrix @ contrast)


def slow_obuchowski(
    truth: BoolArray, first: FloatArray, second: FloatArray, groups: NDArray[np.int64]
) -> float:
    """Variance of the difference from the sums S10, S01 and S11 of Obuchowski 1997."""
    m, n = int(truth.sum()), int((~truth).sum())
    positives, negatives = np.flatnonzero(truth), np.flatnonzero(~truth)
    areas, x_sums, y_sums = [], [], []
    clusters = list(dict.fromkeys(groups.tolist()))
    for scores in (first, second):
        v10 = {i: sum(order(scores[i], scores[j]) for j in negatives) / n for i in positives}
        v01 = {j: sum(order(scores[i], scores[j]) for i in positives) / m for j in negatives}
        areas.append(sum(v10.values()) / m)
        x_sums.append([sum(v for i, v in v10.items() if groups[i] == c) for c in clusters])
        y_sums.append([sum(v for j, v in v01.items() if groups[j] == c) for c in clusters])
    m_of = [int((truth & (groups == c)).sum()) for c in clusters]
    n_of = [int((~truth & (groups == c)).sum()) for c in clusters]
    i, i10, i01 = len(clusters), sum(k > 0 for k in m_of), sum(k > 0 for k in n_of)
    covariance = np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            x = [[x_sums[t][c] - m_of[c] * areas[t] for c in range(i) if m_of[c]] for t in (r, s)]
            y = [[y_sums[t][c] - n_of[c] * areas[t] for c in range(i) if n_of[c]] for t in (r, s)]
            s10 = i10 / ((i10 - 1) * m) * np.dot(*x)
            s01 = i01 / ((i01 - 1) * n) * np.dot(*y)
            s11 = sum(
                (x_sums[r][c] - m_of[c] * areas[r]) * (y_sums[s][c] - n_of[c] * areas[s])
                + (x_sums[s][c] - m_of[c] * areas[s]) * (y_sums[r][c] - n_of[c] * areas[r])
                for c in range(i)
            ) * (i / (i - 1))
            covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_delong_is_the_formula_of_the_paper_where_each_image_is_a_group(seed: int) -> None:
    truth, first, second = make_scores(seed, 60)
    difference, variance = slow_delong(truth, first, second)
    found = delong_test(truth, first, second, np.arange(60))
    assert found.value == pytest.approx(difference)
    assert found.low == pytest.approx(difference - 1.959964 * math.sqrt(variance))
    assert found.high == pytest.approx(difference + 1.959964 * math.sqrt(variance))
    z = abs(difference) / math.sqrt(variance)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert found.why_undefined is None


def test_the_difference_is_that_of_the_two_aurocs() -> None:
    truth, first, second = make_scores(3, 200)
    found = delong_test(truth, first, second, np.arange(200))
    assert found.value == pytest.approx(roc_auc_score(truth, first) - roc_auc_score(truth, second))
    turned = delong_test(truth, second, first, np.arange(200))
    assert (turned.value, turned.low) == (-found.value, -found.high)
    assert turned.p_value == pytest.approx(found.p_value)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_images_of_a_group_are_summed_as_obuchowski_has_it(seed: int) -> None:
    """Groups of several sizes, most with positives and negatives."""
    truth, first, second = make_scores(seed, 50)
    groups = np.random.default_rng(seed + 10).integers(18, size=50)
    found = delong_test(truth, first, second, [f"g{group}" for group in groups])
    variance = slow_obuchowski(truth, first, second, groups)
    assert found.high - found.value == pytest.approx(1.959964 * math.sqrt(variance))


def test_an_image_repeated_in_its_group_adds_no_evidence() -> None:
    truth, first, second = make_scores(4, 80)
    once = delong_test(truth, first, second, np.arange(80))
    thrice = delong_test(*(np.tile(x, 3) for x in (truth, first, second, np.arange(80))))
    assert thrice.p_value == pytest.approx(once.p_value)
    as_if_new = delong_test(*(np.tile(x, 3) for x in (truth, first, second)), np.arange(240))
    assert as_if_new.high - as_if_new.low < 0.6 * (once.high - once.low)  # 1 / sqrt(3) of it


def test_the_interval_is_near_that_of_a_bootstrap_over_groups() -> None:
    truth, first, second = make_scores(5, 300)
    groups = np.arange(300) // 3
    found = delong_test(truth, first, second, groups)
    draws = [
        roc_auc_score(truth, first, sample_weight=w) - roc_auc_score(truth, second, sample_weight=w)
        for w in bootstrap_weights(groups, Bootstrap(400, seed=0))
    ]
    standard_error = (found.high - found.low) / (2 * 1.959964)
    assert np.std(draws) == pytest.approx(standard_error, rel=0.12)


def test_a_true_null_is_rejected_in_about_one_of_twenty() -> None:
    """Two equally good models on groups of two alike images; images as groups reject too often."""
    rejected = np.zeros(2)
    for seed in range(400):
        truth, first, second = make_scores(seed, 60, skills=(0.8, 0.8))
        twice = [np.repeat(x, 2) for x in (truth, first, second)]
        for column, groups in enumerate((np.repeat(np.arange(60), 2), np.arange(120))):
            rejected[column] += delong_test(*twice, groups).p_value < 0.05
    clustered, unclustered = rejected / 400
    assert 0.02 < clustered < 0.09
    assert unclustered > 0.1


def test_scores_on_another_scale_give_the_same_test() -> None:
    truth, first, second = make_scores(6, 90)
    groups = np.arange(90) // 2
    assert delong_test(truth, np.exp(first), second / 9, groups) == delong_test(
        truth, first, second, groups
    )


def test_the_order_of_the_images_plays_no_part() -> None:
    truth, first, second = make_scores(7, 90)
    groups = np.arange(90) // 2
    shuffled = np.random.default_rng(0).permutation(90)
    found = delong_test(*(x[shuffled] for x in (truth, first, second, groups)))
    expected = delong_test(truth, first, second, groups)
    assert found[:3] == pytest.approx(expected[:3])
    assert found.p_value == pytest.approx(expected.p_value)


def test_ten_thousand_images_take_no_square_of_memory() -> None:
    truth, first, second = make_scores(8, 10_000)
    tracemalloc.start()
    delong_test(truth, first, second, np.arange(10_000) // 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # bytes; a value per pair would be 190e6


def test_models_that_rank_alike_do_not_differ() -> None:
    truth, first, _ = make_scores(9, 40)
    found = delong_test(truth, first, 2 * first, np.arange(40) // 2)
    reason = "the variance of the difference is 0"
    assert found == Estimate(0.0, why_undefined=reason, p_value=1.0)


@pytest.mark.parametrize("n", [4, 28])
def test_a_perfect_model_against_a_constant_one_has_no_test(n: int) -> None:
    truth = np.arange(n) % 4 == 0
    found = delong_test(truth, truth.astype(float), np.full(n, 0.3), np.arange(n) // 2)
    assert found.value == 0.5
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.why_undefined is not None


def test_a_difference_that_every_image_shares_has_no_test() -> None:
    """A sixth for each image; rounding leaves a variance of 10^-33."""
    truth = [True, True, True, False, False, False]
    found = delong_test(truth, [1, 0, 5, 1, 0, 4], [3, 1, 5, 4, 2, 5], np.arange(6))
    assert found.value == pytest.approx(1 / 6)
    assert (found.low, found.high, found.p_value) == (None, None, None)


def test_one_class_or_one_group_of_a_class_leaves_no_test() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    groups = ["a", "b", "c", "c"]
    one_class = delong_test([True] * 4, scores, scores[::-1], groups)
    assert one_class == Estimate(None, why_undefined="needs an image of each of two classes")
    one_group = delong_test([False, False, True, True], scores, scores[::-1], groups)
    assert one_group == Estimate(1.0, why_undefined="needs images of each class from two groups")


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        delong_test([True, False], [0.1, float("nan")], [0.1, 0.2], [0, 1])
    with pytest.raises(ValueError, match="got arrays of"):
        delong_test([True, False, True], [0.1, 0.2], [0.1, 0.2], [0, 1])


def make_decisions(seed: int, n: int) -> tuple[BoolArray, BoolArray]:
    rng = np.random.default_rng(seed)
    return rng.random(n) < 0.8, rng.random(n) < 0.6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mcnemar_is_that_of_statsmodels_where_each_image_is_a_group(seed: int) -> None:
    first, second = make_decisions(seed, 70)
    table = [[np.sum((first == a) & (second == b)) for b in (True, False)] for a in (True, False)]
    found = mcnemar_test(first, second, np.arange(70))
    expected = mcnemar(table, exact=False, correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.n_only_first, found.n_only_second) == (table[0][1], table[1][0])
    assert found.undefined is None


def test_mcnemar_weighs_groups_by_their_balance() -> None:
    """Balances +2, +1, -1 and 0: z^2 = 2^2 / (4 + 1 + 1)."""
    first = [True, True, True, False, True, False]
    second = [False, False, False, True, False, True]
    found = mcnemar_test(first, second, ["a", "a", "b", "c", "d", "d"])
    assert found.p_value == pytest.approx(math.erfc(math.sqrt(4 / 6 / 2)))
    assert (found.n_only_first, found.n_only_second) == (4, 2)


def test_decisions_that_are_repeated_in_their_group_add_no_evidence() -> None:
    first, second = make_decisions(3, 60)
    once = mcnemar_test(first, second, np.arange(60))
    twice = mcnemar_test(*(np.tile(x, 2) for x in (first, second, np.arange(60))))
    assert twice.p_value == pytest.approx(once.p_value)
    assert twice.n_only_first == 2 * once.n_only_first


def test_no_image_that_one_alone_gets_right_is_no_difference() -> None:
    found = mcnemar_test([True, False], [True, False], [0, 1])
    assert found[:4] == (0, 0, 1.0, "in no group is one right more often")
    balanced = mcnemar_test([True, False], [False, True], ["a", "a"])
    assert balanced[:4] == (1, 1, 1.0, "in no group is one right more often")


def test_decisions_on_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="give a value of each for every image"):
        mcnemar_test([True, False], [True], [0, 1])


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.04 * 1; the last two are held at 0.06."""
    found = adjust_holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    expected = {"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06}
    assert found == {name: pytest.approx(p) for name, p in expected.items()}
    assert list(found) == ["d", "a", "c", "b"]


def test_holm_leaves_out_tests_that_could_not_be_made() -> None:
    assert adjust_holm({"a": 0.02, "b": None, "c": 0.5}) == {"a": 0.04, "b": None, "c": 0.5}
    assert adjust_holm({"a": None}) == {"a": None}
    assert adjust_holm({}) == {}


def test_an_adjusted_p_value_is_at_most_one() -> None:
    assert adjust_holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
