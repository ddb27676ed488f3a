"""Opens what `datasets.<name>.source` names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import ArchiveSource, Dataset, FolderSource, PhantomSource
from stages.phantoms.cohort import CohortImage, plan_cohort
from stages.sources.archive import unpacked
from stages.sources.folder import file_states, folder_items, tree_items
from stages.sources.ignore import Ignore
from stages.sources.item import RawImage, SourceItem
from stages.sources.metadata import MetadataListing, list_metadata
from stages.sources.patients import name_patients
from stages.sources.table import apply_table
from stages.sources.tree import LeftOut

States = Mapping[str, tuple[int, ...] | None]  # of files


class Listing(NamedTuple):
    """What a source has.

    Attributes:
        items: all of its images.
        left_out: what was left out as no images of it.
        reconciliation: of its table and its files, columns RECONCILIATION_COLUMNS; None without a
            table.
        metadata: what a table says of the images beside their pixels; None where none is named.
        notes: what there is to say of table and patients, a sentence each.
    """

    items: list[SourceItem]
    left_out: list[LeftOut]
    reconciliation: pd.DataFrame | None = None
    metadata: MetadataListing | None = None
    notes: Sequence[str] = ()


@contextmanager
def open_source(dataset: Dataset, *, seed: int, scratch: Path) -> Iterator[Listing]:
    """List a source's images; archives are unpacked below `scratch` while the context lasts.

    Raises:
        UserError: the source is missing, is not what its kind says, or does not hold the classes.
    """
    require_source(dataset)
    match dataset.source:
        case PhantomSource():
            yield Listing(_phantom_items(dataset, seed), left_out=[])
        case FolderSource(path=path):
            yield _folder_listing(Path(path), dataset)
        case ArchiveSource(path=path):
            with unpacked(Path(path), scratch) as folder:
                yield _archive_listing(folder, dataset)


@contextmanager
def source_at_rest(dataset: Dataset) -> Iterator[None]:
    """Look at the files of source and truth before and after the block, which reads them.

    DVC notes the state of a source when its stage has ended: of one that changed meanwhile it would
    never know that the outputs are of another state.

    Raises:
        UserError: a file was added, removed or written to.
    """
    if dataset.is_phantom:
        yield
        return
    paths = {"source.path": Path(dataset.source.path)}
    if dataset.truth.kind == "files":
        paths["truth.path"] = Path(dataset.truth.path)
    before = {key: file_states(path) for key, path in paths.items()}
    yield
    for key, path in paths.items():
        _require_same(before[key], file_states(path), f"{key}: {path}")


def _require_same(before: States, after: States, where: str) -> None:
    changed = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
    if changed:
        raise UserError(
            f"{where} changed while it was read: {len(changed)} files, the first of "
            f"them {changed[0]!r}; wait until nothing writes there, then run again"
        )


def require_source(dataset: Dataset) -> None:
    """Look at what a source names without listing it, which takes unpacking an archive.

    Raises:
        UserError: it is not there, or not what its kind says.
    """
    path = Path(dataset.source.path)
    where = f"source.path: got {dataset.source.path!r}"
    Ignore(dataset.ignore)  # refuses what is no pattern
    match dataset.source:
        case PhantomSource() if dataset.cohort is None:
            raise UserError(
                "cohort: got null; allowed where source.kind is phantom: a cohort, such as {kind: "
                "ct, patients: {...}, images_per_patient: 2, marker_share: {...}}"
            )
        case FolderSource() if path.is_file():
            raise UserError(f"{where}, a file; for a .zip or .tar set source.kind to archive")
        case ArchiveSource() if path.is_dir():
            raise UserError(f"{where}, a folder; set source.kind to folder")
        case FolderSource() | ArchiveSource() if not path.exists():
            raise UserError(f"{where}: there is no such {dataset.source.kind}; correct the path")


def describe_source(dataset: Dataset) -> str:
    """Where the images come from, in a word: the path, or which phantoms."""
    if dataset.is_phantom and dataset.cohort is not None:
        return f"phantom:{dataset.cohort.kind}"
    return dataset.source.path


def _phantom_items(dataset: Dataset, seed: int) -> list[SourceItem]:
    assert dataset.cohort is not None  # required above
    images = plan_cohort(dataset.cohort, size_px=dataset.size_px, seed=seed)
    return [_phantom_item(image) for image in images]


def _phantom_item(image: CohortImage) -> SourceItem:
    return SourceItem(
        source_path=f"{image.label}/{image.patient_id}-{image.number:02d}.png",
        label=image.label,
        split=None,
        patient_id=image.patient_id,
        subgroup="marker" if image.has_marker else "no-marker",
        read=partial(_draw, image),
    )


def _draw(image: CohortImage) -> RawImage:
    phantom = image.draw()
    return RawImage(phantom.to_png(), phantom.truth)


def _archive_listing(folder: Path, dataset: Dataset) -> Listing:
    """That of the unpacked folder; errors name the archive, since the folder is gone by then."""
    try:
        return _folder_listing(folder, dataset)
    except UserError as error:
        raise UserError(str(error).replace(str(folder), dataset.source.path)) from None


def _folder_listing(folder: Path, dataset: Dataset) -> Listing:
    """Images and what tables say of them; a table itself is no image."""
    listing = _listing_of_images(folder, dataset)
    if dataset.metadata is None:
        return listing
    own_path = PurePosixPath(dataset.metadata.table).as_posix()
    items = [item for item in listing.items if item.source_path != own_path]
    metadata = list_metadata(items, dataset.metadata, folder)
    notes = [*listing.notes, *metadata.notes]
    return listing._replace(items=items, metadata=metadata, notes=notes)


def _listing_of_images(folder: Path, dataset: Dataset) -> Listing:
    """Files of class folders; with a table, what that says of them, or of any tree of files."""
    table = dataset.table
    if table is None or table.label is None:
        found = folder_items(folder, classes=dataset.classes, ignore=dataset.ignore)
    else:
        found = tree_items(folder, ignore=dataset.ignore)
    if table is None:
        items, notes = name_patients(found.items, dataset.group)
        return Listing(items, found.left_out, notes=notes)
    said = apply_table(found.items, dataset, folder)
    items, notes = name_patients(said.items, dataset.group)
    left_out = sorted([*found.left_out, *said.left_out], key=lambda out: os.fsencode(out.path))
    return Listing(items, left_out, said.reconciliation, notes=[*said.notes, *notes])
