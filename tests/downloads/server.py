"""A server of one file for tests, which can be told to misbehave as servers do."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


@dataclass
class Site:
    """What the server does, and what it was asked.

    Attributes:
        content: the file.
        has_ranges: whether it knows Range.
        headers: of its answers, beside length and range.
        answers: done first, one per request, instead of sending the file.
        asked: headers Range of the requests so far; "" where there was none.
    """

    content: bytes = b""
    has_ranges: bool = True
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    answers: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "file.zip") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


class Handler(BaseHTTPRequestHandler):
    """Sends the file of its site."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.site.asked.append(self.headers.get("Range", ""))
        if self.site.answers:
            self.site.answers.pop(0)(self)
        else:
            self.send_file()

    def send_file(self, cut_after: int | None = None) -> None:
        """All of it, or what Range asks for; cut: so many bytes, and the connection ends."""
        content, start = self.site.content, self._start()
        if start is not None and start >= len(content):
            self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        end = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        status = 200 if start is None else 206
        self.send(status, content[start or 0 :], {} if start is None else end, cut_after)

    def _start(self) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        validators = (self.site.headers.get("ETag"), self.site.headers.get("Last-Modified"))
        is_same = self.headers.get("If-Range") in (None, *validators)
        return int(match[1]) if match and self.site.has_ranges and is_same else None

    def send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        cut_after: int | None = None,
    ) -> None:
        self.send_response(status)
        given = {"Content-Length": str(len(content))} | self.site.headers | (headers or {})
        for name, value in given.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if cut_after is None else content[:cut_after])
        if cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def cut_after(count: int) -> Answer:
    """Send so many bytes of what was promised."""
    return lambda handler: handler.send_file(cut_after=count)


def status(code: int, headers: dict[str, str] | None = None, content: bytes = b"") -> Answer:
    """Answer with a status alone, or a page."""
    return lambda handler: handler.send(code, content, headers)


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Run the server of a site while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
