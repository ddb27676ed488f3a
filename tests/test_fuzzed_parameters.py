"""A selection of `tests/faults/parameters.py`: damaged parameter files through the check."""

from pathlib import Path

import pytest

from tests.faults.parameters import check_file, fails_later, furnish, make_file

SEED = 0
# 0 (of the default matrix) is left out: its networks take seconds.
NUMBERS = [number for number in range(1, 61) if number % 10]


def test_damaged_parameters_are_refused_in_lines_or_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = set()
    for number in NUMBERS:
        kind, content = make_file(number, SEED)
        outcome, params = check_file(content)
        assert outcome.kind in ("accepted", "refused"), (number, kind, outcome)
        if params:
            assert fails_later(params) == "", (number, kind)
        found.add(outcome.kind)
    assert found == {"accepted", "refused"}
