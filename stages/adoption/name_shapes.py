"""Names that are alike but for the digits of their numbers, and whether these tell people apart."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stages.sources.names import words

PATIENT_WORDS = frozenset("patient pat pt person subject subj sub case p id study".split())
# Numbers behind these count something else.
OTHER_WORDS = frozenset(
    "fold batch part set class label img image images slice frame fig figure page aug copy day "
    "view version v year series seg mask gr vol volume no nr num file photo pic scan screenshot "
    "train val test".split()
)
FEWEST_PATIENTS, FEWEST_NAMED_PATIENTS = 10, 3  # with a word for patients before the number
LARGEST_SHARE, LARGEST_NAMED_SHARE = 0.2, 0.5  # of the images, in one group
LEAST_SHARED = 0.1  # share of the images that are not the only one of their patient
MANY_DIGITS = 5  # of a number, from which on all such have as many
NUMBER = re.compile(r"\d+")


class Shape(NamedTuple):
    """Names that begin alike but for the digits of their numbers.

    Attributes:
        parts: what stands before each number.
        widths: how many digits the numbers of many digits have; 0 of others, which may have any.
        behind: the sign behind the last number; "" where none is told.
    """

    parts: tuple[str, ...]
    widths: tuple[int, ...]
    behind: str = ""

    def regex(self, ids: Sequence[str] = ()) -> str:
        r"""Matches such a beginning, as in `person\d+`, `\d{8}`; numbers that all ids have stay."""
        numbers = [rf"\d{{{width}}}" if width else r"\d+" for width in self.widths]
        for place, digits in enumerate(zip(*(NUMBER.findall(one) for one in ids), strict=True)):
            if len(set(digits)) == 1:
                numbers[place] = digits[0]
        pairs = zip(self.parts, numbers, strict=True)
        return "".join(escaped(part) + number for part, number in pairs)


def shape_of(text: str, numbers: Sequence[re.Match[str]]) -> Shape:
    """The shape of a text up to the last of some of its numbers."""
    starts = [0, *(number.end() for number in numbers)]
    parts = [text[s : number.start()] for s, number in zip(starts, numbers, strict=False)]
    widths = [len(number[0]) if len(number[0]) >= MANY_DIGITS else 0 for number in numbers]
    return Shape(tuple(parts), tuple(widths))


def escaped(text: str) -> str:
    """As `re.escape`, which also escapes blanks and dashes, which mean nothing here."""
    return re.escape(text).replace("\\-", "-").replace("\\ ", " ")


def word_before(shape: Shape) -> str:
    """The word right before the last number."""
    before = words(shape.parts[-1])
    return before[-1] if before else ""


def groups_well(ids: Sequence[str], word: str = "") -> bool:
    """Whether so many groups of such sizes are likely people."""
    if word in OTHER_WORDS:
        return False
    named = word in PATIENT_WORDS
    sizes = Counter(ids)
    shared = sum(size for size in sizes.values() if size > 1)
    fewest = FEWEST_NAMED_PATIENTS if named else FEWEST_PATIENTS
    largest = LARGEST_NAMED_SHARE if named else LARGEST_SHARE
    return (
        len(sizes) >= fewest
        and max(sizes.values()) <= largest * len(ids)
        and shared >= LEAST_SHARED * len(ids)
    )


def ids_of(shape: Shape, names: Iterable[str]) -> list[str]:
    """The beginnings of names of a shape."""
    regex = re.compile(shape.regex())
    return [match[0] for name in names if (match := regex.match(name))]
