"""Figures of images whose patients could have been others: intervals, and differences of models.

The unit is the group (the patient), because images of one patient are alike: taking images one by
one would give intervals that are too narrow. A model's figures are computed once, as they are,
without each patient and, where nothing is known of how many images a figure rests on, under draws
of whole patients; every interval and every comparison of them is taken from these.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.config.errors import UserError
from stages.evaluation.statistics.effective_size import (
    Support,
    Tested,
    bounded_interval,
    effective_size,
    independent_interval,
    paired_interval,
)
from stages.evaluation.statistics.intervals import Interval, percentile_interval, with_ends
from stages.evaluation.statistics.jackknife import leave_out_parts, variance
from stages.evaluation.statistics.records import Bootstrap, Estimate, Paired
from stages.evaluation.statistics.rounding import rounded, significant

FloatArray = NDArray[np.float64]

ONE_PATIENT = "all images are of 1 patient; an interval needs at least 2"
RESTS_ON_ONE = "without one of the patients it has no value; an interval needs 2 of each kind"


class Draws(NamedTuple):
    """Figures of some images, as they are and as they would be with other patients.

    Attributes:
        values: figure to (1 + draws,): first the figure itself, then that of each draw; NaN where
            it is undefined. (1,) of one patient, of whom there is nothing to draw, and where every
            figure has a support.
        left_out: figure to (parts,): what it is without each patient; (0,) of one patient.
        supports: of the figures whose intervals need no draws.
        needs: figure to what it needs to have a value; a phrase that reads on from "needs".
        patients: (g,) distinct ids, sorted.
        bootstrap: the same one draws the same patients, of the same ids.
    """

    values: Mapping[str, FloatArray]
    left_out: Mapping[str, FloatArray]
    supports: Mapping[str, Support]
    needs: Mapping[str, str]
    patients: NDArray[np.generic]
    bootstrap: Bootstrap

    def only(self, names: Iterable[str]) -> Self:
        """Some of the figures."""
        return self._replace(values={name: self.values[name] for name in names})

    def effective_size(self, name: str) -> float:
        """Of a figure with a value and a support: how many independent images it is worth."""
        spread = variance(self.left_out[name])
        return effective_size(float(self.values[name][0]), spread, self.supports[name])


def draw_figures(
    compute: Callable[[NDArray[np.int32]], Mapping[str, FloatArray]],
    group_ids: ArrayLike,
    needs: Mapping[str, str],
    bootstrap: Bootstrap,
    supports: Mapping[str, Support] | None = None,
) -> Draws:
    """Any figures of n rows, and what they would be with other patients.

    Args:
        compute: gives each figure, (B,) with NaN where it is undefined, under each of (B, n)
            weights of the rows.
        group_ids: (n,) patient of each row.
        needs: figure to what it needs to have a value; a phrase that reads on from "needs".
        bootstrap: draws and their seed.
        supports: what figures rest on; one that is not among them has the percentiles of draws.
    """
    supports = supports or {}
    patients, groups = _number_groups(group_ids)
    as_they_are = np.ones((1, len(patients)), dtype=np.int32)
    if len(patients) < 2:
        return Draws(
            compute(as_they_are[:, groups]),
            dict.fromkeys(needs, np.empty(0)),
            *(supports, needs, patients, bootstrap),
        )
    uses, n_draws = [as_they_are], 0
    if not supports.keys() >= needs.keys():
        uses.append(_draw_groups(len(patients), bootstrap))
        n_draws = bootstrap.draws
    uses.append(leave_out_parts(len(patients), bootstrap.seed))
    rows = compute(np.vstack(uses)[:, groups])
    values = {name: row[: 1 + n_draws] for name, row in rows.items()}
    left_out = {name: row[1 + n_draws :] for name, row in rows.items()}
    return Draws(values, left_out, supports, needs, patients, bootstrap)


def estimate(draws: Draws) -> dict[str, Estimate]:
    """Each figure with its interval: by its support, else the percentiles of the draws."""
    return {name: _estimate(draws, name) for name in draws.values}


def compare(first: Draws, second: Draws, *, paired: bool) -> dict[str, Paired]:
    """Each figure of both, and the first minus the second with its interval and p-value.

    Paired, both are of the same patients, who are left out and drawn alike. Patients are whole, so
    the two may differ in rows per patient, as a case of five trainings does from a case of one.
    Else the patients are other people, even where their ids are spelt alike, and each side stands
    on its own.

    The p-value is two-sided, of no difference, and inverts the interval: it is below 0.05 exactly
    where the interval excludes zero. Of figures without support that holds but for the + 1 in
    2 * min(#{d* <= 0} + 1, #{d* >= 0} + 1) / (draws + 1), at most 1 (Davison and Hinkley 1997,
    chapter 4), which is never 0. It is of one metric: comparing many needs a correction by the
    caller.

    Raises:
        ValueError: paired, and a patient has rows of one model only or the draws are not the same;
            or not paired, and they are.
    """
    _require_fitting_draws(first, second, paired=paired)
    sides = estimate(first), estimate(second)
    return {
        name: Paired(
            sides[0][name],
            sides[1][name],
            _estimate_difference((first, second), name, paired=paired),
        )
        for name in first.values
    }


def bootstrap_weights(group_ids: ArrayLike, bootstrap: Bootstrap) -> NDArray[np.int32]:
    """Draw whole groups with replacement, as many as there are, and count each image's uses.

    The cluster bootstrap of Field and Welsh 2007; strategy 1 of Davison and Hinkley 1997,
    section 3.8. The number of images differs between draws if groups differ in size.

    Args:
        group_ids: (n,) who each image shows; an image of an unknown patient needs an id of its own.
        bootstrap: at least one draw; the same seed and groups give the same draws.

    Returns:
        (draws, n) counts; all images of a group have the same count.

    Raises:
        UserError: an id is missing, there are fewer than two groups, or no draw is asked for.
    """
    patients, groups = _number_groups(group_ids)
    if len(patients) < 2:
        raise UserError("group_ids: got 1 group; a bootstrap needs at least 2 patients")
    return _draw_groups(len(patients), bootstrap)[:, groups]


def estimate_mean(values: FloatArray, group_ids: ArrayLike, bootstrap: Bootstrap) -> Estimate:
    """The mean over images with its 95 % interval, groups drawn whole.

    Args:
        values: (n,) of each image, without NaN; n may be 0.
        group_ids: (n,) whose image it is; fewer than two groups give no interval.
        bootstrap: draws and their seed.
    """
    if not len(values):
        return Estimate(None, why_undefined="needs an image")
    return with_ends(float(np.mean(values)), mean_interval(values, group_ids, bootstrap))


def mean_interval(values: FloatArray, group_ids: ArrayLike, bootstrap: Bootstrap) -> Interval:
    """The interval of `estimate_mean`, not rounded."""
    if len(np.unique(np.asarray(group_ids))) < 2:
        return Interval(None, None, ONE_PATIENT)
    weights = bootstrap_weights(group_ids, bootstrap)
    return percentile_interval(weights @ values / weights.sum(axis=1))


def _estimate(draws: Draws, name: str) -> Estimate:
    """A figure with its interval."""
    row = draws.values[name]
    if np.isnan(row[0]):
        return Estimate(None, why_undefined=f"needs {draws.needs[name]}")
    return with_ends(float(row[0]), _interval(draws, name))


def _interval(draws: Draws, name: str) -> Interval:
    if len(draws.patients) < 2:
        return Interval(None, None, ONE_PATIENT)
    if name not in draws.supports:
        return percentile_interval(draws.values[name][1:])
    spread = variance(draws.left_out[name])
    if np.isnan(spread):
        return Interval(None, None, RESTS_ON_ONE)
    return bounded_interval(float(draws.values[name][0]), spread, draws.supports[name])


def _estimate_difference(sides: tuple[Draws, Draws], name: str, *, paired: bool) -> Estimate:
    # Sums in another order differ by 1e-16; without rounding that would be a signed difference.
    a, b = (side.values[name] for side in sides)
    value = float(np.round(a[0] - b[0], 12))
    if np.isnan(value):
        return Estimate(None, why_undefined=f"needs {sides[0].needs[name]} for both models")
    if min(len(side.patients) for side in sides) < 2:
        return with_ends(value, Interval(None, None, ONE_PATIENT))
    if not all(name in side.supports for side in sides):
        return _percentile_difference(np.round(a - b, 12))
    tested = _test_paired(sides, name, value) if paired else _test_independent(sides, name)
    if tested is None:
        return with_ends(value, Interval(None, None, RESTS_ON_ONE))
    return with_ends(value, tested.interval)._replace(
        p_value=None if tested.p_value is None else significant(tested.p_value),
        detectable=rounded(tested.detectable),
    )


def _percentile_difference(row: FloatArray) -> Estimate:
    """From (1 + draws,) differences: the figures' own, and that of each draw."""
    found = with_ends(float(row[0]), percentile_interval(row[1:]))
    if not found.has_interval:
        return found
    return found._replace(p_value=rounded(_two_sided_p_value(row[1:])))


