import logging
import sys

import pytest

from stages.config import progress as progress_module
from stages.config.progress import progress


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
