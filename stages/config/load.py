"""The only reader of params.yaml: parse, check every key, explain every error in one line."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.references import find_reference_problems
from stages.config.yaml_file import read_yaml

Scalar = int | float | date | None  # what YAML makes of a word that is no text; bool is an int
LONGEST_VALUE = 80  # characters of a value or a key that an error shows
MOST_PROBLEMS = 100  # that are shown at once


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters.

    Raises:
        UserError: one line per wrong key, with its full path, what was got and what is allowed.
    """
    params = parse_params(read_yaml(path))
    problems = find_reference_problems(params)
    if problems:
        raise refusal(problems)
    return params


def parse_params(raw: object) -> Params:
    """Check types, ranges and keys of parsed YAML; see `load_params` for the errors."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise refusal([_explain(details, raw) for details in error.errors()]) from None


def refusal(problems: Sequence[str]) -> UserError:
    """What is wrong with params.yaml, one line per problem; of very many the first, and a count."""
    lines = [f"params.yaml: {problem}" for problem in dict.fromkeys(problems)]
    more = len(lines) - MOST_PROBLEMS
    return UserError(
        *lines[:MOST_PROBLEMS],
        *([f"params.yaml: and {more:,} more problems"] if more > 0 else []),
    )


def _explain(details: ErrorDetails, raw: object) -> str:
    where = ".".join(_shown(key) for key in _keys_in_file(details["loc"], raw)) or "the file"
    kind, context = details["type"], details.get("ctx", {})
    got = f"got {_shorten(repr(details['input']))}"
    if kind == "unknown_key":  # of Section
        return f"{where}: {got} for an unknown key{details['msg']}"
    if kind == "missing":
        return f"{where}: is missing; every value must be written out"
    if kind == "union_tag_invalid":
        return f"{where}.kind: got {context['tag']!r}; allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{where}.kind: is missing; {got}"
    if kind == "string_type" and isinstance(details["input"], Scalar):
        return f"{where}: {_unquoted(details['input'], is_key=details['loc'][-1] == '[key]')}"
    return f"{where}: {got}; allowed: {_allowed_values(details)}"


def _unquoted(value: Scalar, *, is_key: bool) -> str:
    """What to do about a name such as 1, 1e3, true or 2020-01-01, which YAML does not read as text.

    How it was spelt is lost by then: 010 and 0xA are the number 10 too.
    """
    what, spelt = "a number", f"{value}"
    if value is None:
        what, spelt = "nothing", "null"
    elif isinstance(value, bool):
        what, spelt = "true or false", str(value).lower()
    elif isinstance(value, date):
        what = "a date"
    elif isinstance(value, float):
        spelt = f"{value:g}"
    spelt = _shorten(spelt)
    return (
        f"got {'the key ' if is_key else ''}{spelt}, which YAML reads as {what}; allowed: text; "
        f"put it in quotes, spelt as the name is: '{spelt}'"
    )


def _allowed_values(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "string_too_long":
        return f"at most {context['max_length']:,} characters"
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


def _keys_in_file(location: Sequence[int | str], raw: object) -> list[int | str]:
    """A location without what pydantic adds: the kind after a union, `[key]` after a wrong key."""
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


def _shown(key: int | str) -> str:
    """A key of the file, without letting it hide what is odd in it, such as a no-break space."""
    text = str(key)
    return _shorten(text if text.isprintable() else repr(text)[1:-1])


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
