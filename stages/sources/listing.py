"""Opens what `datasets.<name>.source` names."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError
from stages.config.params import (
    ArchiveSource,
    Dataset,
    DicomGroup,
    DicomMetadata,
    FolderSource,
    PhantomSource,
    SourceMetadata,
)
from stages.phantoms.cohort import CohortImage, plan_cohort
from stages.sources.archive import unpacked
from stages.sources.disguise import Disguise, disguise_of, hiding_names
from stages.sources.folder import FolderListing, file_states, folder_items, tree_items
from stages.sources.ignore import Ignore
from stages.sources.item import RawImage, SourceItem
from stages.sources.metadata import MetadataListing, list_header_facts, list_metadata
from stages.sources.names import shown
from stages.sources.patients import name_patients, name_patients_of_headers
from stages.sources.table import apply_table
from stages.sources.tree import LeftOut
from stages.sources.volumes import Headers, read_headers, take_slices

logger = logging.getLogger(__name__)

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
            with ExitStack() as until_read:
                with hiding_names(dataset, Path(path)):
                    folder = until_read.enter_context(unpacked(Path(path), scratch))
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
        with hiding_names(dataset, path):
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
    """The images of a folder and what is known of them, without identifiers that are not to be."""
    disguise = disguise_of(dataset)
    with hiding_names(dataset, folder):
        found = _list_files(folder, dataset)
        _log_inner_folders(found, disguise)
        listing = _with_tables(found, folder, dataset)
        headers = read_headers(listing.items, folder)
        listing = _with_headers(listing, headers, dataset, disguise)
        listing = _with_slices(listing, headers, dataset, folder)
    return listing if disguise is None else _disguised(listing, disguise)


def _list_files(folder: Path, dataset: Dataset) -> FolderListing:
    """Files of class folders; of any tree of files where a table has the labels."""
    table = dataset.table
    if table is None or table.label is None:
        return folder_items(folder, classes=dataset.classes, ignore=dataset.ignore)
    return tree_items(folder, ignore=dataset.ignore)


def _log_inner_folders(found: FolderListing, disguise: Disguise | None) -> None:
    """Say what was taken for patients or studies, since it could be something else."""
    for around, count, first in found.inner:
        logger.info(
            "%s: %d folders below it taken as patients, studies or splits, such as %s",
            around,
            count,
            shown(disguise.name(first.name) if disguise else first.name),
        )


def _with_tables(found: FolderListing, folder: Path, dataset: Dataset) -> Listing:
    """What tables and names of files say of the images; a table itself is no image."""
    listing = Listing(found.items, found.left_out)
    if dataset.table is not None:
        said = apply_table(found.items, dataset, folder)
        left_out = [*found.left_out, *said.left_out]
        listing = Listing(said.items, left_out, said.reconciliation, notes=said.notes)
    if not isinstance(dataset.group, DicomGroup):
        items, notes = name_patients(listing.items, dataset.group)
        listing = listing._replace(items=items, notes=[*listing.notes, *notes])
    if isinstance(dataset.metadata, SourceMetadata):
        own_path = PurePosixPath(dataset.metadata.table).as_posix()
        items = [item for item in listing.items if item.source_path != own_path]
        metadata = list_metadata(items, dataset.metadata, folder)
        notes = [*listing.notes, *metadata.notes]
        listing = listing._replace(items=items, metadata=metadata, notes=notes)
    return listing


def _with_headers(
    listing: Listing, headers: Headers, dataset: Dataset, disguise: Disguise | None
) -> Listing:
    """What the headers of DICOM files say of patients and of images, where that is asked for."""
    if disguise is not None:
        items, notes = name_patients_of_headers(listing.items, headers.dicom, disguise)
        listing = listing._replace(items=items, notes=[*listing.notes, *notes])
    if isinstance(dataset.metadata, DicomMetadata):
        facts = {path: header.facts for path, header in headers.dicom.items() if header}
        metadata = list_header_facts(facts, dataset.metadata)
        listing = listing._replace(metadata=metadata)
    return listing


def _with_slices(listing: Listing, headers: Headers, dataset: Dataset, folder: Path) -> Listing:
    """Images in the place of files; a slice has what is known of its file."""
    taken = take_slices(listing.items, headers, dataset.slices, folder)
    left_out = sorted([*listing.left_out, *taken.left_out], key=lambda out: os.fsencode(out.path))
    metadata = listing.metadata
    if metadata is not None:
        cells = {image: metadata.cells.get(file, {}) for image, file in taken.files.items()}
        metadata = metadata._replace(cells=cells)
    return listing._replace(
        items=taken.items,
        left_out=left_out,
        metadata=metadata,
        notes=[*listing.notes, *taken.notes],
    )


def _disguised(listing: Listing, disguise: Disguise) -> Listing:
    """The same with paths that name nobody."""
    paths = {item.source_path: _disguised_path(item, disguise) for item in listing.items}
    metadata = listing.metadata
    if metadata is not None:
        cells = {paths[path]: cells for path, cells in metadata.cells.items()}
        metadata = metadata._replace(cells=cells)
    return listing._replace(
        items=[replace(item, source_path=paths[item.source_path]) for item in listing.items],
        left_out=[out._replace(path=disguise.path(out.path)) for out in listing.left_out],
        metadata=metadata,
    )


def _disguised_path(item: SourceItem, disguise: Disguise) -> str:
    """A slice keeps its number behind the name of its file."""
    if item.frame is None:
        return disguise.path(item.source_path)
    assert item.volume is not None  # of every slice of a file
    return disguise.path(item.volume) + item.source_path.removeprefix(item.volume)
