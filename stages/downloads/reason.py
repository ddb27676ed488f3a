"""What went wrong in a network, in words for a person."""

import re

# What requests and urllib3 put before a reason: a pool, a connection, an object at its address.
WRAPPING = re.compile(r"<?\w+\(host=[^)]*\)>?:? *|<[^>]* at 0x[0-9a-f]+>:? *")


def reason_of(error: BaseException) -> str:
    """The innermost reason of an error, in one line."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason_of(inner)
    return " ".join(WRAPPING.sub("", str(error)).split()) or type(error).__name__
