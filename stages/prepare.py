"""Decode every image of a data set once, group what belongs together, and split it.

Reads:  the source of datasets.<name>
Writes: data/prepared/<name>/: images.npy, manifest.csv, rejected.csv, duplicates.csv,
        left_out.csv, suspicious.csv, grouping.json, dataset.json, and truth.npy for phantoms;
        metadata.csv and metadata.json; leaks.csv where groups leak, patients_of_two_classes.csv
        where there are some; of a table reconciliation.csv; of files of truth truth.npy, truth.csv
        and truth_files.csv; fingerprints.bin where near-duplicates are looked for
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Dataset, FilesTruth, Params
from stages.config.paths import Paths
from stages.config.text import visible
from stages.config.writing import keep_only, link_or_copy, write_csv
from stages.dataset.image_set import (
    DATASET_INFO,
    FINGERPRINTS,
    KNOWN_TRUTH,
    MANIFEST,
    MANIFEST_COLUMNS,
    DatasetInfo,
)
from stages.dataset.metadata import METADATA_FILES, Metadata, tabulate_metadata
from stages.dataset.preprocessing import Preprocessing
from stages.dataset.split import assign_splits
from stages.dataset.truth import save_known
from stages.imaging.grouping import (
    DUPLICATES,
    GROUPING,
    LEAKS,
    TWO_CLASSES,
    Grouping,
    files_of,
    find_clusters_of_two_labels,
    find_patients_of_two_classes,
    group_images,
    known,
    save_grouping,
    save_leaks,
    save_patients_of_two_classes,
)
from stages.imaging.intake import (
    REJECTED,
    SUSPICIOUS,
    Listed,
    Rejected,
    array_names,
    count_suspicious,
    decode_source,
)
from stages.sources.listing import Listing, describe_source, open_source, source_at_rest
from stages.sources.table import RECONCILIATION, require_matched
from stages.sources.tree import LeftOut
from stages.sources.truth_files import (
    TRUTH_FILES,
    FoundTruth,
    find_truth,
    require_truth_matched,
    tabulate_lines,
    with_outcomes,
)

logger = logging.getLogger(__name__)

LEFT_OUT = "left_out.csv"
TABLES = (
    MANIFEST,
    DATASET_INFO,
    REJECTED,
    SUSPICIOUS,
    LEFT_OUT,
    DUPLICATES,
    GROUPING,
    *METADATA_FILES,
)


def prepare_dataset(params: Params, name: str, paths: Paths) -> None:
    """Write the prepared folder of one data set."""
    dataset = params.dataset(name)
    folder = paths.prepared(name)
    try:
        with _scratch(paths, name) as scratch:
            with (
                source_at_rest(dataset),
                open_source(dataset, seed=params.seed, scratch=scratch) as listing,
            ):
                left_out = pd.DataFrame(listing.left_out, columns=LeftOut._fields)
                write_csv(folder / LEFT_OUT, left_out)
                _reconcile(listing, dataset, folder)
                truth = _find_truth(listing, dataset)
                if truth is not None:
                    listing = listing._replace(items=truth.items)
                listed, rejected = decode_source(listing, dataset, folder, scratch)
            _require_readable(listed.manifest, rejected, dataset, folder)
            truth_tables = _save_truth(truth, dataset, listed, rejected, folder)
            manifest, grouping = _group(listed, dataset, folder, scratch)
            if dataset.near_duplicates:
                link_or_copy(scratch / FINGERPRINTS, folder / FINGERPRINTS)
        manifest = _split(manifest, dataset, seed=params.seed)
    except UserError as error:
        raise UserError(f"params.yaml: datasets.{name}: {error}") from None
    write_csv(folder / MANIFEST, manifest[list(MANIFEST_COLUMNS)])
    save_grouping(folder, manifest, grouping, listing.notes)
    _tabulate_metadata(manifest, listing, dataset).save(folder)
    tables = [*TABLES, *truth_tables, *_write_further_tables(folder, manifest, listing)]
    suspicious = count_suspicious(listed.suspicious)
    info = _describe(name, dataset, listing, manifest, rejected, suspicious, grouping.leaks)
    info.save(folder)
    leaks = [LEAKS] if grouping.leaks else []
    described = [FINGERPRINTS] if dataset.near_duplicates else []
    # An earlier run may have left more.
    keep_only(folder, [*array_names(dataset), *described, *tables, *leaks])
    _log_summary(name, manifest, grouping, rejected, listing)
    if suspicious:
        found = ", ".join(f"{count} {what}" for what, count in suspicious.items())
        logger.warning("pictures to look at (%s): %s", SUSPICIOUS, found)


@contextmanager
def _scratch(paths: Paths, name: str) -> Iterator[Path]:
    """A folder for what the stage unpacks and looks up, removed in the end."""
    scratch = paths.scratch(f"prepare-{name}")
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed process had left
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reconcile(listing: Listing, dataset: Dataset, folder: Path) -> None:
    """Write how rows of a table and files matched; too many that did not stop the run."""
    if dataset.table is None:
        return
    assert listing.reconciliation is not None  # of a table there is one
    path = folder / RECONCILIATION
    write_csv(path, listing.reconciliation)
    counts = listing.reconciliation["how"].value_counts()
    logger.info("rows and files of the table (%s):\n%s", RECONCILIATION, counts.to_string())
    require_matched(
        listing.reconciliation, dataset.max_unmatched, listed_in=f"; all are listed in {path}"
    )


def _find_truth(listing: Listing, dataset: Dataset) -> FoundTruth | None:
    if not isinstance(dataset.truth, FilesTruth):
        return None
    return find_truth(listing.items, dataset.truth)


def _save_truth(
    truth: FoundTruth | None,
    dataset: Dataset,
    listed: Listed,
    rejected: Sequence[Rejected],
    folder: Path,
) -> list[str]:
    """Write what became of masks and boxes; too many of no use stop the run. Names of the files."""
    if truth is None or not isinstance(dataset.truth, FilesTruth):
        return []
    gone = [entry.file for entry in rejected]
    lines = with_outcomes(truth.lines, listed.unusable_masks, gone, dataset.truth.path)
    path = folder / TRUTH_FILES
    write_csv(path, tabulate_lines(lines))
    counts = Counter((line.kind, line.how) for line in lines)
    said = "\n".join(f"{kind}, {how}: {count}" for (kind, how), count in sorted(counts.items()))
    logger.info("masks and boxes (%s):\n%s", TRUTH_FILES, said)
    require_truth_matched(
        lines, dataset.truth.max_unmatched, listed_in=f"; all are listed in {path}"
    )
    save_known(folder / KNOWN_TRUTH, listed.manifest["image_id"].tolist(), listed.known_truth)
    return [TRUTH_FILES, KNOWN_TRUTH]


def _write_further_tables(folder: Path, manifest: pd.DataFrame, listing: Listing) -> list[str]:
    """Write what not every data set has; returns the names of the files."""
    names = []
    if listing.reconciliation is not None:
        names.append(RECONCILIATION)
    two_classes = find_patients_of_two_classes(manifest)
    if len(two_classes):
        names.append(TWO_CLASSES)
        save_patients_of_two_classes(folder, two_classes)
    return names


def _tabulate_metadata(manifest: pd.DataFrame, listing: Listing, dataset: Dataset) -> Metadata:
    """What is known of each image beside its pixels; no column where nothing is asked for."""
    if dataset.metadata is None:
        return tabulate_metadata(manifest["image_id"], [{}] * len(manifest), {})
    found = listing.metadata
    assert found is not None  # where it is asked for
    cells = [found.cells.get(path, {}) for path in manifest["source_path"]]
    return tabulate_metadata(manifest["image_id"], cells, found.columns)


def _require_readable(
    manifest: pd.DataFrame, rejected: Sequence[Rejected], dataset: Dataset, folder: Path
) -> None:
    n_files = len(manifest) + len(rejected)
    if len(rejected) > dataset.max_rejected * n_files:
        reasons = Counter(entry.reason for entry in rejected)
        listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise UserError(
            f"{len(rejected)} of {n_files} files cannot be read: {listed}; allowed: a share of "
            f"{dataset.max_rejected:g} (max_rejected); all are listed in {folder / REJECTED}"
        )
    readable = set(manifest["label"]) if len(manifest) else set()
    for label in dataset.classes:
        if label not in readable:
            raise UserError(f"classes.{label}: none of its images can be read")


def _group(
    listed: Listed, dataset: Dataset, folder: Path, scratch: Path
) -> tuple[pd.DataFrame, Grouping]:
    """Add group_id; a group that the given splits cut stops the run or is noted."""
    grouping = group_images(
        listed.manifest,
        listed.fingerprints,
        near_duplicates=dataset.near_duplicates,
        scratch=scratch,
    )
    manifest = listed.manifest.assign(group_id=grouping.group_ids)
    if grouping.leaks:
        save_leaks(folder, manifest, grouping.leaks)
        if not dataset.allow_leakage:
            raise UserError(_leak_message(manifest, grouping, folder))
    return manifest, grouping


def _leak_message(manifest: pd.DataFrame, grouping: Grouping, folder: Path) -> str:
    group, splits = next(iter(grouping.leaks.items()))
    files = files_of(group, manifest, grouping)
    return (
        f"{len(grouping.leaks)} groups (one patient, or pictures that are the same) stand in more "
        "than one of the splits or folds that came with the data; the first, in "
        f"{' and '.join(splits)}: {', '.join(files[:4])}; all are listed in "
        f"{folder / LEAKS}; mend the folders or the table, or set allow_leakage: true to go on "
        "with marked figures"
    )


def _split(manifest: pd.DataFrame, dataset: Dataset, *, seed: int) -> pd.DataFrame:
    """Add split, by group."""
    splits = assign_splits(
        manifest["label"].tolist(),
        manifest["group_id"].tolist(),
        known(manifest["given_split"]),
        dataset.split.model_dump(),
        seed=seed,
    )
    return manifest.assign(split=splits)


def _describe(
    name: str,
    dataset: Dataset,
    listing: Listing,
    manifest: pd.DataFrame,
    rejected: Sequence[Rejected],
    suspicious: dict[str, int],
    leaks: dict[str, list[str]],
) -> DatasetInfo:
    return DatasetInfo(
        dataset=name,
        source=describe_source(dataset),
        is_phantom=dataset.is_phantom,
        modality=dataset.modality,
        class_names=list(dataset.classes),
        positive=dataset.positive,
        n_files=len(manifest) + len(rejected),
        n_rejected=len(rejected),
        n_left_out=_count_left_out(listing),
        leakage=sorted(leaks),
        implies=dict(dataset.implies),
        suspicious=suspicious,
        preprocessing=Preprocessing(grey=dataset.grey, picture_px=dataset.size_px, view=None),
    )


def _count_left_out(listing: Listing) -> int:
    """Files; a folder stands for all it holds."""
    return sum(entry.files for entry in listing.left_out)


def _log_summary(
    name: str,
    manifest: pd.DataFrame,
    grouping: Grouping,
    rejected: Sequence[Rejected],
    listing: Listing,
) -> None:
    counts = pd.crosstab(manifest["label"], manifest["split"])
    groups = manifest["group_id"].nunique()
    logger.info("%s: %d images of %d groups\n%s", name, len(manifest), groups, counts.to_string())
    logger.info(
        "%d pairs show the same picture (duplicates.csv); patient known of %d images",
        len(grouping.pairs),
        manifest["patient_id"].notna().sum(),
    )
    for note in listing.notes:
        logger.info("%s", note)
    n_two = find_patients_of_two_classes(manifest)["patient_id"].nunique()
    if n_two:
        logger.warning("%d patients have images of two classes (%s)", n_two, TWO_CLASSES)
    _log_two_labels(manifest, grouping)
    for column in ("given_split", "given_fold"):
        if 0 < (n_without := manifest[column].isna().sum()) < len(manifest):
            logger.warning("%d images have no %s", n_without, column.replace("_", " "))
    if grouping.leaks:
        logger.warning("leakage allowed: %d groups in two splits (leaks.csv)", len(grouping.leaks))
    logger.info(
        "%d files rejected (rejected.csv); %d left out (left_out.csv)",
        len(rejected),
        _count_left_out(listing),
    )


def _log_two_labels(manifest: pd.DataFrame, grouping: Grouping) -> None:
    """Name pictures that are the same, or nearly so, under two labels."""
    found = find_clusters_of_two_labels(manifest, grouping.clusters)
    if found:
        first = ", ".join(f"{visible(image['file'])} ({image['label']})" for image in found[0][:4])
        logger.warning(
            "%d pictures are the same under two labels (all are listed in %s); the first: %s",
            len(found),
            GROUPING,
            first,
        )


if __name__ == "__main__":
    run_stage(prepare_dataset, __doc__, section="datasets")
