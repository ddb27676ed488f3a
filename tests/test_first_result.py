"""The README's first result: one case and its report, from which `dvc repro` goes on."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clones import make_clone, run_python
from tests.conftest import REPOSITORY, load_raw_params, shrink

CASE, VIEW = "ct-cnn-full", "ct-full"  # as the command names them
OTHER = "lungs-bce"


def commands() -> list[list[str]]:
    """Of the block of README.md that stops at one case: arguments of `python`."""
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(dvc repro evaluate@.*?)```", page, re.DOTALL)
    lines = [part.strip() for line in block.splitlines() for part in line.split("&&")]
    words = [line.partition("#")[0].split() for line in lines]
    return [["-m", "dvc", *rest] if first == "dvc" else rest for first, *rest in words]


def params() -> dict[str, Any]:
    """Two small cases on two views, of which one pair is called as in the default parameters."""
    raw = shrink(load_raw_params())
    raw["views"][VIEW] = raw["views"].pop("full")
    raw["cases"][CASE] = raw["cases"].pop("full-ce") | {"view": VIEW}
    raw["comparisons"] = {"crop": [OTHER, CASE]}
    return raw


@pytest.mark.slow
def test_one_case_has_a_report_and_dvc_goes_on_from_there(tmp_path: Path) -> None:
    clone = make_clone(tmp_path, params())
    for arguments in commands():
        done = run_python(clone, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    report, discussion = clone / "plots" / "report.html", clone / "plots" / "discussion.md"
    assert report.exists()
    assert list(json.loads((clone / "metrics" / "headlines.json").read_text())) == [CASE]
    said = discussion.read_text(encoding="utf-8")
    assert f"Left out, since they have no results: cases.{OTHER}." in said
    assert "since nothing is there yet: views.lungs." in said
    done = run_python(clone, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = set(re.findall(r"Running stage '(.+)':", done.stdout))
    of_other = {f"{stage}@{OTHER}" for stage in ("train", "evaluate", "cam")}
    assert ran == {"crop@lungs", "audit@lungs", *of_other, "compare", "report"}
    assert "Left out" not in discussion.read_text(encoding="utf-8")
