"""A page in headless Chromium, driven over its DevTools protocol."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import websocket

Json = dict[str, Any]

SWITCHES = (
    "--headless",
    "--no-sandbox",  # a container's root has none to give
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
KEY_NUMBERS = {"Escape": 27}  # of keys that the browser itself acts on
START_SECONDS = 60
ANSWER_SECONDS = 60


def find_chromium() -> str:
    """The browser's path; without one the tests fail, since a skipped check checks nothing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(
        "no Chromium for the tests of the report; install it: apt-get install chromium; "
        "or leave these tests out: pytest -m 'not slow'"
    )


class Chromium:
    """One tab; `events` holds whatever the browser said unasked."""

    def __init__(self, folder: Path) -> None:
        """Start the browser with its profile in an empty folder."""
        command = [find_chromium(), *SWITCHES, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._session: str | None = None
        self._last_id = 0
        self.events: list[Json] = []
        port, path = self._wait_for_port(folder / "DevToolsActivePort")
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}{path}", suppress_origin=True, timeout=ANSWER_SECONDS
        )
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def _wait_for_port(self, file: Path) -> list[str]:
        """The two lines that the browser writes once it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            lines = file.read_text(encoding="utf-8").split() if file.exists() else []
            if len(lines) == 2:
                return lines
            time.sleep(0.05)
        self._process.kill()
        raise TimeoutError(f"Chromium did not start within {START_SECONDS} s")

    def call(self, method: str, **params: Any) -> Json:
        """Run a method of the protocol and give its result."""
        self._last_id += 1
        message: Json = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv())).get("id") != self._last_id:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path) -> None:
        """Go to a file and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not self.said("Page.loadEventFired"):
            self.events.append(json.loads(self._socket.recv()))

    def said(self, method: str) -> list[Json]:
        """What events of one kind told."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page, promises awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, text: str) -> None:
        """Press and release a key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if kind == "keyDown" else {}
            number = KEY_NUMBERS.get(key, 0)
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=number,
                **extra,
            )

    def set_width(self, pixels: int) -> None:
        """Look through a screen of that width."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=pixels,
            height=800,
            deviceScaleFactor=1,
            mobile=pixels < 600,
        )

    def set_scheme(self, scheme: str) -> None:
        """Ask for a `light` or a `dark` page."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
