"""A file from a web address, gone on with where a broken connection or a killed stage left it.

RFC 9110, section 14: `Range` asks for the rest of a file, and `If-Range` for the whole of it where
it is another one by now. A server that knows neither sends the whole again.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import urllib3

from stages.config.errors import UserError
from stages.config.params import RemoteFile
from stages.config.progress import ByteProgress
from stages.config.writing import ADVICE, explain_refusal
from stages.downloads.file_name import name_of
from stages.downloads.partial import PartialFile
from stages.downloads.reason import reason_of

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2**18
TIMEOUT_S = (10.0, 60.0)  # to connect; without a byte
WAITS_S = (1.0, 2.0, 4.0, 8.0)  # before further attempts; anew once more has come than before
MAX_WAIT_S = 120.0  # that a server may ask for
MAX_REDIRECTS = 10
# Request Timeout, Too Early, Too Many Requests, and what is wrong with a server for a while.
PASSING = {408, 425, 429, 500, 502, 503, 504}
UNSAID = {401: "asks who you are", 403: "does not let this be read", 407: "is behind a proxy"}


class _Interrupted(Exception):
    """Something that may be over at the next attempt."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


def get_file(remote: RemoteFile, scratch: Path, what: str) -> PartialFile:
    """Get all bytes of an address.

    Args:
        remote: an address of http or https.
        scratch: folder of this address, in which an earlier run may have left a part.
        what: the work in a word or two, for lines of progress.

    Raises:
        UserError: there is no such file, or it cannot be had now.
    """
    partial = PartialFile(scratch)
    if not partial.is_whole:
        _get_with_patience(remote, partial, what)
        partial.finish()
    return partial


def _get_with_patience(remote: RemoteFile, partial: PartialFile, what: str) -> None:
    """Try again while something comes, and a few times when nothing does."""
    waits, most = iter(WAITS_S), partial.size
    with requests.Session() as session, ByteProgress(what) as progress:
        session.max_redirects = MAX_REDIRECTS
        while True:
            try:
                return _get_rest(session, remote, partial, progress)
            except _Interrupted as interruption:
                if partial.size > most:
                    waits, most = iter(WAITS_S), partial.size
                wait = next(waits, None)
                if wait is None:
                    raise UserError(_given_up(remote, partial, str(interruption))) from None
                wait = min(max(wait, interruption.wait_s), MAX_WAIT_S)
                logger.info("%s: %s; again in %.0f s", what, interruption, wait)
                time.sleep(wait)


def _given_up(remote: RemoteFile, partial: PartialFile, reason: str) -> str:
    todo = "look at the address and the network, then run again"
    if partial.size:
        todo = f"{partial.size:,} bytes are kept; run again to go on"
    return f"{remote.address}: {reason}, at {len(WAITS_S) + 1} attempts in a row; {todo}"


def _get_rest(
    session: requests.Session, remote: RemoteFile, partial: PartialFile, progress: ByteProgress
) -> None:
    """Get what is still missing, or all of it."""
    start = partial.size
    # Without a mark of its state the file may be another one now; a hash would tell.
    if start and not (partial.validator or remote.sha256):
        start = 0
    with _answer(session, remote.address, _headers(start, partial.validator)) as response:
        _require_file(response, remote)
        if response.status_code == 206:
            _require_rest(response, partial, start)
        elif response.status_code == 416:
            if start and start == _whole_size(response) == (partial.total or start):
                return
            partial.remove()
            raise _Interrupted("the server has less of the file than before")
        else:
            if start:
                logger.info("%s: the server sends the whole file again", progress.what)
            _begin(response, remote, partial)
            start = 0
        _receive(response, partial, start, progress)


def _headers(start: int, validator: str) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "dvc-stage-fetch"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    return headers


