import hashlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.params import RemoteFile
from stages.downloads import web
from stages.downloads.partial import PartialFile
from stages.downloads.web import get_file
from tests.downloads.server import Handler, Site, cut_after, status


def remote(address: str, **given: object) -> RemoteFile:
    return RemoteFile.model_validate(
        {"address": address, "file": None, "sha256": "0" * 64, "unpack": False} | given
    )


def get(site: Site, folder: Path, path: str = "file.zip", **given: object) -> PartialFile:
    return get_file(remote(site.url(path), **given), folder / "scratch", "downloads.x[0]")


def test_a_file_comes_whole_and_with_its_name(site: Site, tmp_path: Path) -> None:
    got = get(site, tmp_path, "some%20set.zip?token=1")
    assert got.content.read_bytes() == site.content
    assert got.name == "some set.zip"
    assert site.asked == [""]


def test_an_empty_file_is_a_file(site: Site, tmp_path: Path) -> None:
    site.content = b""
    assert get(site, tmp_path).content.read_bytes() == b""


def test_a_broken_connection_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.answers = [cut_after(300_000), cut_after(100_000)]
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == ["", "bytes=300000-", "bytes=400000-"]


def test_what_a_killed_stage_left_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.answers = [cut_after(300_000), *[status(503)] * 3]
    with pytest.raises(UserError, match="300,000 bytes are kept; run again to go on"):
        get(site, tmp_path)
    site.asked, site.answers = [], []
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == ["bytes=300000-"]


def test_what_is_whole_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path)
    site.asked.clear()
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == []


def test_a_kill_behind_the_last_byte_costs_no_second_download(site: Site, tmp_path: Path) -> None:
    partial = get(site, tmp_path)
    partial.begin(validator=partial.validator, total=partial.total, name=partial.name)
    site.asked.clear()
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == ["bytes=1000000-"]


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.has_ranges = False
    site.answers = [cut_after(300_000)]
    assert get(site, tmp_path).content.read_bytes() == site.content


def test_a_file_that_changed_meanwhile_is_not_mixed_of_two(site: Site, tmp_path: Path) -> None:
    def change(handler: Handler) -> None:
        site.headers, site.content = {"ETag": '"two"'}, site.content[::-1]
        handler.send_file()

    site.answers = [cut_after(300_000), change]
    assert get(site, tmp_path, sha256=None).content.read_bytes() == site.content


def test_without_a_mark_of_its_state_only_a_hash_lets_a_file_be_gone_on_with(
    site: Site, tmp_path: Path
) -> None:
    site.headers = {}
    site.answers = [cut_after(300_000)]
    get(site, tmp_path / "hash")
    site.answers = [cut_after(300_000)]
    get(site, tmp_path / "none", sha256=None)
    assert site.asked == ["", "bytes=300000-", "", ""]


def test_a_part_of_a_file_that_changed_is_not_taken(site: Site, tmp_path: Path) -> None:
    end = {"Content-Range": "bytes 300000-999999/1000000", "ETag": '"two"'}
    site.answers = [cut_after(300_000), status(206, end, b"x" * 700_000)]
    assert get(site, tmp_path).content.read_bytes() == site.content


def test_another_part_than_asked_for_is_not_taken(site: Site, tmp_path: Path) -> None:
    wrong = {"Content-Range": "bytes 0-999999/1000000"}
    site.answers = [cut_after(300_000), status(206, wrong, site.content)]
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == ["", "bytes=300000-", ""]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(site: Site, tmp_path: Path, code: int) -> None:
    site.answers = [status(code), status(code)]
    assert get(site, tmp_path).content.read_bytes() == site.content


def test_a_server_says_how_long_to_wait(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    site.answers = [status(429, {"Retry-After": "7"}), status(503, {"Retry-After": "999999"})]
    get(site, tmp_path)
    assert waits == [7.0, web.MAX_WAIT_S]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (404, "404 Not Found; correct the address"),
        (403, "~/.netrc"),
        (401, "~/.netrc"),
        (410, "410"),
    ],
)
def test_what_does_not_pass_is_said_at_once(
    site: Site, tmp_path: Path, code: int, said: str
) -> None:
    site.answers = [status(code)]
    with pytest.raises(UserError, match=said):
        get(site, tmp_path)
    assert len(site.asked) == 1


def test_patience_ends(site: Site, tmp_path: Path) -> None:
    site.answers = [status(500)] * 9
    with pytest.raises(UserError, match="500 Internal Server Error, at 3 attempts in a row; look"):
        get(site, tmp_path)
    assert len(site.asked) == 3


def test_patience_begins_anew_while_bytes_come(site: Site, tmp_path: Path) -> None:
    site.answers = [cut_after(1000)] * 20
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert len(site.asked) == 21


def test_a_server_that_always_breaks_off_at_the_same_byte_is_given_up(
    site: Site, tmp_path: Path
) -> None:
    site.has_ranges = False
    site.answers = [cut_after(1000)] * 99
    with pytest.raises(UserError, match=r"ended after 1,000 of 1,000,000 bytes|1,000 bytes are"):
        get(site, tmp_path)
    assert len(site.asked) <= 4


