import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.config import command
from stages.config.command import run_single_stage, run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.spent import Spent

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
from stages.config.command import run_stage

def write_name(params, name, paths):
    params.case(name)

run_stage(write_name, "Do it.", section="cases")
"""


LEAVING = """
import logging
from pathlib import Path
import torch
from stages.config import command
from stages.config.command import run_single_stage
from stages.config.errors import UserError

def write_much(params, paths):
    Path("out.txt").write_text("x" * 1_000_000)
    logging.getLogger("stages").info("logged")
    print("printed " * 10_000, end="end")

def refuse(params, paths):
    print("begun", end="")
    raise UserError("here: got this; allowed: that")

run_single_stage({stage}, None)
print("not reached")
"""

WITH_WORKERS = """
import time
from joblib import Parallel, delayed
from stages.config.command import run_single_stage

def work(number):
    end = time.process_time() + 2
    while time.process_time() < end: pass

def spread(params, paths):
    list(Parallel(n_jobs=2, return_as="generator")(delayed(work)(number) for number in range(2)))

run_single_stage(spread, None)
"""


@pytest.fixture(autouse=True)
def _stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have imported torch, after which a stage leaves the process."""
    monkeypatch.setattr(command, "_leave", lambda code: None)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the repository's parameters."""
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_program(*arguments: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("workplace")
def test_a_user_error_ends_the_process_with_its_line_and_no_traceback() -> None:
    done = run_program("no-such-case")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: params.yaml: cases: no entry named 'no-such-case'; ")


HOSTILE_PROGRAM = """
import logging
from stages.config.command import run_single_stage
from stages.config.errors import UserError

def say(params, paths):
    logging.getLogger("stages").info("left out %s", "a\\rb\\x1b[31m\\u202e.png")
    raise UserError("first\\nof a\\r.png: got this", "second")

run_single_stage(say, None)
"""


@pytest.mark.usefixtures("workplace")
def test_names_that_act_on_a_terminal_are_written_out_in_logs_and_errors() -> None:
    done = run_program(program=HOSTILE_PROGRAM)
    assert done.stdout == "left out a\\rb\\x1b[31m\\u202e.png\n"
    assert done.stderr == "error: first\\nof a\\r.png: got this\nsecond\n"


@pytest.mark.usefixtures("workplace")
def test_the_name_of_an_entry_is_required() -> None:
    done = run_program()
    assert done.returncode == 2
    assert "the following arguments are required: name" in done.stderr


@pytest.mark.usefixtures("workplace")
def test_a_stage_gets_its_name_its_parameters_and_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, str, Paths]] = []

    def note(params: Params, name: str, paths: Paths) -> None:
        seen.append((params.seed, name, paths))

    monkeypatch.setattr(sys, "argv", ["note", "ct"])
    run_stage(note, "Note it.", section="datasets")
    assert seen == [(42, "ct", Paths())]


def hold_lock(workplace: Path, name: str) -> int:
    """Lock as another process would; returns the open file."""
    path = workplace / "data" / "scratch" / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def do_nothing(params: Params, paths: Paths) -> None:
    pass


def test_a_stage_that_is_running_is_not_started_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["do_nothing"])
    handle = hold_lock(workplace, "do_nothing")
    said = r"error: data/scratch/locks/do_nothing\.lock: another process is running this stage"
    with pytest.raises(SystemExit, match=said):
        run_single_stage(do_nothing, "Do nothing.")
    os.close(handle)
    run_single_stage(do_nothing, "Do nothing.")  # free again


@pytest.mark.usefixtures("workplace")
def test_a_running_stage_holds_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def start_again(params: Params, paths: Paths) -> None:
        with pytest.raises(SystemExit, match="another process is running this stage") as caught:
            run_single_stage(start_again, None)
        refused.append(str(caught.value))

    monkeypatch.setattr(sys, "argv", ["start_again"])
    run_single_stage(start_again, None)
    assert len(refused) == 1


def test_another_entry_of_a_running_stage_may_start(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def note(params: Params, name: str, paths: Paths) -> None:
        names.append(name)

    handle = hold_lock(workplace, "note@ct")
    monkeypatch.setattr(sys, "argv", ["note", "xray3"])
    run_stage(note, None, section="datasets")
    os.close(handle)
    assert names == ["xray3"]


@pytest.mark.usefixtures("workplace")
def test_the_lock_is_given_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(params: Params, paths: Paths) -> None:
        raise UserError("here: got this; allowed: that")

    monkeypatch.setattr(sys, "argv", ["fail"])
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^error: here: got this; allowed: that$"):
            run_single_stage(fail, "Fail.")


@pytest.mark.usefixtures("workplace")
def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(params: Params, paths: Paths) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["fail"])
    with pytest.raises(ZeroDivisionError):
        run_single_stage(fail, "Fail.")


@pytest.mark.usefixtures("workplace")
def test_an_interrupted_stage_says_so_in_a_line_and_ends_as_shells_expect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(params: Params, paths: Paths) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["interrupt"])
    with pytest.raises(SystemExit, match=r"^130$"):
        run_single_stage(interrupt, None)
    assert capsys.readouterr().err == "interrupt: interrupted; run again to go on\n"


@pytest.mark.usefixtures("workplace")
def test_a_full_disk_is_an_error_of_one_line_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(params: Params, paths: Paths) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/somewhere")

    monkeypatch.setattr(sys, "argv", ["fill"])
    said = r"^error: fill: /tmp/somewhere: No space left on device; make room on the disk .*again$"
    with pytest.raises(SystemExit, match=said):
        run_single_stage(fill, None)


