"""Intervals for metrics: images of one patient are drawn together, two models on the same draws.

The unit that is sampled anew is the group (the patient), because images of one patient are alike:
drawing images one by one would give intervals that are too narrow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from stages.config.errors import UserError
from stages.evaluation.metrics import FloatArray, compute_metrics, metric_requirements

# An interval from fewer draws would be conditional on the metric being defined.
MAX_UNDEFINED_SHARE = 0.05
DECIMALS = 6
SUFFIXES = ("", "_low", "_high", "_p_value")
ENDS = SUFFIXES[:3]  # of an estimate and its interval


class Interval(NamedTuple):
    """Two ends, or None for both and the reason why."""

    low: float | None
    high: float | None
    reason: str | None = None


class MetricTable(NamedTuple):
    """Flat results, ready for JSON.

    Attributes:
        values: name to a number rounded to 6 decimals, or None where it is undefined.
        undefined: name to reason, for exactly the names whose value is None.
    """

    values: dict[str, float | None]
    undefined: dict[str, str]


def bootstrap_weights(group_ids: ArrayLike, *, draws: int, seed: int) -> NDArray[np.int32]:
    """Draw whole groups with replacement, as many as there are, and count each image's uses.

    The cluster bootstrap of Field and Welsh 2007; strategy 1 of Davison and Hinkley 1997,
    section 3.8. The number of images differs between draws if groups differ in size.

    Args:
        group_ids: (n,) who each image shows; an image of an unknown patient needs an id of its own.
        draws: number of draws, at least 1.
        seed: seed of the generator; the same seed and groups give the same draws.

    Returns:
        (draws, n) counts; all images of a group have the same count.

    Raises:
        UserError: an id is missing, there are fewer than two groups, or `draws` is below 1.
    """
    groups = _group_indices(group_ids)
    count = int(groups.max()) + 1
    if count < 2:
        raise UserError("group_ids: got 1 group; a bootstrap needs at least 2 patients")
    return _draw_groups(count, draws, seed)[:, groups]


def percentile_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the central share `level` of bootstrap draws (Davison and Hinkley 1997, section 5.3).

    Args:
        values: (draws,) a metric under each draw, NaN where it is undefined.
        level: share of draws inside, between 0 and 1.

    Returns:
        The interval of the defined draws; None with a reason if more than 5 % are undefined.
    """
    _check_level(level)
    draws = np.asarray(values, dtype=np.float64)
    defined = draws[~np.isnan(draws)]
    missing = len(draws) - len(defined)
    if len(defined) == 0 or missing > MAX_UNDEFINED_SHARE * len(draws):
        limit = f"at most {MAX_UNDEFINED_SHARE:.0%} may be"
        return Interval(None, None, f"undefined in {missing} of {len(draws)} draws; {limit}")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return the score interval of a proportion of independent trials (Wilson 1927).

    Args:
        successes: from 0 to n.
        n: number of trials; 0 gives None with a reason.
        level: confidence, between 0 and 1.

    Returns:
        Two ends in [0, 1].
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise UserError(f"wilson_interval: got {successes} successes of {n}; give from 0 to n")
    if n == 0:
        return Interval(None, None, "no trials")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def fold_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the interval of a mean over the folds of a cross-validation.

    The corrected resampled t of Nadeau and Bengio 2003, section 3: trainings share most of their
    images, so that fold values vary less than the mean does. A bootstrap of the pooled predictions
    leaves that out; where there was nothing to find, its 95 % intervals held 0.5 in 8 of 10.

    Args:
        values: (k,) a metric of each fold; k at least 2.
        level: confidence, between 0 and 1.

    Returns:
        Two ends, kept in [0, 1]; None with a reason where a fold has no value.
    """
    _check_level(level)
    folds = np.asarray(values, dtype=np.float64)
    if np.isnan(folds).any():
        return Interval(None, None, f"undefined in {np.isnan(folds).sum()} of {len(folds)} folds")
    shared = 1 / len(folds) + 1 / (len(folds) - 1)
    half = student_t.ppf((1 + level) / 2, len(folds) - 1) * folds.std(ddof=1) * shared**0.5
    low, high = np.clip((folds.mean() - half, folds.mean() + half), 0, 1)
    return Interval(float(low), float(high))


def metrics_with_intervals(
    scored: Scored,
    *,
    class_names: Sequence[str],
    positive: int,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> MetricTable:
    """Compute every metric of one model with its percentile interval over patients.

    Args:
        scored: truth, probabilities, decisions and patients of n rows.
        class_names: K names in the order of the probabilities' columns.
        positive: index of the positive class.
        draws: number of bootstrap draws.
        seed: seed of the draws.
        level: share of draws inside the interval.

    Returns:
        `<metric>`, `<metric>_low` and `<metric>_high` for each metric of `compute_metrics`.
    """
    needs = _checked_requirements(class_names, positive)
    _checked_groups(scored)
    return figures_with_intervals(
        lambda weights: _compute(scored, weights, class_names, positive),
        scored.group_ids,
        needs=needs,
        draws=draws,
        seed=seed,
        level=level,
    )


def figures_with_intervals(
    compute: Callable[[NDArray[np.int32]], Mapping[str, FloatArray]],
    group_ids: ArrayLike,
    *,
    needs: Mapping[str, str],
    draws: int,
    seed: int,
    level: float = 0.95,
) -> MetricTable:
    """Tabulate any figures of n rows with their percentile intervals over patients.

    Args:
        compute: gives each figure, (B,) with NaN where it is undefined, under each of (B, n)
            weights of the rows.
        group_ids: (n,) patient of each row.
        needs: figure to what it needs to have a value; a phrase that reads on from "needs".
        draws: number of bootstrap draws.
        seed: seed of the draws.
        level: share of draws inside the interval.

    Returns:
        `<figure>`, `<figure>_low` and `<figure>_high` for each figure of `compute`.
    """
    groups = _group_indices(group_ids)
    uses, problem = _uses(int(groups.max()) + 1, draws, seed)
    table = MetricTable({}, {})
    for name, row in compute(uses[:, groups]).items():
        _record(table, name, float(row[0]), f"needs {needs[name]}")
        _record_interval(table, name, row, problem, level)
    return table


def paired_difference(
    a: Scored,
    b: Scored,
    *,
    class_names: Sequence[str],
    positive: int,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> MetricTable:
    """Compute a - b for every metric of two models on the same patients, with the same draws.

    Draws are of whole patients, so the two may differ in rows per patient, as a case of five
    trainings does from a case of one.

    The p-value is two-sided, of no difference, and inverts the percentile interval:
    2 * min(#{d* <= 0} + 1, #{d* >= 0} + 1) / (draws + 1), at most 1 (Davison and Hinkley 1997,
    chapter 4, for the + 1). Its smallest value is 2 / (draws + 1), never 0. It is of one metric:
    comparing many needs a correction by the caller.

    Args:
        a: truth, probabilities, decisions and patients of the first model.
        b: those of the second.
        class_names: K names in the order of the probabilities' columns.
        positive: index of the positive class.
        draws: number of bootstrap draws.
        seed: seed of the draws.
        level: share of draws inside the interval.

    Returns:
        `<metric>` (a - b), `<metric>_low`, `<metric>_high` and `<metric>_p_value`.

    Raises:
        ValueError: a patient has rows of one model only.
    """
    needs = _checked_requirements(class_names, positive)
    groups_a, groups_b = _checked_groups(a), _checked_groups(b)
    _require_same_groups(a, b)
    uses, problem = _uses(int(groups_a.max()) + 1, draws, seed)
    rows_a = _compute(a, uses[:, groups_a], class_names, positive)
    rows_b = _compute(b, uses[:, groups_b], class_names, positive)
    return _tabulate_difference(rows_a, rows_b, needs, problem, level)


def unpaired_difference(
    a: Scored,
    b: Scored,
    *,
    class_names: Sequence[str],
    positive: int,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> MetricTable:
    """Compute a - b for every metric of a model on two sets of patients, each drawn on its own.

    Args and returned fields are those of `paired_difference`; the patients are other people, even
    where their ids are spelt alike.
    """
    needs = _checked_requirements(class_names, positive)

    def draw(scored: Scored, own_seed: int) -> tuple[dict[str, FloatArray], str | None]:
        groups = _checked_groups(scored)
        uses, problem = _uses(int(groups.max()) + 1, draws, own_seed)
        return _compute(scored, uses[:, groups], class_names, positive), problem

    (rows_a, problem_a), (rows_b, problem_b) = draw(a, seed), draw(b, seed + 1)
    return _tabulate_difference(rows_a, rows_b, needs, problem_a or problem_b, level)


def _tabulate_difference(
    rows_a: dict[str, FloatArray],
    rows_b: dict[str, FloatArray],
    needs: dict[str, str],
    problem: str | None,
    level: float,
) -> MetricTable:
    """The difference of each metric with its interval and p-value; row 0 is the estimate."""
    table = MetricTable({}, {})
    for name in rows_a:
        # Sums in another order differ by 1e-16; without rounding that would be a signed difference.
        row = np.round(rows_a[name] - rows_b[name], 12)
        _record(table, name, float(row[0]), f"needs {needs[name]} for both models")
        reason = _record_interval(table, name, row, problem, level)
        p_value = float("nan") if reason else _two_sided_p_value(row[1:])
        _record(table, f"{name}_p_value", p_value, reason)
    return table


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UserError(f"level: got {level}; give a share between 0 and 1, such as 0.95")


def _checked_requirements(class_names: Sequence[str], positive: int) -> dict[str, str]:
    """Return the metrics' requirements once no two fields of the flat table share a name."""
    needs = metric_requirements(class_names, positive)
    clash = {name + suffix for name in needs for suffix in SUFFIXES[1:]} & set(needs)
    if clash:
        raise UserError(
            f"class_names: {sorted(clash)} would name both a metric and an end of an interval; "
            f"rename the class that ends in {', '.join(SUFFIXES[1:])}"
        )
    return needs


