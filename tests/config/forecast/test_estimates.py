"""What a stage is thought to take, and which way is the longest."""

import json
from pathlib import Path

import pytest

from stages.config.forecast import estimates
from stages.config.forecast.estimates import Estimate, estimate, remaining_path
from stages.config.paths import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Of a clone that has noted one training, and a default run that has another."""
    default = tmp_path / "default_run.csv"
    rows = "# on a machine\nstage,seconds,cpu_seconds,memory_mb\ntrain@b,60,90,900\n"
    default.write_text(rows + "train@a,1,1,1\n")
    monkeypatch.setattr(estimates, "DEFAULT_RUN", default)
    paths = Paths(tmp_path)
    note(paths, "train@a", startup=2.0, work=18.0, peak=300.0, in_worker=False)
    return paths


def note(paths: Paths, stage: str, **spent: object) -> None:
    paths.time(stage).parent.mkdir(parents=True, exist_ok=True)
    paths.time(stage).write_text(json.dumps(spent))


def test_what_this_machine_noted_comes_before_the_default_run(paths: Paths):
    told = estimate(["train@a", "train@b"], paths, cores=2)
    assert told == {"train@a": Estimate(20.0, 300.0), "train@b": Estimate(60.0, 900.0)}


def test_an_unknown_stage_takes_what_its_like_take_and_the_most_memory_of_these(paths: Paths):
    told = estimate(["train@new", "report"], paths, cores=2)
    assert told == {"train@new": Estimate(40.0, 900.0), "report": estimates.UNKNOWN}


def test_memory_counts_for_each_worker_process(paths: Paths):
    note(paths, "crop@full", startup=1.0, work=1.0, peak=100.0, in_worker=True)
    assert estimate(["crop@full"], paths, cores=4)["crop@full"].memory_mb == 500.0


def test_what_an_earlier_version_noted_is_passed_over(paths: Paths):
    note(paths, "train@a", seconds=3.0)
    assert estimate(["train@a"], paths, cores=2)["train@a"] == Estimate(1.0, 1.0)


def test_the_way_to_the_end_is_the_longest_chain():
    needs: dict[str, list[str]] = {"a": [], "b": [], "c": ["a", "b"], "d": ["a"]}
    longest = remaining_path(needs, {"a": 1.0, "b": 5.0, "c": 2.0, "d": 4.0})
    assert longest == {"a": 5.0, "b": 7.0, "c": 2.0, "d": 4.0}


def test_the_default_run_of_the_repository_knows_its_stages():
    known = estimates._read_default_run()
    assert {"check", "compare", "report"} <= known.keys()
    assert all(took.seconds > 0 and took.memory_mb > 0 for took in known.values())