@pytest.mark.usefixtures("workplace")
def test_what_an_earlier_stage_has_not_made_yet_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(params: Params, paths: Paths) -> None:
        (paths.prepared("ct") / "dataset.json").read_text(encoding="utf-8")

    monkeypatch.setattr(sys, "argv", ["read"])
    said = r"^error: read: data/prepared/ct/dataset.json: does not exist; `dvc repro` makes it"
    with pytest.raises(SystemExit, match=said):
        run_single_stage(read, None)


@pytest.mark.usefixtures("workplace")
def test_a_file_of_the_program_that_is_missing_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(params: Params, paths: Paths) -> None:
        Path("/nowhere/template.html").read_text(encoding="utf-8")

    monkeypatch.setattr(sys, "argv", ["read"])
    with pytest.raises(FileNotFoundError):
        run_single_stage(read, None)


def test_a_folder_without_the_right_to_write_is_an_error_of_one_line(workplace: Path) -> None:
    (workplace / "data").write_bytes(b"")  # root may write anywhere, but not below a file
    done = run_program(program=LEAVING.format(stage="write_much"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: data/scratch/locks/-c.lock: cannot be written (")


def test_what_was_written_is_complete_although_a_stage_with_torch_leaves_at_once(
    workplace: Path,
) -> None:
    done = run_program(program=LEAVING.format(stage="write_much"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "logged\n" + "printed " * 10_000 + "end"
    assert (workplace / "out.txt").stat().st_size == 1_000_000
    os.close(hold_lock(workplace, "-c"))  # it is free


@pytest.mark.usefixtures("workplace")
def test_a_user_error_of_a_stage_with_torch_ends_with_status_1() -> None:
    done = run_program(program=LEAVING.format(stage="refuse"))
    assert (done.returncode, done.stdout) == (1, "begun")
    assert done.stderr == "error: here: got this; allowed: that\n"


@pytest.mark.usefixtures("workplace")
def test_what_a_stage_took_is_noted_once_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Paths().time("write_nothing")

    def write_nothing(params: Params, paths: Paths) -> None:
        assert not noted.exists()

    monkeypatch.setattr(sys, "argv", ["write_nothing"])
    run_single_stage(write_nothing, None)
    spent = Spent(**json.loads(noted.read_text()))
    assert spent.startup > 0
    assert spent.work >= 0
    assert "write_nothing" in Paths().times.read_text(encoding="utf-8")


@pytest.mark.usefixtures("workplace")
def test_what_a_stage_with_torch_took_is_noted_before_it_leaves() -> None:
    run_program(program=LEAVING.format(stage="write_much"))
    spent = Spent(**json.loads(Paths().time("-c").read_text()))
    assert spent.startup > 0
    assert spent.peak > 50


@pytest.mark.usefixtures("workplace")
def test_of_a_stage_that_fails_nothing_is_noted() -> None:
    run_program(program=LEAVING.format(stage="refuse"))
    assert not Paths().time("-c").exists()


@pytest.mark.usefixtures("workplace")
def test_the_seconds_of_joblib_s_workers_are_noted() -> None:
    run_program(program=WITH_WORKERS)
    spent = Spent(**json.loads(Paths().time("-c").read_text()))
    assert spent.cpu >= 4


COMMAND = """
import argparse, logging
from stages.config.command import command_parser, run_command
from stages.config.errors import UserError

def answer(arguments):
    logging.getLogger("stages").info("said")
    for _ in range(arguments.lines):
        print("result")
    if arguments.refuse:
        raise UserError("here: got this")
    return arguments.code

parser = command_parser("answer", "Answer.")
parser.add_argument("--lines", type=int, default=1)
parser.add_argument("--code", type=int, default=0)
parser.add_argument("--refuse", action="store_true")
run_command(answer, parser)
"""


def test_the_result_of_a_command_is_apart_from_what_it_says() -> None:
    done = run_program(program=COMMAND)
    assert (done.stdout, done.stderr, done.returncode) == ("result\n", "said\n", 0)


def test_the_exit_code_is_the_commands_own() -> None:
    assert run_program("--code", "3", program=COMMAND).returncode == 3
    assert run_program("--no-such-option", program=COMMAND).returncode == 2


def test_a_command_refuses_in_one_line() -> None:
    done = run_program("--refuse", program=COMMAND)
    assert (done.returncode, done.stderr) == (1, "said\nerror: here: got this\n")


def test_a_command_whose_reader_has_gone_ends_quietly() -> None:
    python = f"{sys.executable} -c '{COMMAND}' --lines 100000"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{python} | head -1"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("result\n", "said\n", 0)


SHARED = """
import logging, sys, warnings
from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.progress import progress

def share(params, name, paths):
    logging.getLogger("stages").info("said")
    warnings.warn("warned")
    list(progress(range(2), "work", 2))
    {does}

run_stage(share, None, section="cases", rank_of=lambda params, name: {rank})
"""


def test_of_several_processes_the_first_one_speaks_and_is_timed(workplace: Path) -> None:
    handle = hold_lock(workplace, "-c@a")
    done = run_program("a", program=SHARED.format(does="pass", rank=1))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not Paths().scratch("times").exists()
    os.close(handle)
    done = run_program("a", program=SHARED.format(does="pass", rank=0))
    assert (done.returncode, done.stdout) == (0, "said\n")
    assert Paths().time("-c@a").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise UserError('memory: got none')", "error: process 3: memory: got none\n"),
        ("raise ZeroDivisionError('a bug')", "ZeroDivisionError: a bug\n"),
    ],
)
def test_an_error_of_another_process_alone_is_said_by_it(
    workplace: Path, does: str, said: str
) -> None:
    done = run_program("a", program=SHARED.format(does=does, rank=3))
    assert done.returncode == 1
    assert done.stderr.endswith(said)
