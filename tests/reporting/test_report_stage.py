"""The stage that writes the pages."""

import subprocess
import sys
from pathlib import Path

from stages.config.paths import Paths
from stages.report import report_all
from tests.reporting.conftest import Files

REPOSITORY = Path(__file__).parents[2]


def written(root: Path) -> dict[str, bytes]:
    """What the stage writes, by path."""
    paths = Paths(root)
    files = [paths.report, paths.discussion, *paths.side_by_side("any").parent.iterdir()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_every_page_is_written_and_the_same_ones_again(files: Files) -> None:
    files.load()
    report_all(files.params, Paths(files.root))
    first = written(files.root)
    assert sorted(first) == [
        "plots/discussion.md",
        "plots/report.html",
        "plots/side_by_side/ct.png",
        "plots/side_by_side/labels.png",
    ]
    report_all(files.params, Paths(files.root))
    assert written(files.root) == first


def test_times_on_this_machine_change_nothing(files: Files) -> None:
    files.load()
    paths = Paths(files.root)
    report_all(files.params, paths)
    before = written(files.root)
    paths.time("train@full-ce").parent.mkdir(parents=True)
    paths.time("train@full-ce").write_text('{"seconds": 12.3}', encoding="utf-8")
    report_all(files.params, paths)
    assert written(files.root) == before


def test_a_sheet_of_a_data_set_that_is_gone_is_removed(files: Files) -> None:
    files.load()
    old = Paths(files.root).side_by_side("gone")
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    report_all(files.params, Paths(files.root))
    assert not old.exists()


def test_pages_need_neither_networks_nor_statistics() -> None:
    code = "import sys, stages.report; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout.split()
    assert not set(loaded) & {"torch", "timm", "sklearn", "stages.evaluation.statistics.bootstrap"}


def test_what_no_stage_has_come_to_is_left_out_and_named(files: Files) -> None:
    files.load()
    paths = Paths(files.root)
    paths.audit("lungs").unlink()
    report_all(files.params, paths)
    said = paths.discussion.read_text(encoding="utf-8")
    assert "Not here, since nothing is there yet: views.lungs." in said
    on_lungs = [name for name, case in files.params.cases.items() if case.view == "lungs"]
    assert on_lungs
    assert all(f"cases.{name}" in said for name in on_lungs)


def test_a_data_set_that_is_not_prepared_is_left_out_and_named(files: Files) -> None:
    files.load()
    paths = Paths(files.root)
    spare = files.params.dataset("ct")
    params = files.params.model_copy(update={"datasets": {**files.params.datasets, "spare": spare}})
    report_all(params, paths)
    said = paths.discussion.read_text(encoding="utf-8")
    assert "since nothing is there yet: datasets.spare." in said
