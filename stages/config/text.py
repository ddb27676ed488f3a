"""Text from outside, such as file names, made fit for a line of a log, a message or a page."""

import unicodedata

# Control characters, surrogates, line and paragraph separators: they end lines, or act on a
# terminal.
UNFIT = {"Cc", "Cs", "Zl", "Zp"}
# Unicode's directional marks, embeddings, overrides and isolates: they turn what stands around
# them. Other format characters stay, since emoji are joined by them.
DIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, keep: str = "") -> str:
    r"""The text with what would act on its surroundings written out, as in `\r` and `\u202e`.

    Args:
        text: from anywhere.
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        _written_out(character) if character not in keep and _acts(character) else character
        for character in text
    )


def _acts(character: str) -> bool:
    return unicodedata.category(character) in UNFIT or character in DIRECTIONAL


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def describe_seconds(seconds: float) -> str:
    """As people say it: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
