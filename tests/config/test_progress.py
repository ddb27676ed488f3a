import fcntl
import logging
import math
import os
import pty
import struct
import sys
import termios

import pytest

from stages.config import progress as progress_module
from stages.config.progress import ByteProgress, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed; add to the first element."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress_module, "_last_line_s", -math.inf)
    monkeypatch.setattr(progress_module, "_columns", lambda: 0)
    return now


def test_away_from_a_terminal_there_is_a_line_now_and_then(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in progress(range(10), "ct: decoding", 10):
            clock[0] += 3.0
    assert caplog.messages == [
        "ct: decoding: 1 of 10, about 27 s left",
        "ct: decoding: 5 of 10, about 15 s left",
        "ct: decoding: 9 of 10, about 3 s left",
    ]


def test_what_is_soon_done_says_nothing(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert list(progress(range(10), "decoding", 10)) == list(range(10))
    assert caplog.messages == []


def test_loops_that_follow_each_other_share_their_lines(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for epoch in range(4):
            for _ in progress(range(3), f"epoch {epoch}", 3):
                clock[0] += 2.0
    assert caplog.messages == [
        "epoch 0: 1 of 3, about 4 s left",
        "epoch 2: 1 of 3, about 4 s left",
    ]


def test_a_loop_within_others_says_where_they_are(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in progress(range(3), "trainings", 3):
            for epoch in progress(range(2), "epochs", 2):
                for _ in progress(range(2), f"epoch {epoch}", 2):
                    clock[0] += 30.0
    assert caplog.messages[:3] == [
        "trainings: 0 of 3; epochs: 0 of 2; epoch 0: 1 of 2, about 30 s left",
        "trainings: 0 of 3; epochs: 1 of 2, about 60 s left",
        "trainings: 0 of 3; epochs: 1 of 2, about 30 s left; epoch 1: 1 of 2, about 30 s left",
    ]
    assert caplog.messages[3] == "trainings: 1 of 3, about 4 min left"


def test_the_one_under_way_counts_once_it_has_taken_longer_than_those_before(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for training in progress(range(4), "trainings", 4):
            for _ in progress(range(2), "epochs", 2):
                clock[0] += 30.0 if training == 0 else 120.0
    # 60 s, then 120 s of one that is not over: each takes 90 s at the least.
    of_second = "trainings: 1 of 4, about 3 min left; epochs: 1 of 2, about 2 min left"
    assert caplog.messages[2] == of_second


def test_a_loop_of_one_around_others_is_not_worth_a_word(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in progress(range(1), "trainings", 1):
            for _ in progress(range(2), "epochs", 2):
                clock[0] += 30.0
    assert caplog.messages == ["epochs: 1 of 2, about 30 s left"]


def test_a_loop_that_was_left_is_over(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in progress(range(9), "epochs", 9):
            break
        for _ in progress(range(2), "images", 2):
            clock[0] += 30.0
    assert caplog.messages == ["images: 1 of 2, about 30 s left"]


def test_of_how_many_nobody_knows_there_is_a_count(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in progress(iter("abc"), "unpacking", None):
            clock[0] += 9.0
    assert caplog.messages == ["unpacking: 1 so far"]


def test_no_item_is_taken_before_it_is_asked_for(clock: list[float]) -> None:
    taken: list[int] = []
    items = (taken.append(number) or number for number in range(3))
    assert next(progress(items, "training", 3)) == 0
    assert taken == [0]


def test_on_a_terminal_there_is_a_bar(
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress_module, "_columns", lambda: 80)
    monkeypatch.setattr(progress_module, "DELAY_S", 0.0)
    with caplog.at_level(logging.INFO):
        assert list(progress(range(3), "decoding", 3)) == [0, 1, 2]
    assert "decoding" in capsys.readouterr().err
    assert caplog.messages == []


def test_bytes_are_said_in_lines_with_the_time_left(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), ByteProgress("x") as said:
        for done in range(0, 40_000_000, 1_000_000):
            clock[0] += 0.5
            said.at(20_000_000 + done, 100_000_000)
    assert caplog.messages == [
        "x: 22.0 of 100.0 MB, about 39 s left",
        "x: 42.0 of 100.0 MB, about 29 s left",
    ]


def test_bytes_of_nobody_knows_how_many_are_counted(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), ByteProgress("x") as said:
        said.at(0, None)
        clock[0] += 5
        said.at(7_000_000, None)
    assert caplog.messages == ["x: 7.0 MB"]


def test_bytes_that_begin_anew_count_from_there(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), ByteProgress("x") as said:
        said.at(50_000_000, 100_000_000)
        clock[0] += 0.5
        said.at(1_000_000, 100_000_000)
        clock[0] += 2
        said.at(3_000_000, 100_000_000)
    assert caplog.messages == ["x: 3.0 of 100.0 MB, about 97 s left"]


def test_bytes_on_a_terminal_are_a_bar(
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress_module, "_columns", lambda: 80)
    monkeypatch.setattr(progress_module, "DELAY_S", 0.0)
    with ByteProgress("downloading") as said:
        said.at(500, 1000)
        said.at(200, 1000)
        said.at(1000, 1000)
    assert "downloading" in capsys.readouterr().err


def test_a_terminal_that_does_not_say_its_width_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()  # of 0 columns, as in some containers
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert terminal.isatty()
        assert progress_module._columns() == 0
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 72, 0, 0))
        assert progress_module._columns() == 72
        monkeypatch.undo()
    os.close(ours)
