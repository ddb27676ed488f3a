"""Say what there is to run: `python -m stages`."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.config.errors import UserError
from stages.config.yaml_file import read_yaml

HERE = Path(__file__).parent


def list_modules() -> Iterator[tuple[str, str]]:
    """Name and first line of the docstring of each module that can be run, without importing it."""
    for path in sorted(HERE.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield path.stem, doc.partition("\n")[0]


def main() -> None:
    """Print stages, in the order in which they run, and commands."""
    graph = read_yaml(Path("dvc.yaml"))
    assert isinstance(graph, dict)  # else DVC refuses it
    stages = list(graph["stages"])
    lines = dict(list_modules())
    print("Stages, which `dvc repro` runs (`dvc repro --single-item <stage>@<name>` for one):")
    for name in stages:
        print(f"  {name:10} {lines[name]}")
    print("Commands for people (`python -m stages.<command> --help`):")
    for name in sorted(lines.keys() - stages):
        print(f"  {name:10} {lines[name]}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
