from pathlib import Path
from typing import Any

from stages.config.load import parse_params
from stages.config.lock import only_one
from stages.config.paths import Paths
from stages.config.scratch import clean_scratch

RawParams = dict[str, Any]


def left(paths: Paths, *names: str) -> None:
    for name in names:
        paths.scratch(name).mkdir(parents=True)
        (paths.scratch(name) / "epoch-000001.pt").touch()


def remaining(paths: Paths) -> set[str]:
    return {path.name for path in paths.scratch("").iterdir()}


def test_what_entries_left_that_are_no_more_is_removed(
    tmp_path: Path, tiny_params: RawParams
) -> None:
    paths = Paths(tmp_path)
    kept = ("train-full-ce", "weights-cnn3-random", "prepare-ct", "times", "check", "my-notes")
    left(paths, *kept, "train-full-gone", "weights-gone", "prepare-gone", "fetch-gone")
    clean_scratch(parse_params(tiny_params), paths)
    assert remaining(paths) == set(kept)


def test_what_a_stage_at_work_has_is_left_alone(tmp_path: Path, tiny_params: RawParams) -> None:
    paths = Paths(tmp_path)
    left(paths, "train-gone")
    with only_one(paths, "train@gone"):
        clean_scratch(parse_params(tiny_params), paths)
        assert remaining(paths) == {"train-gone", "locks"}
    clean_scratch(parse_params(tiny_params), paths)
    assert remaining(paths) == {"locks"}


def test_without_scratch_there_is_nothing_to_do(tmp_path: Path, tiny_params: RawParams) -> None:
    clean_scratch(parse_params(tiny_params), Paths(tmp_path))
    assert list(tmp_path.iterdir()) == []
