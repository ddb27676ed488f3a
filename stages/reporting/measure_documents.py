"""What the files say of calibration by class, of net benefit and of distributions, as records."""

from stages.evaluation.statistics.records import Estimate
from stages.reporting.json_document import Document

Values = list[float | None]


class Band(Document):
    """A curve and the ends of the intervals of its points; None where there is none."""

    value: Values
    low: Values
    high: Values


class SmoothCurve(Document):
    """Share of a class by the probability that was told."""

    predicted: list[float]
    observed: Band


class ClassCalibration(Document):
    """Of one class against the rest."""

    intercept: Estimate
    slope: Estimate
    curve: SmoothCurve


class BenefitElsewhere(Document):
    """Net benefit where another share is ill."""

    prevalence: float
    net_benefit: Values
    treat_all: Values


class DecisionCurve(Document):
    """Net benefit of the positive class by threshold; gain: above the better of all and none."""

    prevalence: float
    threshold: list[float]
    treat_all: list[float]
    net_benefit: Band
    gain: Band
    at_prevalences: list[BenefitElsewhere]


class Distributions(Document):
    """Class that a probability is of -> true class -> rows by bin of equal width."""

    bins: int
    counts: dict[str, dict[str, list[int]]]
