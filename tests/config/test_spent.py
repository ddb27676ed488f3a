import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.config.energy import Energy
from stages.config.spent import process_age, total_spent

NOT_TOLD = Energy(None, "no counter")


def run(program: str) -> str:
    """What a process of its own prints: memory once held by this one would count with it."""
    command = [sys.executable, "-c", program]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


def age_by_psutil() -> float:
    return time.time() - psutil.Process().create_time()


def test_the_age_is_that_of_the_process() -> None:
    # On Linux psutil adds the whole second of the boot to what is known to 0.01 s.
    earliest = age_by_psutil() - 1.1
    age = process_age()
    assert earliest <= age <= age_by_psutil() + 1.1


def test_without_proc_the_age_comes_from_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    earliest = age_by_psutil()
    age = process_age()
    assert earliest <= age <= age_by_psutil()


def test_the_seconds_of_ended_workers_count() -> None:
    before = total_spent(0.0, 0.0, NOT_TOLD).cpu
    run("import time\nwhile time.process_time() < 0.5: pass")
    # The system counts in hundredths and rounds down.
    assert total_spent(0.0, 0.0, NOT_TOLD).cpu - before >= 0.4


def test_children_that_ended_before_the_work_are_no_workers_of_it() -> None:
    program = """
import subprocess, sys
from stages.config.energy import Energy
from stages.config.spent import spent_by_children, total_spent
hold = "import time; held = b'x' * 200_000_000\\nwhile time.process_time() < 0.5: pass"
subprocess.run([sys.executable, "-c", hold], check=True)
spent = total_spent(0.0, 0.0, Energy(None, ""), spent_by_children())
assert spent.peak < 150 and not spent.in_worker and spent.cpu < 0.4, spent
"""
    run(program)


def test_the_peak_outlives_what_held_the_memory() -> None:
    program = """
from stages.config.energy import Energy
from stages.config.spent import total_spent
held = b"x" * 200_000_000
del held
spent = total_spent(0.0, 0.0, Energy(None, ""))
assert 200 <= spent.peak < 250 and not spent.in_worker, spent
"""
    run(program)


def test_the_peak_of_a_worker_counts_where_it_is_larger() -> None:
    program = """
import subprocess, sys
from stages.config.energy import Energy
from stages.config.spent import total_spent
before = total_spent(0.0, 0.0, Energy(None, ""))
subprocess.run([sys.executable, "-c", "held = b'x' * 200_000_000"], check=True)
after = total_spent(0.0, 0.0, Energy(None, ""))
assert not before.in_worker and before.peak < 200, before
assert after.in_worker and 200 <= after.peak < 250, after
"""
    run(program)


def test_the_memory_of_the_process_that_starts_a_stage_is_not_counted() -> None:
    program = """
import subprocess, sys
held = b"x" * 200_000_000
inner = (
    "from stages.config.spent import total_spent; from stages.config.energy import Energy;"
    "print(total_spent(0.0, 0.0, Energy(None, '')).peak)"
)
print(subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True).stdout)
"""
    assert 0 < float(run(program)) < 100


def test_seconds_and_memory_are_rounded() -> None:
    spent = total_spent(1.23456, 2.34567, NOT_TOLD)
    assert (spent.startup, spent.work) == (1.23, 2.35)
    assert spent.peak == round(spent.peak, 1)


def test_the_energy_stands_beside_the_seconds() -> None:
    spent = total_spent(0.0, 0.0, Energy(12.5, "package-0"))
    assert (spent.energy, spent.energy_of) == (12.5, "package-0")


def test_the_modules_themselves_cost_no_heavy_import() -> None:
    program = (
        "import sys, stages.config.times;"
        "sys.exit(bool({'psutil', 'pandas', 'numpy', 'jinja2', 'pynvml'} & set(sys.modules)))"
    )
    run(program)
