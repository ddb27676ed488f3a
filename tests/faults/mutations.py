"""Small changes of the code that decides figures; each should make a test fail.

    python -m tests.faults.mutations             # about ten minutes on two cores

Of every function of losses, metrics, splits, groups and freezing, some places are changed, one at a
time: a comparison, an operation, a number, a condition. The tests beside the module then run on a
copy of the repository. A change that no test notices is printed with its place: either a test is
missing, or the change changes nothing that matters, which a person decides.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.conftest import REPOSITORY

# Module, and the tests that are to notice a change of it.
TARGETS = {
    "stages/modeling/losses.py": ["tests/modeling/test_losses.py"],
    "stages/evaluation/metrics.py": ["tests/evaluation/test_metrics.py"],
    "stages/dataset/split.py": ["tests/dataset/test_split.py", "tests/dataset/test_runs.py"],
    "stages/imaging/grouping.py": ["tests/imaging/test_grouping.py", "tests/test_prepare.py"],
    "stages/modeling/blocks.py": ["tests/modeling/test_blocks.py", "tests/modeling/test_freeze.py"],
    "stages/modeling/freeze.py": [
        "tests/modeling/test_freeze.py",
        "tests/modeling/test_training.py",
    ],
}
OTHER_COMPARISON = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OTHER_OPERATION = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
LIMIT_S = 120  # of the tests of one change; one that makes them hang is noticed


class Mutant(NamedTuple):
    """A changed module.

    Attributes:
        module: path inside the repository.
        place: function and line.
        what: before and after, as code.
        source: the whole module, changed.
    """

    module: str
    place: str
    what: str
    source: str


def main() -> None:
    """Make changes, run the tests of each, and print what no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--per-function", type=int, default=3, help="changes of each function")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", default="", help="only modules whose path has this in it")
    args = parser.parse_args()
    mutants = [
        mutant
        for module in TARGETS
        if args.module in module
        for mutant in make_mutants(module, args.per_function, random.Random(args.seed))
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(_try, mutants))
    caught = Counter(m.module for m, is_caught in zip(mutants, outcomes, strict=True) if is_caught)
    for module, count in Counter(mutant.module for mutant in mutants).items():
        print(f"{module}: {caught[module]} of {count} changes noticed")
    print(f"in all: {sum(outcomes)} of {len(mutants)}")
    sys.exit(0 if all(outcomes) else 1)


def make_mutants(module: str, per_function: int, rng: random.Random) -> Iterator[Mutant]:
    """Changes of each function of a module, drawn from all that can be made."""
    tree = ast.parse((REPOSITORY / module).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    for function in nodes:
        if not isinstance(function, ast.FunctionDef):
            continue
        inside = [node for statement in function.body for node in ast.walk(statement)]
        places = [(node, i) for node in inside for i in range(len(_changes(node)))]
        for node, number in rng.sample(places, min(per_function, len(places))):
            index = nodes.index(node)
            changed = copy.deepcopy(tree)
            before = list(ast.walk(changed))[index]
            after = _changes(before)[number]
            what = f"{ast.unparse(before)}  ->  {ast.unparse(after)}"
            place = f"{function.name}, line {getattr(node, 'lineno', '?')}"
            source = ast.unparse(ast.fix_missing_locations(_Swap(before, after).visit(changed)))
            yield Mutant(module, place, what, source)


class _Swap(ast.NodeTransformer):
    def __init__(self, before: ast.AST, after: ast.AST) -> None:
        self._before, self._after = before, after

    def visit(self, node: ast.AST) -> ast.AST:
        """Put the one node in the other's place."""
        return self._after if node is self._before else super().generic_visit(node)


def _changes(node: ast.AST) -> list[ast.AST]:
    """What a node can be changed into; nothing for most."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER_COMPARISON:
        ops = [OTHER_COMPARISON[type(node.ops[0])](), *node.ops[1:]]
        return [ast.Compare(node.left, ops, node.comparators)]
    if isinstance(node, ast.BinOp) and type(node.op) in OTHER_OPERATION:
        return [ast.BinOp(node.left, OTHER_OPERATION[type(node.op)](), node.right)]
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return [ast.BoolOp(other, node.values)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return [node.operand]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return [ast.Constant(node.value + 1)]
    if isinstance(node, ast.IfExp):
        return [ast.IfExp(node.test, node.orelse, node.body)]
    if isinstance(node, ast.If):
        negated = ast.UnaryOp(ast.Not(), node.test)
        return [ast.If(negated, node.body, node.orelse)]
    return []


def _try(mutant: Mutant) -> bool:
    """Whether a test fails on the changed module."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        tracked = subprocess.run(
            ["git", "ls-files", "*.py", "*.yaml", "*.toml"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in tracked.stdout.split():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, root / name)
        (root / mutant.module).write_text(mutant.source, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", *TARGETS[mutant.module]]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=root,
                capture_output=True,
                timeout=LIMIT_S,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
    if done.returncode == 0:
        print(f"not noticed: {mutant.module}: {mutant.place}: {mutant.what}", flush=True)
    return done.returncode != 0


if __name__ == "__main__":
    main()
