"""The simulation of a run over some workers."""

from tests.benchmarks.schedule import critical_path, grow, simulate

GRAPH: dict[str, list[str]] = {
    "prepare": [],
    "train@a": ["prepare"],
    "train@b": ["prepare"],
    "evaluate@a": ["train@a"],
    "evaluate@b": ["train@b"],
    "cam@a": ["train@a"],
    "cam@b": ["train@b"],
    "compare": ["evaluate@a", "evaluate@b"],
    "report": ["compare", "cam@a", "cam@b"],
}
SECONDS = {"prepare": 2.0, "train@a": 10.0, "train@b": 6.0, "compare": 1.0, "report": 1.0} | {
    f"{verb}@{case}": 1.0 for verb in ("evaluate", "cam") for case in "ab"
}


def test_one_worker_takes_the_sum_and_many_the_critical_path():
    assert simulate(GRAPH, SECONDS, 1) == sum(SECONDS.values())
    assert simulate(GRAPH, SECONDS, 64) == 2 + 10 + 1 + 1 + 1
    path = ["prepare", "train@a", "evaluate@a", "compare", "report"]
    assert critical_path(GRAPH, SECONDS) == path


def test_two_workers_take_the_longest_way_first():
    # 2; then a to 12 beside b to 8 with its evaluate and cam; evaluate a and cam a side by side.
    assert simulate(GRAPH, SECONDS, 2) == 15


def test_a_matrix_grows_by_copies_of_its_cases_which_report_waits_for():
    many, longer = grow(GRAPH, SECONDS, 5)
    assert sum(name.startswith("train@") for name in many) == 5
    assert many["cam@a-0"] == ["train@a-0"]
    assert many["train@a-0"] == ["prepare"]
    assert longer["compare"] == SECONDS["compare"] * 2.5
    assert "cam@b-1" in many["report"]
    assert simulate(many, longer, 1) == sum(longer.values())
