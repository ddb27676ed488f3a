"""To how many decimals figures are published."""

import math

DECIMALS = 6


def rounded(value: float) -> float | None:
    """As it is published; NaN is None."""
    return None if math.isnan(value) else round(float(value), DECIMALS) + 0.0  # turns -0.0 to 0.0


def significant(value: float) -> float:
    """To six significant digits, so that a small p-value is not written as 0."""
    return float(f"{value:.6g}")