@contextmanager
def _answer(
    session: requests.Session, address: str, headers: dict[str, str]
) -> Iterator[requests.Response]:
    """The answer, its content still to be read; what the network does meanwhile is told apart."""
    try:
        with session.get(address, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            yield response
    except requests.TooManyRedirects:
        raise UserError(
            f"{address}: leads on to other addresses more than {MAX_REDIRECTS} times; correct the "
            "address"
        ) from None
    except requests.exceptions.SSLError as error:
        raise UserError(f"{address}: cannot be trusted ({reason_of(error)})") from None
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise _Interrupted(f"the connection failed ({reason_of(error)})") from None
    except requests.RequestException as error:  # an address that leads to none
        raise UserError(f"{address}: cannot be fetched ({reason_of(error)})") from None


def _require_file(response: requests.Response, remote: RemoteFile) -> None:
    """Refuse answers that are no part of a file.

    Raises:
        UserError: now and for good.
        _Interrupted: for a while.
    """
    status, said = response.status_code, f"{response.status_code} {response.reason or ''}".strip()
    if remote.sha256 is None and not response.url.startswith("https:"):
        if remote.address.startswith("https:"):
            raise UserError(
                f"{remote.address}: leads on to {response.url}, which is not https; give a sha256, "
                "so that nobody on the way can change the file"
            )
    if status in PASSING:
        raise _Interrupted(f"the server says {said}", _retry_after(response))
    if status in UNSAID:
        raise UserError(
            f"{remote.address}: the server {UNSAID[status]} ({said}); put user and password into "
            "~/.netrc, or get the file by hand and give its folder as source.path"
        )
    if status not in (200, 206, 416):
        raise UserError(f"{remote.address}: the server says {said}; correct the address")
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") and not _is_page(_name(response, remote)):
        raise UserError(
            f"{remote.address}: gives a web page, no file; give the address that the page's own "
            "link to the file has; a page that asks for a login or consent cannot be passed here"
        )


def _is_page(name: str) -> bool:
    return name.lower().endswith((".html", ".htm"))


def _name(response: requests.Response, remote: RemoteFile) -> str:
    disposition = response.headers.get("Content-Disposition")
    return remote.file or name_of(remote.address, disposition, response.url)


def _begin(response: requests.Response, remote: RemoteFile, partial: PartialFile) -> None:
    """Note what a whole file is before its bytes come."""
    partial.remove()
    total = _number(response.headers.get("Content-Length"))
    if total is None and response.headers.get("Transfer-Encoding") != "chunked":
        logger.warning("%s: the server does not say how long the file is", remote.address)
    partial.begin(validator=_validator(response), total=total, name=_name(response, remote))


def _validator(response: requests.Response) -> str:
    """What If-Range may ask by: a strong tag, else the date of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _require_rest(response: requests.Response, partial: PartialFile, start: int) -> None:
    """Refuse a part that is not the one asked for, of the same file."""
    match = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
    total = _number(match[2]) if match else None
    is_other = partial.total not in (None, total)
    is_other |= _validator(response) not in ("", partial.validator)
    if match is None or int(match[1]) != start or is_other:
        partial.remove()
        raise _Interrupted("the server sent another part than asked for, or of another file")
    partial.total = total


def _whole_size(response: requests.Response) -> int | None:
    """What an answer 416 says of the file: `bytes */1234`."""
    return _number(response.headers.get("Content-Range", "").removeprefix("bytes */"))


def _receive(
    response: requests.Response, partial: PartialFile, start: int, progress: ByteProgress
) -> None:
    """Write what comes behind what there is."""
    size = start
    # As it is sent: a server that says a .tar.gz is gzip-encoded text would have it unpacked.
    chunks = response.raw.stream(CHUNK_BYTES, decode_content=False)
    try:
        with partial.content.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
                progress.at(size, partial.total)
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        raise UserError(explain_refusal(partial.content, error)) from None
    if partial.total is not None and size != partial.total:
        if size > partial.total:
            partial.remove()
        raise _Interrupted(f"the connection ended after {size:,} of {partial.total:,} bytes")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text) else None


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait; a date is not looked at."""
    return float(_number(response.headers.get("Retry-After")) or 0)
