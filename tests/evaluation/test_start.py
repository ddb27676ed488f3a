"""`evaluate` runs once per case: what it imports is paid for each time."""

import subprocess
import sys

import pytest

SLOW = {"torch", "sklearn", "statsmodels", "matplotlib", "scipy.stats"}  # half a second and more


@pytest.mark.parametrize(
    ("stage", "spared"), [("evaluate", SLOW), ("compare", {"torch", "sklearn"})]
)
def test_a_stage_of_tables_imports_nothing_that_it_can_do_without(
    stage: str, spared: set[str]
) -> None:
    program = f"import sys, stages.{stage}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert not spared & set(done.stdout.split())
