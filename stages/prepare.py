"""Decode every image of a data set once, group what belongs together, and split it.

Reads:  the source of datasets.<name>
Writes: data/prepared/<name>/: images.npy, manifest.csv, rejected.csv, duplicates.csv,
        suspicious.csv, grouping.json, dataset.json, leaks.csv where groups leak, and truth.npy for
        phantoms
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Dataset, Params
from stages.config.paths import Paths
from stages.config.writing import keep_only, write_csv
from stages.dataset.image_set import (
    DATASET_INFO,
    MANIFEST,
    MANIFEST_COLUMNS,
    DatasetInfo,
)
from stages.dataset.split import assign_splits
from stages.imaging.grouping import (
    DUPLICATES,
    GROUPING,
    LEAKS,
    Grouping,
    files_of,
    group_images,
    known,
    save_grouping,
    save_leaks,
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
from stages.sources.listing import Listing, describe_source, open_source

logger = logging.getLogger(__name__)

TABLES = (MANIFEST, DATASET_INFO, REJECTED, SUSPICIOUS, DUPLICATES, GROUPING)


def prepare_dataset(params: Params, name: str, paths: Paths) -> None:
    """Write the prepared folder of one data set."""
    dataset = params.dataset(name)
    folder = paths.prepared(name)
    scratch = paths.scratch(f"prepare-{name}")
    try:
        with open_source(dataset, seed=params.seed, scratch=scratch) as listing:
            listed, rejected = decode_source(listing, dataset, folder)
        _require_readable(listed.manifest, rejected, dataset, folder)
        manifest, grouping = _group(listed, dataset, folder)
        manifest = _split(manifest, dataset, seed=params.seed)
    except UserError as error:
        raise UserError(f"params.yaml: datasets.{name}: {error}") from None
    write_csv(folder / MANIFEST, manifest[list(MANIFEST_COLUMNS)])
    save_grouping(folder, manifest, grouping)
    suspicious = count_suspicious(listed.suspicious)
    info = _describe(name, dataset, listing, manifest, rejected, suspicious, grouping.leaks)
    info.save(folder)
    keep_only(folder, _file_names(dataset, has_leaks=bool(grouping.leaks)))
    _log_summary(name, manifest, grouping, rejected, listing.left_out)
    if suspicious:
        found = ", ".join(f"{count} {what}" for what, count in suspicious.items())
        logger.warning("pictures to look at (%s): %s", SUSPICIOUS, found)


def _file_names(dataset: Dataset, *, has_leaks: bool) -> list[str]:
    """What the folder holds at the end; another run by hand may have left more."""
    return [*array_names(dataset), *TABLES, *([LEAKS] if has_leaks else [])]


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


def _group(listed: Listed, dataset: Dataset, folder: Path) -> tuple[pd.DataFrame, Grouping]:
    """Add group_id; a group that the given splits cut stops the run or is noted."""
    grouping = group_images(
        listed.manifest, listed.fingerprints, near_duplicates=dataset.near_duplicates
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
        "than one of the splits that came with the data; the first, in "
        f"{' and '.join(splits)}: {', '.join(files[:4])}; all are listed in "
        f"{folder / LEAKS}; mend the folders, or set allow_leakage: true to go on with "
        "marked figures"
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
        n_left_out=len(listing.left_out),
        leakage=sorted(leaks),
        implies=dict(dataset.implies),
        suspicious=suspicious,
    )


def _log_summary(
    name: str,
    manifest: pd.DataFrame,
    grouping: Grouping,
    rejected: Sequence[Rejected],
    left_out: Sequence[str],
) -> None:
    counts = pd.crosstab(manifest["label"], manifest["split"])
    groups = manifest["group_id"].nunique()
    logger.info("%s: %d images of %d groups\n%s", name, len(manifest), groups, counts.to_string())
    logger.info(
        "%d pairs show the same picture (duplicates.csv); patient known of %d images",
        len(grouping.pairs),
        manifest["patient_id"].notna().sum(),
    )
    if grouping.leaks:
        logger.warning("leakage allowed: %d groups in two splits (leaks.csv)", len(grouping.leaks))
    logger.info("%d files rejected (rejected.csv); %d left out", len(rejected), len(left_out))


if __name__ == "__main__":
    run_stage(prepare_dataset, __doc__, section="datasets")
