"""The one exception that a person can act on."""

import difflib
from collections.abc import Sequence


class UserError(ValueError):
    """Something in the parameters, the files or the machine that the user can put right.

    Its message is one line: where, what was got, what is allowed, what to do. A stage prints it
    without a traceback.
    """


def suggest(got: str, allowed: Sequence[str]) -> str:
    """` (did you mean 'gamma'?)` where one of the allowed words is close, else nothing."""
    close = difflib.get_close_matches(got, allowed, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
