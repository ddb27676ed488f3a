"""What may have to run: what changed, and what lies behind it."""

from stages.config.forecast.plan import _behind

GRAPH = {"check": [], "prepare": ["check"], "train": ["prepare"], "compare": ["train"]}


def test_all_that_lies_behind_a_change_may_have_to_run():
    assert _behind({"prepare"}, GRAPH) == {
        "prepare": [],
        "train": ["prepare"],
        "compare": ["train"],
    }


def test_an_edit_of_the_parameters_runs_their_check_and_what_has_them():
    assert _behind({"check", "compare"}, GRAPH) == {"check": [], "compare": []}


def test_what_has_changed_waits_for_the_check():
    assert _behind({"check", "prepare"}, GRAPH)["prepare"] == ["check"]