def _test_paired(sides: tuple[Draws, Draws], name: str, difference: float) -> Tested | None:
    """None where one of the two has no value without a patient."""
    spread = variance(sides[0].left_out[name] - sides[1].left_out[name])
    if np.isnan(spread):
        return None
    first, second = sides
    sizes = first.effective_size(name), second.effective_size(name)
    return paired_interval(difference, spread, sizes, (first.supports[name], second.supports[name]))


def _test_independent(sides: tuple[Draws, Draws], name: str) -> Tested | None:
    first, second = sides
    spreads = variance(first.left_out[name]), variance(second.left_out[name])
    if np.isnan(spreads).any():
        return None
    values = float(first.values[name][0]), float(second.values[name][0])
    return independent_interval(values, spreads, (first.supports[name], second.supports[name]))


def _two_sided_p_value(differences: FloatArray) -> float:
    """Return the p-value of `compare` from (draws,) differences, NaN left out."""
    defined = differences[~np.isnan(differences)]
    tails = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0)) + 1
    return min(1.0, 2 * tails / (len(defined) + 1))


def _require_fitting_draws(first: Draws, second: Draws, *, paired: bool) -> None:
    """Refuse draws that pair other patients, or that go together where they must not."""
    if (first.bootstrap == second.bootstrap) != paired:
        wanted = "the same draws" if paired else "draws of their own"
        raise ValueError(f"bootstrap: got {first.bootstrap} and {second.bootstrap}; give {wanted}")
    alone = np.setxor1d(first.patients, second.patients).tolist() if paired else []
    if alone:
        raise ValueError(
            f"group_ids: {len(alone)} have rows of one model only, the first {alone[0]!s}; "
            "give both models rows of the same patients"
        )


