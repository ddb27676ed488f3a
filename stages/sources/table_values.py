"""What the cells of a table mean: classes, patients, given splits and folds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import SourceTable
from stages.sources.identity import is_missing, tidy, undo_floats, unify_ids
from stages.sources.names import SPLIT_OF_WORD, split_of

IGNORED = "label to ignore"  # no name of a class has spaces
NO_FOLD = "-1"  # as lists of folds say it
VALUES_SHOWN = 5


class RowValues(NamedTuple):
    """What a row says of its image; None where it says nothing, or the table has no such column.

    Attributes:
        label: class name, or IGNORED.
        patient: id, the same in all rows of one person.
        split: train, val or test.
        fold: name of a fold.
    """

    label: str | None
    patient: str | None
    split: str | None
    fold: str | None


def read_values(
    rows: pd.DataFrame,
    settings: SourceTable,
    classes: Mapping[str, Sequence[str]],
    ignore: Sequence[str],
) -> tuple[list[RowValues], list[str]]:
    """What each row says, and what there is to note of the patients.

    Args:
        rows: cells as text, by the names of columns that `settings` has.
        settings: which column is what.
        classes: labels, as the table spells them, of each class name.
        ignore: labels, or patterns of them such as `*|*`, whose images are not wanted.

    Raises:
        UserError: a label belongs to no class, or a split is none.
    """

    def cells(column: str | None) -> list[str]:
        return [""] * len(rows) if column is None else rows[column].tolist()

    patients = unify_ids(cells(settings.patient))
    columns = (
        _read_labels(cells(settings.label), settings, classes, ignore),
        patients.ids,
        _read_splits(cells(settings.split), settings),
        _read_folds(cells(settings.fold)),
    )
    return [RowValues(*row) for row in zip(*columns, strict=True)], patients.notes


def _read_labels(
    texts: Sequence[str],
    settings: SourceTable,
    classes: Mapping[str, Sequence[str]],
    ignore: Sequence[str],
) -> list[str | None]:
    exact = {tidy(text): name for name, texts in classes.items() for text in texts}
    named = Counter(text.casefold() for text in exact)
    caseless = {t.casefold(): name for t, name in exact.items() if named[t.casefold()] == 1}
    tidied = [tidy(text) for text in texts]
    plain = undo_floats(set(tidied))
    meaning: dict[str, str | None] = {}
    strange = []
    for text in dict.fromkeys(tidied):
        spellings = (exact.get(text), exact.get(plain[text]), caseless.get(plain[text].casefold()))
        label = next((name for name in spellings if name), None)
        if label is None and any(fnmatchcase(text, pattern) for pattern in ignore):
            label = IGNORED
        if label is None and not is_missing(text):
            strange.append(text)
        meaning[text] = label
    if strange:
        raise UserError(
            f"table.label: column {settings.label!r} has {_listed(strange)}, which belong to no "
            f"class; classes take {_listed(exact)}; add the values to a class or to ignore (there "
            "'*|*' means all with a bar)"
        )
    return [meaning[text] for text in tidied]


def _read_splits(texts: Sequence[str], settings: SourceTable) -> list[str | None]:
    tidied = [tidy(text) for text in texts]
    strange = {t for t in tidied if not is_missing(t) and split_of(t) is None}
    if strange:
        raise UserError(
            f"table.split: column {settings.split!r} has {_listed(sorted(strange))}; allowed: "
            f"{', '.join(SPLIT_OF_WORD)}, or nothing"
        )
    return [split_of(text) for text in tidied]


def _read_folds(texts: Sequence[str]) -> list[str | None]:
    tidied = [tidy(text).casefold() for text in texts]
    plain = undo_floats(set(tidied))
    folds = [plain[text] for text in tidied]
    return [None if is_missing(fold) or fold == NO_FOLD else fold for fold in folds]


def one_line_end(text: str) -> str:
    """A cell with one kind of line end: a table that is written has to be read again."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _listed(values: Iterable[str]) -> str:
    """Some values for a message, quoted; the rest is counted."""
    values = list(values)
    more = f" and {len(values) - VALUES_SHOWN} more" if len(values) > VALUES_SHOWN else ""
    return ", ".join(map(repr, values[:VALUES_SHOWN])) + more
