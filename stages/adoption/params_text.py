"""Adds entries to the text of params.yaml: lines are added, all others stay to the byte.

A round trip through a YAML library would lay out the whole file anew; here the library says where a
section ends, and writes the new lines alone.
"""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from stages.config.errors import UserError
from stages.config.text import visible

STEP = 2  # columns from one level to the next
LONGEST_FLOW = 90  # characters of a mapping that is written in {}
NO_WRAP = 1_000_000
COMMENT_WIDTH = 96


def write_entry(
    params_text: str,
    section: str,
    name: str,
    entry: Mapping[str, Any],
    comments: Mapping[str, str] | None = None,
    *,
    in_one_line: bool = False,
) -> str:
    """The text of params.yaml with one more entry at the end of a section.

    Args:
        params_text: of the file, with line ends of one kind.
        section: a key of the file, such as `datasets`; one that is not there is added at the end.
        name: of the entry.
        entry: plain mappings, lists and values.
        comments: key of the entry to what stands above it, a line or more.
        in_one_line: write the entry in {}, as cases and views are written.

    Raises:
        UserError: the file cannot be read, has the entry already, or its section cannot take one.
    """
    root = _compose(params_text)
    found = _value(root, section)
    newline = "\r\n" if "\r\n" in params_text else "\n"
    if found is None:
        block = format_entry(name, entry, comments, indent=STEP, in_one_line=in_one_line)
        return _insert(params_text, len(params_text), f"{section}:\n{block}", newline)
    if not isinstance(found, MappingNode):
        raise UserError(f"params.yaml: {section}: got no mapping of entries; mend the file first")
    if _value(found, name) is not None:
        raise UserError(
            f"params.yaml: {section}.{name}: is there already; give another name, or take that "
            "entry out first"
        )
    if found.flow_style:
        return _fill_empty(params_text, section, found, name, entry, comments, in_one_line, newline)
    column = found.value[0][0].start_mark.column
    block = format_entry(name, entry, comments, indent=column, in_one_line=in_one_line)
    return _insert(params_text, _end_of(found, params_text), block, newline)


def format_entry(
    name: str,
    entry: Mapping[str, Any],
    comments: Mapping[str, str] | None = None,
    *,
    indent: int,
    in_one_line: bool = False,
) -> str:
    """An entry as lines of YAML, each with a line end."""
    margin = " " * indent
    if in_one_line:
        return f"{margin}{_dump({name: _flow(entry)})}"
    key_alone = _dump({name: 0}).removesuffix(" 0\n")
    lines = [f"{margin}{key_alone}\n"]
    for key, value in entry.items():
        above = (comments or {}).get(key, "")
        lines += [f"{margin}  # {line}\n" for line in _wrapped(above)]
        lines += [f"{margin}  {line}\n" for line in _dump({key: _styled(value)}).splitlines()]
    return "".join(lines)


def _compose(text: str) -> MappingNode:
    try:
        node = YAML().compose(io.StringIO(text))
    except YAMLError as error:
        raise UserError(f"params.yaml: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(node, MappingNode) or node.flow_style:
        raise UserError("params.yaml: got no mapping of sections, one below the other")
    return node


def _value(mapping: MappingNode, key: str) -> Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _end_of(node: Node, text: str) -> int:
    """Index behind the line on which a block ends; comments behind it belong to what follows."""
    while isinstance(node, CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    is_block = isinstance(node, ScalarNode) and node.style in ("|", ">")
    # A scalar of several lines ends where the next token begins.
    start = node.end_mark.index
    if is_block:
        kept = text[:start].rstrip()
        start = len(kept)
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def _insert(text: str, place: int, block: str, newline: str) -> str:
    before, behind = text[:place], text[place:]
    if before and not before.endswith("\n"):
        before += newline
    return before + block.replace("\n", newline) + behind


def _fill_empty(
    text: str,
    section: str,
    found: MappingNode,
    name: str,
    entry: Mapping[str, Any],
    comments: Mapping[str, str] | None,
    in_one_line: bool,
    newline: str,
) -> str:
    """Give `section: {}` its first entry."""
    if found.value:
        raise UserError(
            f"params.yaml: {section}: is written in {{}}, to which no lines can be added; write "
            "its entries one below the other"
        )
    start, end = found.start_mark.index, found.end_mark.index
    cut = text[:start].rstrip(" ") + text[end:]
    place = cut.find("\n", len(text[:start].rstrip(" ")))
    block = format_entry(name, entry, comments, indent=STEP, in_one_line=in_one_line)
    return _insert(cut, len(cut) if place < 0 else place + 1, block, newline)


# ---- style -----------------------------------------------------------------------------------


def _dump(value: Mapping[str, Any]) -> str:
    """YAML 1.2, as DVC reads it; odd characters are escaped, so that a terminal shows them."""
    text = _dump_as(value, allow_unicode=True)
    return text if visible(text, keep="\n") == text else _dump_as(value, allow_unicode=False)


def _dump_as(value: Mapping[str, Any], *, allow_unicode: bool) -> str:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = NO_WRAP
    yaml.indent(mapping=STEP, sequence=STEP + 2, offset=STEP)
    yaml.allow_unicode = allow_unicode
    stream = io.StringIO()
    yaml.dump(CommentedMap(value), stream)
    return stream.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes null where nothing is said, as params.yaml does."""

    def represent_null(self, _value: None) -> Node:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_null)


def _styled(value: Any) -> Any:
    """Short mappings and lists in {} and [], others one below the other, as params.yaml has them.

    Text with a colon does not go in {}: `-S` of DVC drops the quotes there.
    """
    if isinstance(value, Mapping):
        if not value or (_is_flat(value) and not _has_colon(value)):
            flow = _flow(value)
            if len(_dump({"x": flow})) <= LONGEST_FLOW:
                return flow
        return CommentedMap({key: _styled(inner) for key, inner in value.items()})
    if isinstance(value, list):
        sequence = CommentedSeq(value)
        if not _has_colon(value):
            sequence.fa.set_flow_style()
        return sequence
    return value


def _flow(value: Any) -> Any:
    """The same in {} and [], at all levels."""
    if isinstance(value, Mapping):
        mapping = CommentedMap({key: _flow(inner) for key, inner in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq([_flow(inner) for inner in value])
        sequence.fa.set_flow_style()
        return sequence
    return value


def _is_flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(inner, Mapping | list) for inner in value.values())


def _has_colon(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_colon(inner) for inner in (*value.keys(), *value.values()))
    if isinstance(value, list):
        return any(map(_has_colon, value))
    return isinstance(value, str) and ":" in value


def _wrapped(text: str) -> list[str]:
    """Lines of a comment."""
    lines = [visible(line) for line in text.splitlines()]
    return [part for line in lines for part in textwrap.wrap(line, COMMENT_WIDTH)]
