"""YAML as DVC reads it: ruamel.yaml, YAML 1.2, so that a word means one thing to both.

PyYAML reads YAML 1.1, where `010` is eight, `no` is false and `1:30` is ninety; DVC takes them as
ten and as text. Whatever cannot be read is one line that names the line of the file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import Node

from stages.config.errors import UserError

MAX_BYTES = 10_000_000
MAX_DEPTH = 50  # of nested mappings and lists
MAX_BITS = 1024  # of a whole number: as large as a float can be
MAX_NODES = 200_000  # with every alias written out; a matrix of 1,000 cases has some 30,000

# What to do about text that YAML takes for a sign of its own, by what the parser says.
HINTS = {
    "unexpected ':'": "; quote text with a colon inside {} or [], or give it a line of its own",
    "alias": "; text that begins with * goes in quotes",
    "for the tag": "; text that begins with ! goes in quotes",
    "flow sequence": "; text that begins with one of !*&#[{@% goes in quotes",
}


class _Constructor(SafeConstructor):
    """A SafeConstructor that says where a tag does not fit its value."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return _require_printable(super().construct_object(node, deep))
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            problem = f"cannot read {node.tag}: {type(error).__name__}: {error}"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark) from None


def _require_printable(value: Any) -> Any:
    """Refuse a number of so many digits that Python will not write it out, in a message or a file.

    Decimal ones it does not even read, but hexadecimal, octal and binary ones of any length.
    """
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(f"a whole number of more than {MAX_BITS:,} bits")
    return value


def read_yaml(path: Path) -> object:
    """Read one document.

    Raises:
        UserError: there is no such file, or it is no text, no YAML or unreasonably large; with the
            line where that is known.
    """
    text = _read_text(path)
    yaml = YAML(typ="safe")
    yaml.Constructor = _Constructor
    try:
        _require_reasonable(yaml.parse(text))
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = " ".join(filter(None, (error.context, error.problem)))
        said += next((hint for sign, hint in HINTS.items() if sign in said), "")
        raise UserError(f"{path}: {where}is not valid YAML: {_one_line(said)}") from None
    except (YAMLError, YAMLStreamError) as error:  # a character that YAML does not allow
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        reason = _one_line(str(error))
        raise UserError(f"{path}: line {line}: is not valid YAML: {reason}") from None


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the root of the repository")
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: got {len(content):,} bytes; allowed: at most {MAX_BYTES:,}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: is not UTF-8 text: {error}; save it so") from None


def _require_reasonable(events: Iterator[Event]) -> None:
    """Refuse nesting without end, and aliases that stand for more than memory holds.

    Reading events takes no recursion and no memory, so this comes before anything is built.
    """
    nodes_of: dict[str, int] = {}  # of each anchor, aliases written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the count where it began
    count = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                nodes_of[anchor] = count - before
            continue
        if not isinstance(event, NodeEvent):
            continue
        count += 1
        if isinstance(event, AliasEvent):
            count += nodes_of.get(event.anchor, 0)
            if any(event.anchor == anchor for anchor, _ in open_nodes):
                _refuse(event, f"alias *{event.anchor} stands inside what it stands for")
        elif isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, count))
        if len(open_nodes) > MAX_DEPTH:
            _refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            _refuse(event, f"more than {MAX_NODES:,} values, with every alias written out")


def _refuse(event: Event, problem: str) -> None:
    raise ConstructorError(problem=problem, problem_mark=event.start_mark)


def _one_line(text: str) -> str:
    return " ".join(text.split())
