"""Answers to checklist items that hold for a data set or do not: None is for the authors to say.

Of drawings the run knows what of patients only authors can: nobody was chosen, treated, asked or
read. An item is answered by the run where it is of every data set.
"""

from collections.abc import Callable

import pandas as pd

from stages.dataset.image_set import SPLITS
from stages.reporting.characteristics import describe_columns, names_people
from stages.reporting.results import DatasetResults

Known = Callable[[DatasetResults], str | None]


def _of_phantoms(said: str) -> Known:
    """The same of all drawings, nothing of other images."""
    return lambda dataset: said if dataset.info.is_phantom else None


def _eligibility(dataset: DatasetResults) -> str | None:
    if not dataset.info.is_phantom:
        return None
    counts = dataset.manifest["label"].value_counts()
    drawn = ", ".join(f"{name} {counts.get(name, 0)}" for name in dataset.info.class_names)
    return f"every image that was drawn: {drawn}; none was chosen"


def _acquisition(dataset: DatasetResults) -> str | None:
    if not dataset.info.is_phantom:
        return None
    size = dataset.settings.size_px
    return f"drawn by stages/phantoms ({dataset.info.source}), longest side {size} pixels"


def _characteristics(dataset: DatasetResults) -> str | None:
    """Those of drawings are class and stratum; of others, what a table says of people."""
    if dataset.info.is_phantom:
        return f"drawings have neither age nor sex; {_strata_by_split(dataset.manifest)}"
    if not names_people(dataset.metadata):
        return None
    return describe_columns(dataset.manifest, dataset.metadata)


def _strata_by_split(manifest: pd.DataFrame) -> str:
    parts = []
    for split in SPLITS:
        rows = manifest[manifest["split"] == split]
        named = rows["label"].str.cat(rows["subgroup"], sep=" ").str.strip()
        counts = named.value_counts().sort_index()
        parts.append(f"{split}: {', '.join(f'{n} {c}' for n, c in counts.items()) or 'none'}")
    return "; ".join(parts)


KNOWN: dict[str, Known] = {
    "design": _of_phantoms("neither prospective nor retrospective: the images are drawn for it"),
    "eligibility": _eligibility,
    "deidentification": _of_phantoms("nobody is to be recognised: the images are drawn"),
    "acquisition": _acquisition,
    "reference_reason": _of_phantoms(
        "each image is drawn for its class: its label is the truth, and no standard is better"
    ),
    "annotators": _of_phantoms("none: the class of an image is set before it is drawn"),
    "blinding": _of_phantoms("nothing to blind: the class is set before the image is there"),
    "trial": _of_phantoms("no trial: no patient takes part"),
    "dates": _of_phantoms("none: the images are drawn by the run"),
    "setting": _of_phantoms("no centre: the images are drawn by the run"),
    "treatments": _of_phantoms("none: there are no patients"),
    "ethics": _of_phantoms("no approval and no consent: no person takes part"),
    "characteristics": _characteristics,
}
