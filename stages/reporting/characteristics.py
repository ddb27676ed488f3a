"""What the metadata of a data set say of its images, split by split."""

import re

import pandas as pd

from stages.dataset.image_set import SPLITS
from stages.dataset.metadata import Metadata

VALUES_SHOWN = 4
# Words of a column's name by which it is of people, and not of how a picture was taken.
OF_PEOPLE = re.compile(r"(?<![a-z])(age|sex|gender)(?![a-z])")


def names_people(metadata: Metadata) -> bool:
    """Whether a column is called age, sex or gender, and has a value."""
    return any(
        OF_PEOPLE.search(name.lower()) is not None and metadata.is_known(name).any()
        for name in metadata.columns
    )


def describe_columns(manifest: pd.DataFrame, metadata: Metadata) -> str:
    """Each column in each split: median and range of numbers, the commonest values of others.

    Args:
        manifest: columns image_id and split.
        metadata: of the same images.
    """
    parts = []
    for split in SPLITS:
        part = metadata.of_images(manifest.loc[manifest["split"] == split, "image_id"])
        said = "; ".join(f"{name} {_describe(part, name)}" for name in part.columns)
        parts.append(f"{split} ({len(part.table)} images): {said}")
    return ". ".join(parts)


def _describe(metadata: Metadata, name: str) -> str:
    """The values of a column, and how many there are not."""
    is_known = metadata.is_known(name)
    given = metadata.table[name][is_known]
    absent = "" if is_known.all() else f", {(~is_known).sum()} not given"
    if given.empty:
        return "not given"
    if metadata.columns[name].kind == "number":
        return f"median {given.median():g} ({given.min():g} to {given.max():g}){absent}"
    counts = given.value_counts(normalize=True)
    shown = ", ".join(f"{name} {share:.0%}" for name, share in counts.head(VALUES_SHOWN).items())
    others = len(counts) - VALUES_SHOWN
    return f"{shown}{f', {others} other values' if others > 0 else ''}{absent}"
