"""CONTRIBUTING.md and the workflow of GitHub name what is there."""

import re
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:stages|tests|metrics|\.ci)/[\w./]*|[\w.]+\.(?:yaml|txt|toml))`")


def test_every_file_that_it_names_is_there() -> None:
    named = PATH.findall(PAGE)
    assert len(named) > 25
    assert not [name for name in named if not (ROOT / name).exists()]


def test_ten_changes_are_described_with_their_tests() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    assert all("`tests/" in row.split("|")[3] for row in rows)


def test_the_workflow_of_github_runs_what_must_pass_on_the_oldest_python() -> None:
    workflow = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "ci.yaml")
    (job,) = workflow["jobs"].values()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == ".ci/run"
    (python,) = [step["with"] for step in steps if "setup-python" in step.get("uses", "")]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest
    assert python["python-version"] == oldest[1]
