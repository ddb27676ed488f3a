"""What the columns kept of a data set's table say of its images, split by split."""

import re

import pandas as pd

from stages.dataset.image_set import SPLITS

VALUES_SHOWN = 4
# Words of a column's name by which it is of people, and not of how a picture was taken.
OF_PEOPLE = re.compile(r"(?<![a-z])(age|sex|gender)(?![a-z])")


def names_people(kept: pd.DataFrame) -> bool:
    """Whether a column is called age, sex or gender, and has a value."""
    return any(
        OF_PEOPLE.search(str(name).lower()) is not None and kept[name].str.strip().ne("").any()
        for name in kept.columns
    )


def describe_columns(manifest: pd.DataFrame, kept: pd.DataFrame) -> str:
    """Each column in each split: median and range of numbers, the commonest values of others.

    Args:
        manifest: columns image_id and split.
        kept: image_id, and columns of text; "" is missing.
    """
    rows = manifest[["image_id", "split"]].merge(kept, on="image_id", how="left").fillna("")
    columns = [name for name in kept.columns if name != "image_id"]
    parts = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        said = "; ".join(f"{name} {_describe(part[name])}" for name in columns)
        parts.append(f"{split} ({len(part)} images): {said}")
    return ". ".join(parts)


def _describe(values: pd.Series) -> str:
    """The values of a column, and how many there are not."""
    given = values.str.strip()
    given = given[given != ""]
    absent = f", {len(values) - len(given)} not given" if len(given) < len(values) else ""
    if given.empty:
        return "not given"
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.notna().all():
        return f"median {numbers.median():g} ({numbers.min():g} to {numbers.max():g}){absent}"
    counts = given.value_counts(normalize=True)
    shown = ", ".join(f"{name} {share:.0%}" for name, share in counts.head(VALUES_SHOWN).items())
    others = len(counts) - VALUES_SHOWN
    return f"{shown}{f', {others} other values' if others > 0 else ''}{absent}"