def _group_indices(group_ids: ArrayLike) -> NDArray[np.int64]:
    """Number the groups from 0 and return (n,) the number of each image's group."""
    ids = np.asarray(group_ids)
    if ids.ndim != 1 or ids.size == 0:
        raise UserError(f"group_ids: got shape {ids.shape}; give one id per image, (n,)")
    missing = _missing_ids(ids.tolist())
    if missing:
        raise UserError(
            f"group_ids: {len(missing)} of {ids.size} are empty, the first at image {missing[0]}; "
            "all of them would be one patient: give each its image_id"
        )
    return np.unique(ids, return_inverse=True)[1]


def _missing_ids(ids: Iterable[object]) -> list[int]:
    """List the positions of None, NaN (the one value unequal to itself) and empty text."""
    return [i for i, value in enumerate(ids) if value is None or value == "" or value != value]


def _checked_groups(scored: Scored) -> NDArray[np.int64]:
    """Return (n,) the number of each row's group, in the order of the sorted ids."""
    groups, n = _group_indices(scored.group_ids), len(np.asarray(scored.y_true))
    if len(groups) != n:
        raise UserError(f"group_ids: got {len(groups)} ids for {n} images; give one per image")
    return groups


def _require_same_groups(a: Scored, b: Scored) -> None:
    """Refuse groups of one model only: their numbers would stand for other patients."""
    alone = np.setxor1d(np.asarray(a.group_ids), np.asarray(b.group_ids))
    if len(alone):
        raise ValueError(
            f"group_ids: {len(alone)} have rows of one model only, the first {alone[0]!s}; "
            "give both models rows of the same patients"
        )


