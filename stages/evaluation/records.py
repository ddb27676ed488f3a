"""Results as records, and the one place where they become flat JSON and come back from it.

A figure of a file is `<name>`, `<name>_low`, `<name>_high` and, of a difference, `<name>_p_value`;
why one has no value stands beside them, by name, in `undefined`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

LOW, HIGH, P_VALUE = "_low", "_high", "_p_value"
# Names that would be read as something else behind `<metric>_` are put in brackets there: a class
# `covid_low` has the recall `recall_(covid_low)`, since `recall_covid_low` is an end of an interval.
TAKEN_ENDINGS = (LOW, HIGH, P_VALUE)
TAKEN_NAMES = ("macro",)


class Bootstrap(NamedTuple):
    """Draws behind every interval, and their seed."""

    draws: int
    seed: int


class Estimate(NamedTuple):
    """A figure with its 95 % interval, rounded as it is published.

    Attributes:
        value: None where it is undefined.
        low: lower end of the interval; None where there is none.
        high: upper end.
        why_undefined: why the value, or where it has one the interval, is None.
        p_value: two-sided, of no difference; of differences only.
        p_value_holm: the same, adjusted for a family of tests; None where it is of none.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why_undefined: str | None = None
    p_value: float | None = None
    p_value_holm: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; False where there is none."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


Estimates = Mapping[str, Estimate]


class Paired(NamedTuple):
    """One figure of two models, or of one model on two sets of images, and first minus second."""

    first: Estimate
    second: Estimate
    difference: Estimate

    def map_difference(self, change: Callable[[Estimate], Estimate]) -> Self:
        """The same pair with another difference, such as one with an adjusted p-value."""
        return self._replace(difference=change(self.difference))


class Flat(NamedTuple):
    """Figures as files have them.

    Attributes:
        values: name to a number, or None where it is undefined.
        undefined: name to reason, for exactly the names whose value is None.
    """

    values: dict[str, float | None]
    undefined: dict[str, str]


def of_class(metric: str, class_name: str) -> str:
    """Name of a figure of one class, such as `recall_covid`."""
    is_taken = class_name in TAKEN_NAMES or class_name.endswith(TAKEN_ENDINGS)
    return f"{metric}_({class_name})" if is_taken else f"{metric}_{class_name}"


def flatten(estimates: Estimates, *, with_p_values: bool = False) -> Flat:
    """Write figures under the names that files have them by."""
    flat = Flat({}, {})
    for name, estimate in estimates.items():
        ends = {name: estimate.value, name + LOW: estimate.low, name + HIGH: estimate.high}
        if with_p_values:
            ends[name + P_VALUE] = estimate.p_value
        flat.values.update(ends)
        for key, value in ends.items():
            if value is None:
                flat.undefined[key] = estimate.why_undefined or "undefined"
    return flat


def unflatten(values: Mapping[str, Any], undefined: Mapping[str, str]) -> dict[str, Estimate]:
    """Read figures that have both ends of an interval beside them; others are left out."""
    return {
        name: Estimate(
            value,
            values[name + LOW],
            values[name + HIGH],
            undefined.get(name) or undefined.get(name + LOW),
            values.get(name + P_VALUE),
        )
        for name, value in values.items()
        if name + LOW in values and name + HIGH in values
    }


def select(estimates: Estimates, names: Iterable[str]) -> dict[str, Estimate]:
    """Some of the figures, in the order of the names."""
    return {name: estimates[name] for name in names}
