"""Figures under draws of whole patients: their intervals, and what two models differ by.

The unit that is sampled anew is the group (the patient), because images of one patient are alike:
drawing images one by one would give intervals that are too narrow. A model's figures are computed
once under all draws; every interval and every comparison of them is taken from these.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.config.errors import UserError
from stages.evaluation.statistics.intervals import Interval, percentile_interval, with_ends
from stages.evaluation.statistics.records import Bootstrap, Estimate, Paired
from stages.evaluation.statistics.rounding import rounded

FloatArray = NDArray[np.float64]

ONE_PATIENT = "all images are of 1 patient; an interval needs at least 2"


class Draws(NamedTuple):
    """Figures of some images, as they are and under each draw of their patients.

    Attributes:
        values: figure to (1 + draws,): first the figure itself, then that of each draw; NaN where
            it is undefined. Of one patient (1,): there is nothing to draw.
        needs: figure to what it needs to have a value; a phrase that reads on from "needs".
        patients: (g,) distinct ids, sorted.
        bootstrap: the same one draws the same patients, of the same ids.
    """

    values: Mapping[str, FloatArray]
    needs: Mapping[str, str]
    patients: NDArray[np.generic]
    bootstrap: Bootstrap

    def only(self, names: Iterable[str]) -> Self:
        """Some of the figures."""
        return self._replace(values={name: self.values[name] for name in names})


def draw_figures(
    compute: Callable[[NDArray[np.int32]], Mapping[str, FloatArray]],
    group_ids: ArrayLike,
    needs: Mapping[str, str],
    bootstrap: Bootstrap,
) -> Draws:
    """Any figures of n rows under draws of the patients.

    Args:
        compute: gives each figure, (B,) with NaN where it is undefined, under each of (B, n)
            weights of the rows.
        group_ids: (n,) patient of each row.
        needs: figure to what it needs to have a value; a phrase that reads on from "needs".
        bootstrap: draws and their seed.
    """
    patients, groups = _number_groups(group_ids)
    uses = np.ones((1, len(patients)), dtype=np.int32)
    if len(patients) > 1:
        uses = np.vstack([uses, _draw_groups(len(patients), bootstrap)])
    return Draws(compute(uses[:, groups]), needs, patients, bootstrap)


def estimate(draws: Draws) -> dict[str, Estimate]:
    """Each figure with its percentile interval."""
    return {
        name: _estimate(row, len(draws.patients) > 1, draws.needs[name])
        for name, row in draws.values.items()
    }


def compare(first: Draws, second: Draws, *, paired: bool) -> dict[str, Paired]:
    """Each figure of both, and the first minus the second with its interval and p-value.

    Paired, both are of the same patients and have the same draws of them. Draws are of whole
    patients, so the two may differ in rows per patient, as a case of five trainings does from a
    case of one. Else the patients are other people, even where their ids are spelt alike, and each
    side is drawn on its own.

    The p-value is two-sided, of no difference, and inverts the percentile interval:
    2 * min(#{d* <= 0} + 1, #{d* >= 0} + 1) / (draws + 1), at most 1 (Davison and Hinkley 1997,
    chapter 4, for the + 1). Its smallest value is 2 / (draws + 1), never 0. It is of one metric:
    comparing many needs a correction by the caller.

    Raises:
        ValueError: paired, and a patient has rows of one model only or the draws are not the same;
            or not paired, and they are.
    """
    _require_fitting_draws(first, second, paired=paired)
    can_draw = min(len(first.patients), len(second.patients)) > 1
    sides = estimate(first), estimate(second)
    return {
        name: Paired(
            sides[0][name],
            sides[1][name],
            _estimate_difference(row, second.values[name], can_draw, first.needs[name]),
        )
        for name, row in first.values.items()
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


def _estimate(row: FloatArray, can_draw: bool, need: str) -> Estimate:
    """A figure from (1 + draws,) values: its own, and that of each draw."""
    if np.isnan(row[0]):
        return Estimate(None, why_undefined=f"needs {need}")
    interval = percentile_interval(row[1:]) if can_draw else Interval(None, None, ONE_PATIENT)
    return with_ends(float(row[0]), interval)


def _estimate_difference(a: FloatArray, b: FloatArray, can_draw: bool, need: str) -> Estimate:
    # Sums in another order differ by 1e-16; without rounding that would be a signed difference.
    row = np.round(a - b, 12)
    found = _estimate(row, can_draw, f"{need} for both models")
    if not found.has_interval:
        return found
    return found._replace(p_value=rounded(_two_sided_p_value(row[1:])))


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
