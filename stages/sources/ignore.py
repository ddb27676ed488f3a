"""What `ignore` leaves out: names, paths and patterns, as in a .gitignore."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from stages.config.errors import UserError
from stages.sources.names import composed

HOW = "allowed: a name, a path inside the source or a pattern, such as masks, '*_mask.png', '!left'"


class Decision(NamedTuple):
    """What an entry says of a file or folder: that it is left out, or that it is kept."""

    entry: str
    keeps: bool


class _Entry(NamedTuple):
    text: str
    keeps: bool
    patterns: list[re.Pattern[str]]


class Ignore:
    """The entries of `ignore`; the last one that matches decides, as in a .gitignore.

    An entry is a name, a path or a pattern of these (`*`, `?`, `[a-z]`, `**`). With a slash at its
    end it matches folders alone, with one at its start it counts from the folder of the source;
    other paths match at any depth. `!` at its start says that what matches is kept, and holds
    pictures of its class whatever it is called. A name is also taken as it is written, so that
    `[old]` means that folder.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Raises `UserError` for an entry that can match nothing."""
        self.entries = tuple(entries)
        self._entries = [_parse(entry) for entry in entries]
        self._used: set[str] = set()

    def find(self, path: str) -> Decision | None:
        """What the entries say of a path inside the source; that of a folder ends with a slash."""
        path = composed(path)
        for entry in reversed(self._entries):
            if any(_matches(pattern, path) for pattern in entry.patterns):
                return Decision(entry.text, entry.keeps)
        return None

    def decide(self, path: str) -> Decision | None:
        """As `find`, and remember that the entry is of use."""
        decision = self.find(path)
        if decision:
            self._used.add(decision.entry)
        return decision

    def unused(self) -> list[str]:
        """The entries that have decided nothing so far."""
        return [entry for entry in self.entries if entry not in self._used]


def _parse(entry: str) -> _Entry:
    keeps = entry.startswith("!")
    name = composed(entry).removeprefix("!").removeprefix("./")
    if not name.strip(" /"):
        raise UserError(f"ignore: got {entry!r}, which matches nothing; {HOW}")
    # A path matches at any depth, since a set is often wrapped in further folders.
    is_path = "/" in name.rstrip("/") and not name.startswith(("/", "**/"))
    try:
        spec = GitIgnoreSpec.from_lines([f"**/{name}" if is_path else name])
    except GitIgnorePatternError:
        raise UserError(f"ignore: got {entry!r}, which is no pattern; {HOW}") from None
    patterns = [pattern.regex for pattern in spec.patterns if pattern.include is not None]
    return _Entry(entry, keeps, [_as_written(name), *filter(None, patterns)])


def _as_written(name: str) -> re.Pattern[str]:
    """Matches the name alone, its signs and blanks included."""
    above = "^" if name.startswith("/") else "^(.+/)?"
    return re.compile(f"{above}{re.escape(name.strip('/'))}{'/' if name.endswith('/') else '/?'}$")


def _matches(pattern: re.Pattern[str], path: str) -> bool:
    """Whether a path itself matches, not only a folder that it lies in.

    In pathspec's expressions the group `ps_d` is the slash behind the folder that matched.
    """
    if "ps_d" not in pattern.groupindex:
        return pattern.search(path) is not None
    return any(match.end() == len(path) for match in pattern.finditer(path))
