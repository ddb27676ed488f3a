import logging
import sys

import pytest

from stages.config import progress as progress_module
from stages.config.progress import ByteProgress, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed; add to the first element."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
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


def test_on_a_terminal_there_is_a_bar(
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
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
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress_module, "DELAY_S", 0.0)
    with ByteProgress("downloading") as said:
        said.at(500, 1000)
        said.at(200, 1000)
        said.at(1000, 1000)
    assert "downloading" in capsys.readouterr().err
