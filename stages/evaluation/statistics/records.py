"""Results as records, and the one place that knows by what names files have them.

A figure of a flat file is `<name>`, `<name>_low` and `<name>_high`; why one has no value stands
beside them, by name, in `undefined`. A difference is `difference`, `low`, `high` and `p_value`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

LOW, HIGH = "_low", "_high"
# Names that would be read as something else behind `<metric>_` are put in brackets there: of a
# class `covid_low` that is `recall_(covid_low)`, since `recall_covid_low` is an end of an interval.
TAKEN_ENDINGS = (LOW, HIGH, "_p_value")
TAKEN_BEGINNING = "macro"  # f1_macro, and f1_macro_run_mean of several runs, are of all classes


class Bootstrap(NamedTuple):
    """Draws behind every interval, and their seed."""

    draws: int
    seed: int

    def independent(self) -> Self:
        """As many draws that have nothing to do with these."""
        return self._replace(seed=self.seed + 1)


class Estimate(NamedTuple):
    """A figure with its 95 % interval, rounded as it is published.

    Attributes:
        value: None where it is undefined.
        low: lower end of the interval; None where there is none.
        high: upper end.
        why_undefined: why the value, or where it has one the interval, is None.
        p_value: two-sided, of no difference, or one-sided, of a probe that tells nothing; of
            differences and of probes only.
        p_value_holm: the same, adjusted for a family of tests; None where it is of none.
        detectable: of a difference, the least true one that so many images settle at 0.05 in 8 of
            10 samples; None where that is not known.
        detectable_holm: the same at 0.05 divided by the tests of the family.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why_undefined: str | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    detectable: float | None = None
    detectable_holm: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; False where there is none."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def named(self, name: str) -> dict[str, float | None]:
        """The value and both ends by the names that a flat file has them by."""
        return {name: self.value, name + LOW: self.low, name + HIGH: self.high}

    def as_difference(self) -> dict[str, float | None]:
        """The value and both ends by the names that a difference has in files."""
        return {"difference": self.value, "low": self.low, "high": self.high}

    def as_test(self) -> dict[str, Any]:
        """A difference with its p-value, and why there is none; nothing of its family."""
        return self.as_difference() | {
            "p_value": self.p_value,
            "detectable": self.detectable,
            "undefined": self.why_undefined,
        }

    def of_family(self) -> dict[str, float | None]:
        """What a family of tests makes of it, by the names that files have it by."""
        return {"p_value_holm": self.p_value_holm, "detectable_holm": self.detectable_holm}


Estimates = Mapping[str, Estimate]


class Paired(NamedTuple):
    """One figure of two models, or of one model on two sets of images, and first minus second."""

    first: Estimate
    second: Estimate
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """`first` and `second` with their ends, then the difference; not its adjusted p-value."""
        return {
            **self.first.named("first"),
            **self.second.named("second"),
            **self.difference.as_test(),
        }

    def with_family(self, p_value: float | None, detectable: float | None) -> Self:
        """The same pair, its difference being one of a family of tests."""
        difference = self.difference._replace(p_value_holm=p_value, detectable_holm=detectable)
        return self._replace(difference=difference)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, and `p_value_holm` where it stands beside it."""
        first, second = (
            Estimate(content[side], content[side + LOW], content[side + HIGH])
            for side in ("first", "second")
        )
        difference = Estimate(
            content["difference"],
            content["low"],
            content["high"],
            why_undefined=content["undefined"],
            p_value=content["p_value"],
            p_value_holm=content.get("p_value_holm"),
            detectable=content.get("detectable"),
            detectable_holm=content.get("detectable_holm"),
        )
        return cls(first, second, difference)


class Flat(NamedTuple):
    """Figures as files have them.

    Attributes:
        values: name to a number, or None where it is undefined.
        undefined: name to reason, for exactly the names whose value is None.
    """

    values: dict[str, float | None]
    undefined: dict[str, str]

    @classmethod
    def merge(cls, *parts: Self) -> Self:
        """All of several, one after the other."""
        merged = cls({}, {})
        for part in parts:
            merged.values.update(part.values)
            merged.undefined.update(part.undefined)
        return merged


def of_class(metric: str, class_name: str) -> str:
    """Name of a figure of one class, such as `recall_covid`."""
    is_taken = class_name.endswith(TAKEN_ENDINGS) or class_name.split("_")[0] == TAKEN_BEGINNING
    return f"{metric}_({class_name})" if is_taken else f"{metric}_{class_name}"


def flatten(estimates: Estimates) -> Flat:
    """Write figures by the names that files have them by."""
    flat = Flat({}, {})
    for name, estimate in estimates.items():
        ends = estimate.named(name)
        flat.values.update(ends)
        reason = estimate.why_undefined or "undefined"
        flat.undefined.update({key: reason for key, value in ends.items() if value is None})
    return flat


def unflatten(values: Mapping[str, Any], undefined: Mapping[str, str]) -> dict[str, Estimate]:
    """Read figures that have both ends of an interval beside them; others are left out."""
    return {
        name: Estimate(
            value,
            values[name + LOW],
            values[name + HIGH],
            undefined.get(name) or undefined.get(name + LOW),
        )
        for name, value in values.items()
        if name + LOW in values and name + HIGH in values
    }


def select(estimates: Estimates, names: Iterable[str], suffix: str = "") -> dict[str, Estimate]:
    """Some of the figures, in the order of the names, each of which the suffix goes behind."""
    return {name + suffix: estimates[name] for name in names}