def _number_groups(group_ids: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Return (g,) the sorted ids, and (n,) the number of each image's group among them."""
    ids = np.asarray(group_ids)
    if ids.ndim != 1 or ids.size == 0:
        raise UserError(f"group_ids: got shape {ids.shape}; give one id per image, (n,)")
    missing = _missing_ids(ids.tolist())
    if missing:
        raise UserError(
            f"group_ids: {len(missing)} of {ids.size} are empty, the first at image {missing[0]}; "
            "all of them would be one patient: give each its image_id"
        )
    return np.unique(ids, return_inverse=True)


def _missing_ids(ids: Iterable[object]) -> list[int]:
    """List the positions of None, NaN (the one value unequal to itself) and empty text."""
    return [i for i, value in enumerate(ids) if value is None or value == "" or value != value]


def _draw_groups(count: int, bootstrap: Bootstrap) -> NDArray[np.int32]:
    """Return (draws, count): how often each group is drawn, `count` in all per draw."""
    draws, seed = bootstrap
    if draws < 1:
        raise UserError(f"draws: got {draws}; give at least 1")
    chosen = np.random.default_rng(seed).integers(count, size=(draws, count))
    # One histogram for all draws: draw d counts in cells d * count to (d + 1) * count - 1.
    cells = chosen + count * np.arange(draws)[:, None]
    uses = np.bincount(cells.ravel(), minlength=draws * count).reshape(draws, count)
    return uses.astype(np.int32)
