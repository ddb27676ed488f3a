import os
import sys
from pathlib import Path

import pytest
import requests

from stages.config.errors import UserError
from stages.downloads.providers import get_gdrive, get_kaggle
from tests.downloads.fakes import http_error, install_gdown, install_kagglehub

KAGGLE, GDRIVE = "kaggle:owner/some-set", "gdrive:1-HQQciKYfwAO3oH7ci6zhg45DduvkpnK"


def raising(error: Exception):
    def write(folder: Path) -> None:
        raise error

    return write


def test_kaggle_gives_a_folder_and_the_environment_is_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    calls = install_kagglehub(monkeypatch, lambda folder: (folder / "a.png").write_bytes(b"a"))
    folder = get_kaggle(f"{KAGGLE}/versions/3", tmp_path)
    assert (folder / "a.png").read_bytes() == b"a"
    assert folder.is_relative_to(tmp_path)
    assert [call["handle"] for call in calls] == ["owner/some-set/versions/3"]
    assert "KAGGLEHUB_CACHE" not in os.environ


@pytest.mark.parametrize("status", [401, 403])
def test_missing_credentials_of_kaggle_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    install_kagglehub(monkeypatch, raising(http_error(status)))
    with pytest.raises(UserError, match=r"KAGGLE_USERNAME and KAGGLE_KEY.*kaggle\.json") as caught:
        get_kaggle(KAGGLE, tmp_path)
    assert "\n" not in str(caught.value)
    assert "https://www.kaggle.com/datasets/owner/some-set" in str(caught.value)


@pytest.mark.parametrize("name", ["CredentialError", "UnauthenticatedError"])
def test_credentials_that_kagglehub_itself_misses_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    install_kagglehub(monkeypatch, lambda folder: None)
    error = getattr(sys.modules["kagglehub.exceptions"], name)("User is not authenticated")
    install_kagglehub(monkeypatch, raising(error))
    monkeypatch.setattr(sys.modules["kagglehub.exceptions"], name, type(error))
    with pytest.raises(UserError, match=r"kaggle\.json"):
        get_kaggle(KAGGLE, tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (http_error(404), "has no such data set"),
        (http_error(500), "run again later"),
        (requests.ConnectionError("no route"), "run again to go on"),
        (ValueError("Unsupported archive type."), "Unsupported archive type"),
    ],
)
def test_other_refusals_of_kaggle_are_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    install_kagglehub(monkeypatch, raising(error))
    with pytest.raises(UserError, match=said):
        get_kaggle(KAGGLE, tmp_path)


def test_the_drive_gives_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = install_gdown(monkeypatch, "set.zip", b"abc")
    got = get_gdrive(GDRIVE, tmp_path / "drive", "x")
    assert (got.name, got.read_bytes()) == ("set.zip", b"abc")
    assert [(call["id"], call["resume"]) for call in calls] == [(GDRIVE.partition(":")[2], True)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("FileURLRetrievalError", "shared with anyone who has the link.*cookies.txt"),
        ("DownloadError", "run again to go on"),
    ],
)
def test_refusals_of_the_drive_are_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str, said: str
) -> None:
    install_gdown(monkeypatch, "set.zip", b"", error)
    with pytest.raises(UserError, match=said) as caught:
        get_gdrive(GDRIVE, tmp_path, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["kagglehub", "gdown"])
def test_a_missing_package_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, f"{name}.exceptions", None)
    with pytest.raises(UserError, match=f"needs the package {name}.*pip install {name}=="):
        get_kaggle(KAGGLE, tmp_path) if name == "kagglehub" else get_gdrive(GDRIVE, tmp_path, "x")
