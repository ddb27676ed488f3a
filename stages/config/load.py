"""The only reader of params.yaml: parse, check every key, explain every error in one line."""

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.references import find_reference_problems

MERGE_TAG = "tag:yaml.org,2002:merge"  # of the key `<<`, which stands for the keys of a mapping


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise UserError(f"params.yaml: line {line}: got the key {key!r}; allowed: text")
            if key in seen:
                raise UserError(f"params.yaml: line {line}: key {key!r} is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters.

    Raises:
        UserError: one line per wrong key, with its full path, what was got and what is allowed.
    """
    params = parse_params(_read_yaml(path))
    problems = find_reference_problems(params)
    if problems:
        raise UserError("\n".join(f"params.yaml: {problem}" for problem in problems))
    return params


def parse_params(raw: object) -> Params:
    """Check types, ranges and keys of parsed YAML; see `load_params` for the errors."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [f"params.yaml: {_explain(details, raw)}" for details in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def _read_yaml(path: Path) -> object:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the root of the repository")
    try:
        # The loader below derives from SafeLoader.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text: {error}; save it as UTF-8") from None
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise UserError(f"{path}: is not valid YAML: {text}") from None


def _explain(details: ErrorDetails, raw: object) -> str:
    keys = _real_keys(details["loc"], raw)
    where = ".".join(str(key) for key in keys) or "the file"
    got = f"got {_shorten(repr(details['input']))}"
    kind = details["type"]
    if kind == "missing":
        return f"{where}: is missing; every value must be written out"
    if kind == "extra_forbidden":
        allowed = sorted(_allowed_keys(keys[:-1], raw))
        guess = _suggest(str(keys[-1]), allowed)
        return f"{where}: {got} for an unknown key{guess}; allowed keys: {', '.join(allowed)}"
    if kind == "union_tag_invalid":
        tag_key = str(details["ctx"]["discriminator"]).strip("'")
        got = f"got {details['ctx']['tag']!r}"
        return f"{where}.{tag_key}: {got}; allowed: {details['ctx']['expected_tags']}"
    if kind == "union_tag_not_found":
        tag_key = str(details["ctx"]["discriminator"]).strip("'")
        return f"{where}.{tag_key}: is missing; {got}"
    return f"{where}: {got}; allowed: {_allowed_values(details)}"


def _allowed_values(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "a mapping of keys to values"
    if kind in ("too_short", "too_long"):
        limits = {"min_length": "at least", "max_length": "at most"}
        return next(f"{limits[k]} {context[k]} entries" for k in context if k in limits)
    return details["msg"].removeprefix("Input should be ")


def _real_keys(location: Sequence[int | str], raw: object) -> list[int | str]:
    """Drop the tags of unions and pydantic's own `[key]` marks from a location."""
    keys: list[int | str] = []
    here = raw
    for number, key in enumerate(location):
        is_last = number == len(location) - 1
        if isinstance(here, dict) and (key in here or (is_last and key != "[key]")):
            keys.append(key)
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            keys.append(key)
            here = here[key]
    return keys


def _allowed_keys(keys: Sequence[int | str], raw: object) -> set[str]:
    """The fields of the section at `keys`, by walking the schema along the file."""
    annotation: Any = Params
    here: Any = raw
    for key in keys:
        here = here[key]
        annotation = _choose_section(_step(annotation, key), here)
    return set(_fields(annotation))


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by their keys in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _step(annotation: Any, key: int | str) -> Any:
    """The annotation of what stands at `key` in something annotated so."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _fields(annotation)[str(key)].annotation
    return get_args(annotation)[-1]  # dict[str, T] or list[T]


def _choose_section(annotation: Any, value: object) -> Any:
    """Strip `Annotated`; of a union of sections, take the one whose tag stands in the value."""
    if get_origin(annotation) is Annotated:
        return _choose_section(get_args(annotation)[0], value)
    if get_origin(annotation) in (Union, UnionType) and isinstance(value, dict):
        sections = [_choose_section(part, value) for part in get_args(annotation)]
        return next(s for s in sections if s is not NoneType and _has_tag(s, value))
    return annotation


def _has_tag(section: type[BaseModel], value: dict[Any, Any]) -> bool:
    """Whether the section's first field, its discriminator, stands in the value as it must."""
    name, field = next(iter(section.model_fields.items()))
    tags = get_args(field.annotation) or (value.get(name),)  # one without a literal: any value
    return name in value and value[name] in tags


def _suggest(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shorten(text: str, longest: int = 80) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
