from pathlib import Path

from stages.config.paths import Paths
from stages.config.times import record_time
from stages.config.writing import replacing


def test_every_stage_stands_on_the_page_with_the_seconds_of_its_last_run(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    record_time(paths, "train@a", 1.26)
    record_time(paths, "check", 0.5)
    record_time(paths, "train@a", 1234.56)
    page = paths.times.read_text(encoding="utf-8")
    assert '<tr><th scope="row">train@a</th><td>1,234.6</td></tr>' in page
    assert '<tr><th scope="row">check</th><td>0.5</td></tr>' in page
    assert page.count("train@a") == 1


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    record_time(Paths(tmp_path), "check", 0.5)
    page = Paths(tmp_path).times.read_text(encoding="utf-8")
    assert "src=" not in page
    assert "href=" not in page


def test_a_file_that_another_stage_is_writing_at_the_moment_is_passed_over(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with replacing(paths.time("train@b")) as partial:
        partial.write_text('{"seco', encoding="utf-8")
        record_time(paths, "check", 0.5)
        partial.write_text('{"seconds": 2.0}', encoding="utf-8")
    assert "train@b" not in paths.times.read_text(encoding="utf-8")
    record_time(paths, "check", 0.5)
    assert '<tr><th scope="row">train@b</th><td>2.0</td></tr>' in paths.times.read_text("utf-8")
