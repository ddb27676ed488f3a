"""Opens what `datasets.<name>.source` names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stages.config.errors import UserError
from stages.config.params import Dataset, Phantoms
from stages.sources.archive import is_archive, unpacked
from stages.sources.folder import folder_items
from stages.sources.item import SourceItem
from stages.sources.patients import name_patients
from stages.phantoms import phantom_items


class Listing(NamedTuple):
    """All images of a source, and the file names that were left out as no images of it."""

    items: list[SourceItem]
    left_out: list[str]


@contextmanager
def open_source(
    dataset: Dataset, phantoms: Phantoms, *, seed: int, scratch: Path
) -> Iterator[Listing]:
    """List a source's images; archives are unpacked below `scratch` while the context lasts.

    Raises:
        UserError: the source is missing, empty or does not hold the classes.
    """
    source = Path(dataset.source)
    if dataset.phantom_kind is not None:
        yield Listing(_phantom_items(dataset, phantoms, seed), left_out=[])
    elif not source.exists():
        raise UserError(f"source {dataset.source!r}: no such folder or archive")
    elif is_archive(source):
        with unpacked(source, scratch) as folder:
            yield _folder_listing(folder, dataset)
    else:
        yield _folder_listing(source, dataset)


def _phantom_items(dataset: Dataset, phantoms: Phantoms, seed: int) -> list[SourceItem]:
    kind = str(dataset.phantom_kind)
    cohort = getattr(phantoms, kind)
    return phantom_items(
        kind,
        patients=cohort.patients,
        images_per_patient=cohort.images_per_patient,
        marker_share=cohort.marker_share,
        size_px=dataset.size,
        seed=seed,
    )


def _folder_listing(folder: Path, dataset: Dataset) -> Listing:
    items, left_out = folder_items(folder, classes=dataset.classes, ignore=dataset.ignore)
    return Listing(name_patients(items, dataset.group, folder), left_out)
