"""What `dvc repro` would run, and what waits for what, as DVC says it."""

import time
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from stages.config.errors import UserError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage
    from networkx import DiGraph

T = TypeVar("T")
FREE_WITHIN_S = 10.0
DEFAULT_TARGET = "dvc.yaml"  # of `dvc repro`: every stage of it
# An edit of params.yaml runs it, and nothing that waits for it.
SAME_WHATEVER_IT_READS = {"check"}


class Plan(NamedTuple):
    """Stages that may have to run: those that changed, and all that lies behind them.

    Attributes:
        order: every stage of the targets and before them, as `dvc repro` would come by them.
        needs: of each stage that may have to run, which of these it waits for.
    """

    order: list[str]
    needs: dict[str, list[str]]


def read_plan(targets: Sequence[str], root: Path) -> Plan:
    """Ask DVC.

    What lies behind a change runs only if its own inputs turn out to have changed: that is
    decided, by DVC, when its turn comes.

    Args:
        targets: as for `dvc repro`; none is all.
        root: of the repository.

    Raises:
        UserError: DVC cannot read its files, or knows no such target.
    """
    with _opened(root) as repo:
        graph = _read_graph(repo, targets)
        changed = set(_when_free(lambda: repo.status(list(graph))))
    return Plan(list(graph), _behind(changed, graph))


def read_plan_beside(asked: Namespace, root: Path) -> Plan:
    """Ask DVC what a `dvc repro` that is at its first stage has before it.

    That one holds files: what DVC locks is read without a lock.

    Args:
        asked: as DVC's own parser reads the command line of `dvc repro`.
        root: of the repository.

    Raises:
        UserError: DVC cannot read its files, or knows no such target.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with _opened(root) as repo:
        targets = asked.targets or [DEFAULT_TARGET]
        wanted = collect_stages(repo, targets, glob=getattr(asked, "glob", False))
        graph = get_active_graph(repo.index.graph)
        steps = wanted
        if not asked.single_item:
            steps = plan_repro(graph, wanted, downstream=asked.downstream)
        needs = _needs_of(steps, graph, force=asked.force)
    return Plan([stage.addressing for stage in steps], needs)


def _needs_of(steps: Sequence["Stage"], graph: "DiGraph", *, force: bool) -> dict[str, list[str]]:
    same = [stage for stage in steps if stage.addressing in SAME_WHATEVER_IT_READS]
    # While the stage runs, these are not there.
    unchanged = {out.fs_path for stage in same for out in stage.outs}
    needs: dict[str, list[str]] = {}
    for stage in steps:
        before = [o.addressing for o in graph.successors(stage) if o.addressing in needs]
        waits = bool(set(before) - SAME_WHATEVER_IT_READS)
        if force or waits or _has_changed(stage, unchanged):
            needs[stage.addressing] = before
    return needs


def _has_changed(stage: "Stage", unchanged: Collection[str]) -> bool:
    """As DVC decides it, without its locks, and but for these dependencies."""
    deps = [dep for dep in stage.deps if dep.fs_path not in unchanged]
    return bool(stage.changed_stage()) or any(entry.status() for entry in (*deps, *stage.outs))


def read_graph(root: Path) -> dict[str, list[str]]:
    """Of every stage of dvc.yaml the stages that it waits for, in the order of `dvc repro`."""
    with _opened(root) as repo:
        return _read_graph(repo, [])


def _read_graph(repo: "Repo", targets: Sequence[str]) -> dict[str, list[str]]:
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with repo.lock:
        graph = get_active_graph(repo.index.graph)
        wanted = collect_stages(repo, targets or [DEFAULT_TARGET])
        return {
            stage.addressing: sorted(other.addressing for other in graph.successors(stage))
            for stage in plan_repro(graph, wanted)
        }


def _behind(changed: set[str], graph: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What changed and what depends on it; the graph has what is needed before what needs it."""
    needs: dict[str, list[str]] = {}
    for name, waits_for in graph.items():
        before = [other for other in waits_for if other in needs]
        if name in changed or set(before) - SAME_WHATEVER_IT_READS:
            needs[name] = before
    return needs


def _when_free(ask: Callable[[], T]) -> T:
    """Ask DVC again while a process of it that was killed still holds files."""
    from dvc.lock import LockError

    end = time.monotonic() + FREE_WITHIN_S
    while True:
        try:
            return ask()
        except LockError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@contextmanager
def _opened(root: Path) -> Iterator["Repo"]:
    """The repository; what DVC has against it in one line."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo  # 0.8 s

    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"dvc: {' '.join(str(error).split())}") from None
