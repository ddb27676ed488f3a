"""The command: what it prints, what it writes, and when it writes nothing."""

import argparse
import difflib
from pathlib import Path

import pytest

from stages.adopt import adopt
from stages.adoption import sampling
from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.yaml_file import read_yaml
from tests.adoption.layouts import LAYOUTS, draw_all

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_bytes()
SETS = {layout.name: layout for layout in LAYOUTS}


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_PICTURES", 12)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(PARAMS)


def run(source: str | Path, name: str | None = None, *, write: bool = False) -> int:
    return adopt(argparse.Namespace(source=str(source), name=name, write=write))


def test_what_it_prints_is_yaml_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    SETS["radiography-database"].make(Path("My Set"))
    assert run("My Set") == 0
    printed = capsys.readouterr().out
    Path("printed.yaml").write_text(printed)
    fragment = read_yaml(Path("printed.yaml"))
    assert list(fragment) == ["datasets", "views", "cases"]  # type: ignore[call-overload]
    assert list(fragment["datasets"]) == ["my-set"]  # type: ignore[index]
    assert Path("params.yaml").read_bytes() == PARAMS


def test_written_entries_are_those_printed_and_all_other_lines_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    SETS["chest-xray-pneumonia"].make(Path("set"))
    assert run("set", "mine", write=True) == 0
    Path("printed.yaml").write_text(capsys.readouterr().out)
    fragment, written = read_yaml(Path("printed.yaml")), read_yaml(Path("params.yaml"))
    for section, entries in fragment.items():  # type: ignore[attr-defined]
        for name, entry in entries.items():
            assert written[section][name] == entry  # type: ignore[index]
    before = PARAMS.decode().splitlines(keepends=True)
    after = Path("params.yaml").read_text().splitlines(keepends=True)
    assert {line[0] for line in difflib.ndiff(before, after)} == {" ", "+"}
    params = load_params(Path("params.yaml"))
    case = params.case("mine-lite0-imagenet")
    assert params.view(case.view).dataset == "mine"
    assert not list(Path().glob(".params*"))


def test_a_taken_name_or_one_that_no_entry_can_have_is_refused() -> None:
    SETS["lung-ct-scans"].make(Path("set"))
    with pytest.raises(UserError, match=r"datasets\.ct: is there already"):
        run("set", "ct", write=True)
    with pytest.raises(UserError, match=r"name: got 'My Set'; allowed"):
        run("set", "My Set")


def test_nothing_is_written_that_the_check_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("COVID", "Normal"):
        draw_all(Path("set") / folder, "xray", [f"{n}x.png" for n in range(3)])
    with pytest.raises(UserError, match=r"nothing is written: .*audit\.folds: got 5"):
        run("set", "mine", write=True)
    assert Path("params.yaml").read_bytes() == PARAMS
    assert "datasets:\n  mine:" in capsys.readouterr().out
    assert run("set", "mine") == 1


def test_folders_that_the_listing_refuses_are_named_and_nothing_is_written() -> None:
    for folder in ("COVID", "Normal"):
        for kind in ("front", "side"):
            draw_all(Path("set") / folder / kind, "xray", [f"{n}x.png" for n in range(12)])
    with pytest.raises(UserError, match=r"nothing is written: .*'front'.*add those"):
        run("set", "mine", write=True)
    assert Path("params.yaml").read_bytes() == PARAMS


def test_a_params_file_without_an_example_for_a_case_says_so() -> None:
    SETS["covid-qu-ex"].make(Path("set"))
    head, cases, rest = PARAMS.decode().partition("\ncases:\n")
    lines = [line for line in rest.splitlines() if not line.startswith("  ct-cnn-lungs:")]
    start = next(n for n, line in enumerate(lines) if line.startswith("comparisons:"))
    kept = [line for line in lines[:start] if line.startswith("  ct-cnn-full:")]  # bce: two classes
    end = next(n for n, line in enumerate(lines) if line.startswith("audit:"))
    none = [f"{section}: {{}}" for section in ("comparisons", "searches", "external")]
    text = "\n".join([head + cases + kept[0], *none, *lines[end:], ""])
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match="add a case by hand"):
        run("set", "mine", write=True)
    assert Path("params.yaml").read_text() == text


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("catalogue:") == 0
    assert "catalogue:darkcovidnet" in capsys.readouterr().out


def test_a_public_set_is_written_with_its_download_and_its_traps_are_said(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert run("catalogue:darkcovidnet", "mine", write=True) == 0
    assert "The size of a picture tells COVID-19 from the rest" in caplog.text  # a trap
    params = load_params(Path("params.yaml"))
    assert params.dataset("mine").source.path == "data/downloads/darkcovidnet/darkcovidnet.zip"
    assert params.downloads["darkcovidnet"]["images"].address.startswith("https://github.com/")
    assert any(params.view(case.view).dataset == "mine" for case in params.cases.values())
    capsys.readouterr()
    # A second entry of it needs no second download.
    assert run("catalogue:darkcovidnet", "again", write=True) == 0
    assert "downloads:" not in capsys.readouterr().out


def test_a_set_that_has_to_be_got_by_hand_is_printed_and_not_written() -> None:
    assert run("catalogue:covidx") == 1
    with pytest.raises(UserError, match="no such"):
        run("catalogue:covidx", write=True)
    assert Path("params.yaml").read_bytes() == PARAMS


def test_a_set_that_the_catalogue_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(UserError, match="did you mean 'kermany'"):
        run("catalogue:kermani")


@pytest.mark.parametrize(
    ("address", "name", "unpack"),
    [
        ("https://example.org/a/CT%20scans.zip?dl=1", "ct-scans", True),
        ("kaggle:owner/lung-ct/versions/3", "lung-ct", False),
        ("gdrive:1-HQQciKYfwAO3oH7ci6zhg45DduvkpnK", "images", True),
    ],
)
def test_an_address_becomes_a_download(
    address: str, name: str, unpack: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert run(address, write=True) == 0
    entry = load_params(Path("params.yaml")).downloads[name]["images"]
    assert (entry.address, entry.unpack) == (address, unpack)
    assert f"dvc repro fetch@{name}" in caplog.text


@pytest.mark.parametrize("address", ["ftp://example.org/a.zip", "s3://bucket/a", "kaggle:slug"])
def test_what_is_no_address_that_can_be_asked_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="allowed: https://"):
        run(address)


def test_what_was_fetched_is_written_as_dvc_knows_it() -> None:
    SETS["radiography-database"].make(Path("data/downloads/rad/set"))
    assert run("https://example.org/rad.zip", write=True) == 0
    assert run(Path("data/downloads/rad").resolve(), "mine", write=True) == 0
    assert load_params(Path("params.yaml")).dataset("mine").source.path == "data/downloads/rad"