def test_redirects_are_followed_and_a_circle_of_them_is_not(site: Site, tmp_path: Path) -> None:
    site.answers = [status(302, {"Location": "/elsewhere/real.tar.gz"})]
    assert get(site, tmp_path / "one", "latest/").name == "latest"
    site.answers = [status(302, {"Location": "/file.zip"})] * 99
    with pytest.raises(UserError, match="more than 10 times"):
        get(site, tmp_path / "two")


def test_a_redirect_to_what_is_no_web_address_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers = [status(302, {"Location": "file:///etc/passwd"})]
    with pytest.raises(UserError, match="cannot be fetched"):
        get(site, tmp_path)


def test_a_page_is_no_file(site: Site, tmp_path: Path) -> None:
    site.answers = [status(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Log in")]
    with pytest.raises(UserError, match="gives a web page, no file"):
        get(site, tmp_path)


def test_the_server_names_the_file(site: Site, tmp_path: Path) -> None:
    site.headers |= {"Content-Disposition": "attachment; filename*=UTF-8''../../L%C3%BCbeck%0a.zip"}
    assert get(site, tmp_path).name == "Lübeck_.zip"


def test_params_name_the_file_before_the_server_does(site: Site, tmp_path: Path) -> None:
    site.headers |= {"Content-Disposition": "attachment; filename=theirs.zip"}
    assert get(site, tmp_path, file="ours.zip").name == "ours.zip"


def test_bytes_are_kept_as_sent_whatever_the_server_says_of_their_encoding(
    site: Site, tmp_path: Path
) -> None:
    site.headers |= {"Content-Encoding": "gzip"}
    assert get(site, tmp_path, "set.tar.gz").content.read_bytes() == site.content


def test_a_server_that_does_not_say_the_length_is_warned_of(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def send(handler: Handler) -> None:
        handler.send(200, site.content, {"Content-Length": "", "Connection": "close"})
        handler.close_connection = True

    site.answers = [send]
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert "does not say how long the file is" in caplog.text


def chunked(content: bytes, *, is_whole: bool) -> Callable[[Handler], None]:
    """Send so much in chunks, of which the server does not say beforehand how many there are."""

    def send(handler: Handler) -> None:
        end = b"0\r\n\r\n" if is_whole else b""
        framed = b"%x\r\n%s\r\n%s" % (len(content), content, end)
        handler.send(200, framed, {"Content-Length": "", "Transfer-Encoding": "chunked"})
        handler.close_connection = True

    return send


def test_a_file_may_come_in_chunks(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.answers = [chunked(site.content, is_whole=True)]
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert caplog.messages == []


def test_chunks_that_break_off_are_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.answers = [chunked(site.content[:300_000], is_whole=False)]
    assert get(site, tmp_path).content.read_bytes() == site.content
    assert site.asked == ["", "bytes=300000-"]


def test_a_nonsense_length_is_no_length(site: Site, tmp_path: Path) -> None:
    def send(handler: Handler) -> None:
        handler.send(200, b"abc", {"Content-Length": "3, 3" * 10, "Connection": "close"})
        handler.close_connection = True

    site.answers = [send] * 9
    with pytest.raises(UserError):
        get(site, tmp_path)


def test_a_server_that_is_not_there_is_said_in_a_line(tmp_path: Path, site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="Connection refused") as caught:
        get_file(remote(f"http://127.0.0.1:{port}/a.zip"), tmp_path / "s", "x")
    assert " at 0x" not in str(caught.value)
    assert "HTTPConnectionPool" not in str(caught.value)


def test_a_server_that_falls_silent_is_not_waited_for_without_end(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall(handler: Handler) -> None:
        handler.send_file(cut_after=1000)
        handler.wfile.flush()
        time.sleep(0.5)

    monkeypatch.setattr(web, "TIMEOUT_S", (5.0, 0.1))
    site.answers = [stall]
    assert get(site, tmp_path).content.read_bytes() == site.content


def test_progress_is_said_in_lines(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.config.progress.DELAY_S", 0.0)
    monkeypatch.setattr("stages.config.progress.LINE_EVERY_S", 0.0)
    with caplog.at_level(logging.INFO):
        get(site, tmp_path)
    assert any("of 1.0 MB, about" in line for line in caplog.messages)


def test_a_state_that_a_power_loss_cut_short_is_begun_anew(site: Site, tmp_path: Path) -> None:
    site.answers = [cut_after(300_000), *[status(503)] * 3]
    with pytest.raises(UserError):
        get(site, tmp_path)
    site.answers = []
    (tmp_path / "scratch" / "state.json").write_text('{"validator": ')
    got = get(site, tmp_path)
    assert (
        hashlib.sha256(got.content.read_bytes()).digest() == hashlib.sha256(site.content).digest()
    )
