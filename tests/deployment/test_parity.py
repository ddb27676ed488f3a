import math

import pytest

from stages.config.errors import UserError
from stages.deployment.parity import TOLERANCE, Parity


def parity_of(largest: float) -> Parity:
    return Parity(200, largest, 0, 3, recorded=0.004, precision="bf16")


def test_a_file_passes_below_the_tolerance_alone() -> None:
    parity_of(0.0).require()
    parity_of(TOLERANCE / 2).require()
    for largest in (TOLERANCE, 0.5, math.nan, math.inf):
        with pytest.raises(UserError, match=r"differ by .* nothing is exported"):
            parity_of(largest).require()


def test_what_was_tried_is_told_with_its_figures() -> None:
    said = " ".join(parity_of(2e-6).describe())
    assert "200 pictures" in said
    assert "2.0e-06" in said
    assert "predictions in bf16" in said
    assert "4.0e-03" in said
