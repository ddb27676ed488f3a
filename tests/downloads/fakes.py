"""Stand-ins for kagglehub 1.0.3 and gdown 6.5.1, with their signatures, exceptions and habits."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import requests


def module(name: str, **content: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


class KaggleApiHTTPError(requests.HTTPError):
    """As kagglehub's: a requests.HTTPError with the response."""

    def __init__(self, message: str, response: requests.Response | None = None) -> None:
        super().__init__(message, response=response)


def http_error(status: int) -> KaggleApiHTTPError:
    response = requests.Response()
    response.status_code = status
    return KaggleApiHTTPError(f"{status} Client Error.\n\nYou don't have permission", response)


def install_kagglehub(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> list[dict[str, object]]:
    """Put it in the place of the package; `write` fills the folder of files, or raises."""
    calls: list[dict[str, object]] = []

    def dataset_download(
        handle: str,
        path: str | None = None,
        *,
        force_download: bool | None = False,
        output_dir: str | None = None,
    ) -> str:
        calls.append({"handle": handle, "path": path, "output_dir": output_dir})
        cache = Path(os.environ["KAGGLEHUB_CACHE"])
        folder = cache / "datasets" / handle / "versions" / "1"
        marker = folder.parent / "1.complete"
        if marker.exists() and folder.exists():
            return str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        marker.touch()
        return str(folder)

    names = "CredentialError UnauthenticatedError DataCorruptionError BackendError NotFoundError"
    errors = {name: type(name, (Exception,), {}) for name in names.split()}
    exceptions = module("kagglehub.exceptions", KaggleApiHTTPError=KaggleApiHTTPError, **errors)
    hub = module("kagglehub", dataset_download=dataset_download, exceptions=exceptions)
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", exceptions)
    return calls


def install_gdown(
    monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, error: str = ""
) -> list[dict[str, object]]:
    """Put it in the place of the package; the drive has one file, or raises the error named."""
    calls: list[dict[str, object]] = []
    download_error = type("DownloadError", (Exception,), {})
    retrieval_error = type("FileURLRetrievalError", (download_error,), {})
    errors = {"DownloadError": download_error, "FileURLRetrievalError": retrieval_error}

    def download(
        url: str | None = None,
        output: str | None = None,
        quiet: bool = False,
        proxy: str | None = None,
        speed: float | None = None,
        use_cookies: bool = True,
        verify: bool | str = True,
        id: str | None = None,
        resume: bool = False,
        format: str | None = None,
        user_agent: str | None = None,
        log_messages: dict[str, str] | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        skip_download: bool = False,
        cookies_file: str | None = None,
        hasher: object = None,
        timeout: float | tuple[float, float] | None = None,
        retries: int = 0,
        cancel: object = None,
    ) -> str:
        calls.append({"id": id, "output": output, "resume": resume})
        if error:
            raise errors[error]("Cannot retrieve the public link of the file.\nToo many users")
        assert output is not None
        target = Path(output) / name
        if not (resume and target.is_file()):
            target.write_bytes(content)
            if progress is not None:
                progress(len(content), None)
        return str(target)

    exceptions = module("gdown.exceptions", **errors)
    monkeypatch.setitem(sys.modules, "gdown.exceptions", exceptions)
    drive = module("gdown", download=download, exceptions=exceptions)
    monkeypatch.setitem(sys.modules, "gdown", drive)
    return calls
