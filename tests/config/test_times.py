import json
import re
from html import unescape
from pathlib import Path

from stages.config.paths import Paths
from stages.config.spent import Spent
from stages.config.times import record_time
from stages.config.writing import replacing

WHY_NOT = "not told: no counter of a processor below /sys"
SPENT = Spent(
    startup=1.0,
    work=2.0,
    cpu=4.0,
    peak=300.0,
    in_worker=False,
    energy=None,
    energy_of=WHY_NOT,
)


def tables(paths: Paths) -> list[list[tuple[str, ...]]]:
    """Rows of cells of the tables of the page: stages, trainings if there are any, and entries."""
    page = paths.times.read_text(encoding="utf-8")
    found = re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    rows = [re.findall(r"<tr>(.*?)</tr>", table) for table in found]
    return [
        [tuple(unescape(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)) for row in t]
        for t in rows
    ]


def record_three(paths: Paths) -> None:
    record_time(paths, "check", Spent(0.25, 0.5, 0.75, 100.4, False, None, WHY_NOT))
    record_time(paths, "train@a", Spent(1.26, 1234.56, 2000.0, 900.6, False, None, WHY_NOT))
    record_time(paths, "train@b", Spent(1.5, 10.0, 20.0, 1234.5, True, None, WHY_NOT))


def test_every_entry_stands_on_the_page_the_longest_first_and_the_sums_below(
    tmp_path: Path,
) -> None:
    record_three(Paths(tmp_path))
    *_, entries = tables(Paths(tmp_path))
    assert entries == [
        ("entry", "start-up, s", "work, s", "CPU, s", "peak memory, MB"),
        ("train@a", "1.3", "1,234.6", "2,000.0", "901"),
        ("train@b", "1.5", "10.0", "20.0", "1,234*"),
        ("check", "0.2", "0.5", "0.8", "100"),
        ("all, 3 entries", "3.0", "1,245.1", "2,020.8", "1,234*"),
    ]


def test_the_entries_of_a_stage_stand_together(tmp_path: Path) -> None:
    record_three(Paths(tmp_path))
    stages, *_ = tables(Paths(tmp_path))
    assert stages == [
        ("stage", "start-up, s", "work, s", "CPU, s", "peak memory, MB"),
        ("train, 2 entries", "2.8", "1,244.6", "2,020.0", "1,234*"),
        ("check", "0.2", "0.5", "0.8", "100"),
        ("all, 3 entries", "3.0", "1,245.1", "2,020.8", "1,234*"),
    ]


def test_the_training_of_each_case_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    record_three(Paths(tmp_path))
    _, trainings, _ = tables(Paths(tmp_path))
    assert trainings == [
        ("case", "start-up, s", "work, s", "CPU, s", "peak memory, MB"),
        ("a", "1.3", "1,234.6", "2,000.0", "901"),
        ("b", "1.5", "10.0", "20.0", "1,234*"),
        ("all, 2 entries", "2.8", "1,244.6", "2,020.0", "1,234*"),
    ]


def test_a_machine_that_does_not_tell_its_energy_is_said_to_and_has_no_column_of_it(
    tmp_path: Path,
) -> None:
    record_three(Paths(tmp_path))
    page = Paths(tmp_path).times.read_text(encoding="utf-8")
    assert f"Energy: the machine does not tell, and nothing is estimated: {WHY_NOT}." in page
    assert "kJ" not in page


def test_energy_is_added_over_entries_where_all_of_them_tell(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    told = SPENT._replace(energy=1500.0, energy_of="package-0, dram")
    record_time(paths, "train@a", told)
    record_time(paths, "train@b", told._replace(energy=2_000_000.0, work=1.0))
    record_time(paths, "check", SPENT._replace(work=0.5))
    stages, trainings, entries = ([row[-1] for row in table] for table in tables(paths))
    assert trainings == ["energy, kJ", "1.5", "2,000.0", "2,001.5"]
    assert stages == ["energy, kJ", "2,001.5", "n/a", "n/a"]
    assert entries == ["energy, kJ", "1.5", "2,000.0", "n/a", "n/a"]
    page = paths.times.read_text(encoding="utf-8")
    assert "other programs included, counted of: package-0, dram." in page
    assert f"nothing is estimated (where n/a stands): {WHY_NOT}." in page


def test_the_share_of_start_up_in_all_is_said(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    record_time(paths, "check", SPENT)
    record_time(paths, "report", SPENT._replace(startup=2.0, work=1.0))
    assert "Start-up is 50% of the 6 s" in paths.times.read_text(encoding="utf-8")


def test_the_last_run_of_an_entry_counts(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    record_time(paths, "check", SPENT)
    record_time(paths, "check", SPENT._replace(work=7.0))
    assert [row[2] for row in tables(paths)[1]] == ["work, s", "7.0", "7.0"]


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    record_time(Paths(tmp_path), "check", SPENT)
    page = Paths(tmp_path).times.read_text(encoding="utf-8")
    assert "src=" not in page
    assert "href=" not in page


def test_a_file_that_another_stage_is_writing_at_the_moment_is_passed_over(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with replacing(paths.time("train@b")) as partial:
        partial.write_text('{"start', encoding="utf-8")
        record_time(paths, "check", SPENT)
        partial.write_text(json.dumps(SPENT._asdict()), encoding="utf-8")
    assert "train@b" not in paths.times.read_text(encoding="utf-8")
    record_time(paths, "check", SPENT)
    assert "train@b" in [row[0] for row in tables(paths)[-1]]


def test_what_an_earlier_version_noted_is_left_out_and_counted(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    record_time(paths, "check", SPENT)
    assert "left out" not in paths.times.read_text(encoding="utf-8")
    paths.time("train@a").write_text('{"seconds": 2.0}', encoding="utf-8")
    record_time(paths, "check", SPENT)
    page = paths.times.read_text(encoding="utf-8")
    assert "1 entry is left out: noted by an earlier version." in page
    assert "train@a" not in page
    paths.time("train@b").write_text('{"seconds": 3.0}', encoding="utf-8")
    record_time(paths, "check", SPENT)
    assert "2 entries are left out" in paths.times.read_text(encoding="utf-8")
