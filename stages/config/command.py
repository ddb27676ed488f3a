"""How stages and commands are run from the command line: one name, errors in one line.

A stage is run by DVC, under a lock, and its time is recorded. A command is run by people; its
result goes to standard output, what it has to say to standard error, so that a script can read the
one.
"""

import argparse
import atexit
import errno
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from stages.config.energy import POWERCAP, EnergyMeter
from stages.config.errors import UserError
from stages.config.forecast.telling import tell_progress
from stages.config.load import load_params
from stages.config.lock import only_one
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.spent import process_age, spent_by_children, total_spent
from stages.config.text import visible
from stages.config.times import record_time
from stages.config.writing import ADVICE

FIRST_WORD_S = 5.0  # in which the first of several processes has ended, if it met the same error
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


def run_stage(
    stage: Callable[[Params, str, Paths], None],
    doc: str | None,
    *,
    section: str,
    rank_of: Callable[[Params, str], int] = lambda params, name: 0,
) -> None:
    """Run a stage for the entry of `section` named on the command line.

    Args:
        stage: the work, of which several processes may have a share.
        doc: the docstring of its module.
        section: of params.yaml.
        rank_of: the number of this process among those that share the work on an entry. All but
            number 0 take no lock, record no time and say nothing; what they write is the stage's.
    """
    parser = _parser(doc)
    parser.add_argument("name", help=f"a key of `{section}` in params.yaml")
    name = parser.parse_args().name
    stage_name = f"{_stage_name()}@{name}"
    with _in_one_line(stage_name):
        params = load_params()
        rank = rank_of(params, name)
    if rank:
        _follow(rank, lambda: stage(params, name, Paths()))
    else:
        _guarded(stage_name, lambda: stage(params, name, Paths()))


def run_single_stage(stage: Callable[[Params, Paths], None], doc: str | None) -> None:
    """Run a stage that exists once."""
    _parser(doc).parse_args()
    _guarded(_stage_name(), lambda: stage(load_params(), Paths()))


def run_command(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser
) -> None:
    """Run a command for people; the number that it returns is the exit code.

    0 says that all was done. A UserError ends it with 1, wrong arguments with argparse's 2.
    """
    arguments = parser.parse_args()
    _log_to(sys.stderr)
    with _in_one_line(parser.prog):
        try:
            code = command(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
    _end_workers()  # idle ones would hold the pipe that a script reads from
    _leave(code)


def command_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Of `python -m stages.<name>`, described by the first line of its docstring."""
    parser = _parser(doc)
    parser.prog = f"python -m stages.{name}"
    return parser


def _stage_name() -> str:
    """The stage's name in dvc.yaml, which is that of the module that is run."""
    return Path(sys.argv[0]).stem


def _parser(doc: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=(doc or "").partition("\n")[0])


def _guarded(stage_name: str, run: Callable[[], None]) -> None:
    """Run under a lock."""
    startup = process_age()
    _log_to(sys.stdout)
    with _in_one_line(stage_name), only_one(Paths(), stage_name):
        tell_progress(stage_name, Paths())
        _timed(stage_name, run, startup)
    _leave(0)


def _follow(rank: int, run: Callable[[], None]) -> None:
    """Run a further process of a stage.

    An error that all of them meet is the first one's to say: when it ends, whoever started the
    processes ends this one, before it speaks. An error that this one alone meets is said here, and
    the first one, which waits for this one, is ended.
    """
    _log_to(sys.stderr, logging.ERROR)
    warnings.simplefilter("ignore")
    try:
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except Exception as error:
        time.sleep(FIRST_WORD_S)
        if isinstance(error, UserError):
            print(f"error: process {rank}: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        os._exit(1)
    _leave(0)


def _log_to(stream: TextIO, level: int = logging.INFO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """End the process with what a person can act on alone; a bug keeps its traceback."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except OSError as error:
        if not (line := _explain(error)):
            raise
        sys.exit(f"error: {name}: {line}")


def _explain(error: OSError) -> str:
    """What the machine has against a file of which no reader or writer tells; "" for a bug."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in ADVICE:
        return f"{where}{error.strerror}; {ADVICE[error.errno]}, then run again"
    is_made = Path(str(error.filename)).parts[:1] in [("data",), ("metrics",), ("plots",)]
    if error.errno == errno.ENOENT and is_made:
        return f"{where}does not exist; `dvc repro` makes it before it runs this stage"
    return ""


class _Formatter(logging.Formatter):
    """The message alone, without characters of a file name that act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


def _timed(stage_name: str, run: Callable[[], None], startup: float) -> None:
    """Run, and note what that and all before it took, of which `startup` s until now."""
    before, start = spent_by_children(), time.perf_counter()
    with EnergyMeter(POWERCAP) as meter:
        run()
        _end_workers()
    spent = total_spent(startup, time.perf_counter() - start, meter.total(), before)
    record_time(Paths(), stage_name, spent)


def _end_workers() -> None:
    """End joblib's idle worker processes: what they took counts once they are gone."""
    # A stage without them is spared the imports.
    if "joblib" not in sys.modules:
        return
    from multiprocessing import active_children

    from joblib.externals.loky import get_reusable_executor

    if active_children():
        get_reusable_executor().shutdown(wait=True)


def _leave(code: int) -> None:
    """End the process without taking torch down object by object.

    That costs 1 to 3 s in each of the many processes of a run; all files are closed by now. What is
    to be done at the end is done: joblib removes its folders.
    """
    if "torch" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
