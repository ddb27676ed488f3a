"""How figures, p-values, names and settings are written, the same way wherever they stand."""

from typing import Any, NamedTuple

from stages.evaluation.statistics.records import Estimate

UNDEFINED = "n/a"
DISCUSSED = ("balanced_accuracy", "auroc")  # the metrics that sentences are about
SIGNIFICANCE = 0.05


class Mark(NamedTuple):
    """A sign behind a name, and what it says."""

    sign: str
    note: str


LEAKAGE = Mark(" †", "leakage allowed")
OPTIMISTIC = Mark(" §", "optimistic protocol")
STARTS_AT_CHANCE = Mark(" ‡", "starts from weights no better than chance")
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "eigencam": "EigenCAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "layercam": "LayerCAM",
    "scorecam": "Score-CAM",
    "xgradcam": "XGrad-CAM",
    "hirescam": "HiRes-CAM",
}
POINT_NAMES = {
    "youden": "Youden's index",
    "specificity_90": "specificity of 90 % on val",
    "specificity_95": "specificity of 95 % on val",
    "sensitivity_90": "sensitivity of 90 % on val",
    "sensitivity_95": "sensitivity of 95 % on val",
}


def as_text(value: float | None, sign: str = "") -> str:
    """Three decimals, n/a for None; with "+" as sign, a difference."""
    return UNDEFINED if value is None else f"{value:{sign}.3f}"


def percent(share: float | None) -> str:
    """A share as whole percent."""
    return UNDEFINED if share is None else f"{share:.0%}"


def ends_text(estimate: Estimate, sign: str = "", decimals: int = 3) -> str:
    """The interval; nothing where there is none."""
    if not estimate.has_interval:
        return ""
    return f"{estimate.low:{sign}.{decimals}f} to {estimate.high:{sign}.{decimals}f}"


def with_interval(estimate: Estimate) -> str:
    """A figure and its interval, as in a sentence."""
    ends = ends_text(estimate)
    return f"{as_text(estimate.value)} ({f'95 % interval {ends}' if ends else 'no interval'})"


def difference_text(estimate: Estimate) -> str:
    """A difference with its interval and, if there are any, its p-values."""
    plain, adjusted = estimate.p_value, estimate.p_value_holm
    tested = "" if plain is None else f", {p_values_text(plain, adjusted)}"
    return f"{as_text(estimate.value, '+')} (95 % interval {ends_text(estimate, '+')}{tested})"


def p_text(value: float | None) -> str:
    """A p-value; never 0."""
    return "< 0.001" if value is not None and value < 0.0005 else as_text(value)


def p_values_text(plain: float, adjusted: float | None) -> str:
    """As it is, and adjusted where it was; strata are not."""
    said = _p_equation(plain)
    return said if adjusted is None else f"{said}, adjusted {_p_equation(adjusted)}"


def _p_equation(value: float) -> str:
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def is_settled(difference: Estimate) -> bool:
    """Zero outside the interval, the adjusted p-value small."""
    return difference.excludes_zero and (difference.p_value_holm or 0) < SIGNIFICANCE


def power_text(difference: Estimate) -> str:
    """The least true difference that would have been settled; nothing where one is."""
    in_family, alone = difference.detectable_holm, difference.detectable
    least = alone if in_family is None else in_family
    if least is None or not difference.has_interval or is_settled(difference):
        return ""
    return f"{least:.2f} would be"


def standing(difference: Estimate, first: str, second: str, ahead: str = "in favour of") -> str:
    """Who is ahead, if that is settled; else what so many images could have settled."""
    if not difference.has_interval:
        return "not compared"
    if not is_settled(difference):
        power = power_text(difference)
        return "not settled" + (f" (a difference of {power})" if power else "")
    assert difference.low is not None  # it has an interval
    return f"settled {ahead} {first if difference.low > 0 else second}"


def label(name: str) -> str:
    """A field's or a metric's name in words."""
    return (
        name.replace("_", " ").replace("auroc", "AUROC").replace("f1", "F1").replace("ece", "ECE")
    )


def method_label(name: str) -> str:
    """A method of maps, or two as in `gradcam v eigencam`."""
    return " v ".join(METHOD_NAMES.get(part, label(part)) for part in name.split(" v "))


def point_label(name: str) -> str:
    """An operating point in words."""
    return POINT_NAMES.get(name, label(name))


def setting(value: Any) -> str:
    """A value of params.yaml as text."""
    if isinstance(value, dict):  # of a kind, with options: a loss or a crop
        kind, *options = value.items()
        return ", ".join([kind[1], *(f"{label(key)} {setting(v)}" for key, v in options)])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
