"""What is said while stages run side by side."""

import logging
from collections.abc import Mapping

import pytest

from stages.parallelism import board as board_module
from stages.parallelism.board import Board
from stages.parallelism.runner import Outcome


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed; add to the first element."""
    now = [0.0]
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now[0])
    return now


def begin(board: Board, stage: str) -> None:
    board.hear((0.0, {"stage": stage, "kind": "started", "where": "here"}))


def last_line(
    caplog: pytest.LogCaptureFixture, clock: list[float], seconds: Mapping[str, float | None]
) -> str:
    """Said at the end of `check`, with a training at work for 90 seconds."""
    with caplog.at_level(logging.INFO):
        board = Board(seconds, stages_at_once=2)
        begin(board, "train@a")
        clock[0] += 90.0
        board.end(Outcome("check", None, True, 4.0, "", None))
    return caplog.messages[-1]


def test_what_is_left_is_what_stages_took_before_shared_by_all_workers(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    said = last_line(caplog, clock, {"check": 4.0, "train@a": 100.0, "report": 30.0})
    assert said == "check: done, 4 s; 1 of 3 stages, about 20 s left"


def test_a_stage_that_was_never_timed_is_counted_and_not_guessed(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    said = last_line(caplog, clock, {"check": 4.0, "train@a": None, "report": 30.0})
    assert said == "check: done, 4 s; 1 of 3 stages, about 15 s and 1 never timed left"


def test_a_stage_that_takes_far_longer_than_before_is_named(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    said = last_line(caplog, clock, {"check": 4.0, "train@a": 20.0, "report": 30.0})
    assert said.endswith("1 of 3 stages, about 15 s left; longer than before: train@a")
