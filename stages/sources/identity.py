"""Who is the same person: one patient, one id, however tables and file names spell it.

Spellings are joined where a split by patient would otherwise part one person: spaces, Unicode
forms and case never tell two people apart here, nor does the `.0` that tables of numbers get when
a cell is empty. Words for `not known` are no id.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import NamedTuple

# In any case; text without a letter or digit, such as `-` or `?`, says nothing either.
MISSING = frozenset(
    {"na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "none", "null", "nil", "unknown"}
    | {"undefined", "missing", "not available", "not known"}
)
WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")
ROUNDED_FLOAT = re.compile(r"\d+(\.\d+)?[eE]\+\d+")  # as spreadsheets write long numbers
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE]\+\d+)?")
COUNTED = re.compile(r"(\D*)(\d+)")  # what a numbering looks like: P1, P2, ...

# What a numbering that begins anew in each class looks like.
FEWEST_IDS = 3  # of a class
SHARED_IDS = 0.9  # share of the smaller class's ids that the other class has too
DENSE = 1.5  # numbers spanned, per id
# An id of that share of the images, among as many others, is likely no person.
LARGE_SHARE, FEW_PATIENTS = 0.2, 10


class Identities(NamedTuple):
    """Ids of N texts.

    Attributes:
        ids: (N,) the first spelling of each id, or None where the text names nobody.
        notes: what was joined or looks odd, a sentence each.
    """

    ids: list[str | None]
    notes: list[str]


def tidy(text: str) -> str:
    """Text in one Unicode form (NFC), trimmed, with single spaces and nothing invisible."""
    if text.isascii() and text.isprintable():  # nearly all of a long table, ten times faster
        return " ".join(text.split())
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", seen).split())


def is_missing(text: str) -> bool:
    """Whether a tidy text says that nothing is known."""
    return text.casefold() in MISSING or not any(character.isalnum() for character in text)


def undo_floats(texts: Collection[str]) -> dict[str, str]:
    """Tidy text to itself, or to `12` for `12.0` where that ending is no more than an artefact.

    It is one unless other texts have digits behind the point: there `3.0` stands beside `3.1`.
    Numbers such as `1.2E+05` are written out where all texts are numbers.
    """
    plain = {text: text for text in texts}
    if any(re.fullmatch(r"[+-]?\d+\.\d*[1-9]\d*", text) for text in texts):
        return plain
    for text in texts:
        if match := WHOLE_FLOAT.fullmatch(text):
            plain[text] = match[1]
    if all(NUMBER.fullmatch(text) for text in texts):
        plain |= {
            text: str(int(float(text)))
            for text in texts
            if ROUNDED_FLOAT.fullmatch(text) and float(text).is_integer()
        }
    return plain


def unify_ids(texts: Sequence[str | None]) -> Identities:
    """Give all spellings of an id its first one; missing ones become None.

    `012` and `12` stay two ids, which is noted.
    """
    tidied = [tidy(text or "") for text in texts]
    plain = undo_floats({text for text in tidied if not is_missing(text)})
    numbers = [plain.get(text) for text in tidied]
    first: dict[str, str] = {}
    ids = [
        None if number is None else first.setdefault(number.casefold(), number)
        for number in numbers
    ]
    notes = [
        *_joined("by case", numbers, ids),
        *_joined("without the .0 or E of a float", tidied, numbers),
        *_joined("after trimming and in one Unicode form", texts, tidied),
        *_rounded(tidied),
        *_leading_zeros(first.values()),
        *_large(ids),
    ]
    return Identities(ids, notes)


def number_by_class(ids: Sequence[str | None], labels: Sequence[str]) -> list[str | None]:
    """Ids of a numbering that begins anew in each class, told apart by class."""
    return [None if i is None else f"{i} ({c})" for i, c in zip(ids, labels, strict=True)]


def find_restart(ids: Sequence[str | None], labels: Sequence[str]) -> str | None:
    """Say so where the ids look like a numbering that begins anew in each class, else None.

    That is: small consecutive numbers of which one class has nearly all that another has.
    """
    of_class: dict[str, set[str]] = {}
    for known, label in zip(ids, labels, strict=True):
        if known is not None:
            of_class.setdefault(label, set()).add(known)
    for (first, a), (second, b) in combinations(sorted(of_class.items()), 2):
        shared, fewer = len(a & b), min(len(a), len(b))
        if fewer < FEWEST_IDS or shared < SHARED_IDS * fewer:
            continue
        if _is_numbering(a) and _is_numbering(b):
            return (
                f"{shared} of the {fewer} patients of the smaller of {first} and {second} have the "
                "id of one in the other class, and ids are consecutive: a numbering that begins "
                "anew in each class? If so, set group.patients_per_class: true; now images of one "
                "id are one person"
            )
    return None


def _is_numbering(ids: Collection[str]) -> bool:
    matches = [COUNTED.fullmatch(text) for text in ids]
    counted = [(match[1].casefold(), int(match[2])) for match in matches if match]
    if len(counted) < len(ids) or len({prefix for prefix, _ in counted}) > 1:
        return False
    numbers = [number for _, number in counted]
    return max(numbers) - min(numbers) + 1 <= DENSE * len(set(numbers))


def _joined(how: str, before: Sequence[str | None], after: Sequence[str | None]) -> list[str]:
    """Note the ids that a step made of more than one text."""
    spellings: dict[str, dict[str, None]] = {}  # sets that keep their order
    for old, new in zip(before, after, strict=True):
        if old is not None and new is not None and not is_missing(new):
            spellings.setdefault(new, {})[old] = None
    several = [list(found) for found in spellings.values() if len(found) > 1]
    if not several:
        return []
    example = " and ".join(repr(text) for text in several[0][:2])
    return [f"{len(several)} patients are one only {how}, such as {example}"]


def _rounded(tidied: Collection[str]) -> list[str]:
    found = [text for text in tidied if ROUNDED_FLOAT.fullmatch(text)]
    if not found:
        return []
    return [
        f"{len(set(found))} patient ids are numbers with an exponent, such as {found[0]!r}: "
        "digits may have been lost when the table was saved, and people joined"
    ]


def _leading_zeros(ids: Collection[str]) -> list[str]:
    of_number: dict[str, list[str]] = {}
    for known in ids:
        if match := COUNTED.fullmatch(known):
            of_number.setdefault(f"{match[1]}{int(match[2])}", []).append(known)
    several = [found for found in of_number.values() if len(found) > 1]
    if not several:
        return []
    example = " and ".join(repr(text) for text in several[0][:2])
    return [
        f"{len(several)} patient ids differ from others in leading zeros alone, such as {example}: "
        "they are kept apart; spell them alike if they are one person"
    ]


def _large(ids: Sequence[str | None]) -> list[str]:
    counts = Counter(known for known in ids if known is not None)
    return [
        f"patient {known!r} has {count} of {len(ids)} images: is this a word for nobody? Then "
        "leave it empty in the source"
        for known, count in counts.items()
        if count > LARGE_SHARE * len(ids) and len(counts) >= FEW_PATIENTS
    ]
