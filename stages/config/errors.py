"""The one exception that a person can act on."""

import difflib
from collections.abc import Sequence

from stages.config.text import visible


class UserError(ValueError):
    """Something in the parameters, the files or the machine that the user can put right.

    Its message is one line: where, what was got, what is allowed, what to do; or one for each of
    several faults. A stage prints it without a traceback. Line ends in it, as file names can have
    them, are written out.
    """

    def __init__(self, *lines: str) -> None:
        """Make a message of one line for each fault."""
        super().__init__(*lines)

    def __str__(self) -> str:
        """All lines."""
        return "\n".join(visible(line) for line in self.args)


def suggest(got: str, allowed: Sequence[str]) -> str:
    """` (did you mean 'gamma'?)` where one of the allowed words is close, else nothing."""
    close = difflib.get_close_matches(got, allowed, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