def _draw_groups(count: int, draws: int, seed: int) -> NDArray[np.int32]:
    """Return (draws, count): how often each group is drawn, `count` in all per draw."""
    if draws < 1:
        raise UserError(f"draws: got {draws}; give at least 1")
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    # One histogram for all draws: draw d counts in cells d * count to (d + 1) * count - 1.
    cells = chosen + count * np.arange(draws)[:, None]
    uses = np.bincount(cells.ravel(), minlength=draws * count).reshape(draws, count)
    return uses.astype(np.int32)


def _uses(count: int, draws: int, seed: int) -> tuple[NDArray[np.int32], str | None]:
    """Return a row of ones (the point estimate) above the draws, and why there are no draws."""
    ones = np.ones((1, count), dtype=np.int32)
    if count == 1:
        return ones, "all images are of 1 patient; an interval needs at least 2"
    return np.vstack([ones, _draw_groups(count, draws, seed)]), None


def _compute(
    scored: Scored, weights: NDArray[np.int32], class_names: Sequence[str], positive: int
) -> dict[str, FloatArray]:
    """Return every metric of the rows under each of (B, n) weights."""
    return compute_metrics(
        scored.y_true,
        scored.probabilities,
        scored.predictions,
        class_names=class_names,
        positive=positive,
        weights=weights,
    )


def _record(table: MetricTable, name: str, value: float, reason: str | None) -> None:
    """Write a rounded value; NaN becomes None with its reason."""
    if np.isnan(value):
        table.values[name] = None
        table.undefined[name] = reason or "undefined"
    else:
        table.values[name] = round(value, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def _record_interval(
    table: MetricTable, name: str, row: FloatArray, problem: str | None, level: float
) -> str | None:
    """Write both ends of a metric's interval, and return why there is none, or None."""
    if name in table.undefined:
        interval = Interval(None, None, table.undefined[name])
    elif problem:
        interval = Interval(None, None, problem)
    else:
        interval = percentile_interval(row[1:], level)
    for suffix, end in (("_low", interval.low), ("_high", interval.high)):
        _record(table, name + suffix, float("nan") if end is None else end, interval.reason)
    return interval.reason


def _two_sided_p_value(differences: FloatArray) -> float:
    """Return the p-value of `paired_difference` from (draws,) differences, NaN left out."""
    defined = differences[~np.isnan(differences)]
    tails = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0)) + 1
    return min(1.0, 2 * tails / (len(defined) + 1))
