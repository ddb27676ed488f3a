"""A download into its folder: whole or not at all."""

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.downloads import web
from stages.downloads.receipt import RECEIPT, awaited
from stages.fetch import fetch_download
from tests.downloads.fakes import install_gdown, install_kagglehub
from tests.downloads.server import Site, cut_after, serving, status
from tests.downloads.test_unpacking import held, zipped

RawParams = dict[str, Any]
GDRIVE = "gdrive:1-HQQciKYfwAO3oH7ci6zhg45DduvkpnK"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(web, "WAITS_S", (0.0, 0.0))
    with serving(
        Site(zipped({"covid/1.png": b"1" * 5000, "normal/2.png": b"2" * 5000}))
    ) as running:
        yield running


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


def entry(address: str, **given: Any) -> RawParams:
    return {"address": address, "file": None, "sha256": None, "unpack": False} | given


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def named(files: Sequence[RawParams]) -> RawParams:
    return {f"f{number}": file for number, file in enumerate(files)}


def fetch(raw: RawParams, paths: Paths, *files: RawParams) -> Path:
    raw["downloads"] = {"x": named(files)}
    fetch_download(parse_params(raw), "x", paths)
    return paths.download("x")


def test_a_file_lies_in_the_folder_of_its_download(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    folder = fetch(tiny_params, paths, entry(site.url(), sha256=sha256(site.content)))
    assert (folder / "file.zip").read_bytes() == site.content
    assert not paths.scratch("fetch-x").exists()


def test_the_folder_says_what_it_is_of_and_no_time(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    given = entry(site.url(), sha256=sha256(site.content))
    folder = fetch(tiny_params, paths, given)
    first = held(folder)
    assert held(fetch(tiny_params, paths, given)) == first
    assert json.loads(first[RECEIPT]) == {
        "f0": {
            "address": site.url(),
            "unpack": False,
            "name": "file.zip",
            "sha256": sha256(site.content),
        }
    }


def test_an_archive_becomes_folders(tiny_params: RawParams, paths: Paths, site: Site) -> None:
    given = entry(site.url(), sha256=sha256(site.content), unpack=True)
    assert set(held(fetch(tiny_params, paths, given))) == {"covid/1.png", "normal/2.png", RECEIPT}


def test_an_address_without_an_ending_is_unpacked_by_the_name_given(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    given = entry(site.url("blob"), sha256=sha256(site.content), unpack=True, file="set.zip")
    assert "covid/1.png" in held(fetch(tiny_params, paths, given))


def test_a_wrong_hash_leaves_nothing_and_names_both(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    with pytest.raises(UserError) as caught:
        fetch(tiny_params, paths, entry(site.url(), sha256="0" * 64))
    said = str(caught.value)
    assert said.startswith("params.yaml: downloads.x.f0: sha256: got 0000")
    assert sha256(site.content) in said
    assert "\n" not in said
    assert not paths.download("x").exists()
    assert not [file for file in paths.scratch("fetch-x").rglob("*") if file.is_file()]


def test_a_hash_that_nobody_has_given_is_said(
    tiny_params: RawParams,
    paths: Paths,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_gdown(monkeypatch, "set.zip", b"abc")
    with caplog.at_level(logging.INFO):
        folder = fetch(tiny_params, paths, entry(GDRIVE))
    assert (folder / "set.zip").read_bytes() == b"abc"
    assert f"downloads.x.f0.sha256 is null; what came has sha256: {sha256(b'abc')}" in caplog.text
    assert f"{folder / 'set.zip'}: for source.path" in caplog.text


def test_a_killed_stage_is_gone_on_with_and_its_half_is_no_output(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    given = entry(site.url(), sha256=sha256(site.content))
    site.answers = [cut_after(4000), *[status(503)] * 9]
    with pytest.raises(UserError, match="4,000 bytes are kept"):
        fetch(tiny_params, paths, given)
    assert not paths.download("x").exists()
    site.asked, site.answers = [], []
    fetch(tiny_params, paths, given)
    assert site.asked == ["bytes=4000-"]


def test_what_is_half_here_of_another_address_is_not_gone_on_with(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    site.answers = [cut_after(4000), *[status(503)] * 9]
    with pytest.raises(UserError):
        fetch(tiny_params, paths, entry(site.url(), sha256=sha256(site.content)))
    site.asked, site.answers = [], []
    fetch(tiny_params, paths, entry(site.url("other.zip"), sha256=sha256(site.content)))
    assert site.asked == [""]


def test_a_second_file_that_cannot_be_had_costs_the_first_no_second_download(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    hashed = {"sha256": sha256(site.content)}
    site.answers = [lambda handler: handler.send_file(), status(404)]
    files = (entry(site.url("a.zip"), **hashed), entry(site.url("b.zip"), **hashed))
    with pytest.raises(UserError, match=r"downloads\.x\.f1: .*404"):
        fetch(tiny_params, paths, *files)
    site.asked = []
    assert {"a.zip", "b.zip"} < set(held(fetch(tiny_params, paths, *files)))
    assert len(site.asked) == 1


def test_an_archive_that_cannot_be_unpacked_is_kept_and_said_where(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    site.content = b"PK\x03\x04 no archive"
    given = entry(site.url(), sha256=sha256(site.content), unpack=True)
    with pytest.raises(
        UserError, match=r"downloads\.x\.f0: file\.zip: cannot be unpacked.*to be r"
    ):
        fetch(tiny_params, paths, given)
    assert not paths.download("x").exists()


def test_two_files_of_one_name_are_refused(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    hashed = {"sha256": sha256(site.content)}
    with pytest.raises(UserError, match=r"downloads\.x\.f1: file: 'a.zip' comes twice"):
        fetch(
            tiny_params,
            paths,
            entry(site.url("1/a.zip"), **hashed),
            entry(site.url("2/a.zip"), **hashed),
        )


def test_kaggles_folder_becomes_that_of_the_download(
    tiny_params: RawParams, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> None:
        (folder / "COVID").mkdir()
        (folder / "COVID" / "Covid (1).png").write_bytes(b"1")
        (folder / "more.zip").write_bytes(zipped({"non-COVID/2.png": b"2"}))

    install_kagglehub(monkeypatch, write)
    kept = held(fetch(tiny_params, paths, entry("kaggle:o/s")))
    assert set(kept) == {"COVID/Covid (1).png", "more.zip", RECEIPT}
    unpacked = held(fetch(tiny_params, paths, entry("kaggle:o/s", unpack=True)))
    assert set(unpacked) == {"COVID/Covid (1).png", "non-COVID/2.png", RECEIPT}


def test_a_data_set_that_kagglehub_keeps_elsewhere_stays_there(
    tiny_params: RawParams, paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "1.png").write_bytes(b"1")
    install_kagglehub(monkeypatch, lambda folder: None)
    hub = sys.modules["kagglehub"]
    monkeypatch.setattr(hub, "dataset_download", lambda handle: str(mounted))
    assert set(held(fetch(tiny_params, paths, entry("kaggle:o/s")))) == {"1.png", RECEIPT}
    assert (mounted / "1.png").exists()


def test_a_folder_is_awaited_until_it_holds_what_is_asked_for_now(
    tiny_params: RawParams, paths: Paths, site: Site
) -> None:
    given = entry(site.url(), sha256=sha256(site.content))
    inside = "data/downloads/x/file.zip"

    def waiting(*files: RawParams) -> list[str]:
        tiny_params["downloads"] = {"x": named(files)}
        return awaited(parse_params(tiny_params), paths, inside, "/elsewhere", "stages/phantoms")

    assert waiting(given) == ["x"]
    fetch(tiny_params, paths, given)
    assert waiting(given) == []
    assert waiting(given | {"address": "https://a.org/other.zip"}) == ["x"]
    assert waiting(given | {"sha256": "1" * 64}) == ["x"]
    assert waiting(given | {"file": "other.zip"}) == ["x"]
    assert waiting(given | {"unpack": True}) == ["x"]
    assert waiting(given, given | {"file": "second.zip"}) == ["x"]
    (paths.download("x") / RECEIPT).write_text("[1]")
    assert waiting(given) == ["x"]


def test_what_lay_there_before_goes(tiny_params: RawParams, paths: Paths, site: Site) -> None:
    old = paths.download("x") / "old" / "1.png"
    old.parent.mkdir(parents=True)
    old.touch()
    fetch(tiny_params, paths, entry(site.url(), sha256=sha256(site.content)))
    assert not old.exists()
    shutil.rmtree(paths.download("x"))
