"""The order of dvc.lock: what stood there keeps its place, what is new comes as in `dvc repro`."""

from pathlib import Path

from stages.parallelism.lock_order import read_order, restore_order


def write(lock: Path, *stages: str) -> None:
    lines = "".join(f"  {name}:\n    cmd: make {name}\n" for name in stages)
    lock.write_text(f"schema: '2.0'\nstages:\n{lines}")


def test_new_stages_are_put_in_order_behind_those_that_stood_there(tmp_path: Path):
    lock = tmp_path / "dvc.lock"
    write(lock, "old", "b", "d", "c", "a")
    restore_order(lock, before=["old", "b"], order=["a", "b", "c", "d"])
    assert read_order(lock) == ["old", "b", "a", "c", "d"]
    expected = tmp_path / "expected"
    write(expected, "old", "b", "a", "c", "d")
    assert lock.read_text() == expected.read_text()


def test_a_file_in_order_is_not_written(tmp_path: Path):
    lock = tmp_path / "dvc.lock"
    write(lock, "a", "b")
    lock.chmod(0o444)
    before = lock.stat()
    restore_order(lock, before=[], order=["a", "b"])
    assert lock.stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_file_there_is_no_order(tmp_path: Path):
    assert read_order(tmp_path / "dvc.lock") == []
