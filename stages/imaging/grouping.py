"""Which images belong together: those of one patient, and those that show the same picture.

duplicates.csv  pairs of images that show the same picture, columns DUPLICATE_COLUMNS
grouping.json   what was found, counted, and the groups that stand in two splits
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.imaging.duplicates import DuplicatePair, Fingerprint, Kind, find_duplicates
from stages.dataset.split import find_leaks, join_groups

KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order in which they are looked for
DUPLICATE_COLUMNS = ("image_id", "other_id", "kind", "change", "distance")


class Grouping(NamedTuple):
    """Groups of N images.

    Attributes:
        group_ids: (N,) images of one patient or of one cluster share theirs.
        pairs: images that show the same picture.
        clusters: (N,) name of the cluster of such images, None for an image on its own.
        leaks: group in more than one of the splits that came with the data, to these splits.
    """

    group_ids: list[str]
    pairs: list[DuplicatePair]
    clusters: list[str | None]
    leaks: dict[str, list[str]]


def group_images(
    manifest: pd.DataFrame, fingerprints: Sequence[Fingerprint], *, near_duplicates: bool
) -> Grouping:
    """Join images by patient and by picture.

    Args:
        manifest: (N,) rows with sha256, pixel_hash, patient_id and given_split, the last two None
            where unknown.
        fingerprints: of the N pictures.
        near_duplicates: whether pictures that are alike count; equal bytes or pixels always do.
    """
    pairs = find_duplicates(
        manifest["sha256"].tolist(), manifest["pixel_hash"].tolist(), fingerprints
    )
    if not near_duplicates:
        pairs = [pair for pair in pairs if pair.kind != "near"]
    clusters = _clusters(pairs, len(manifest))
    groups = join_groups(known(manifest["patient_id"]), clusters)
    return Grouping(groups, pairs, clusters, find_leaks(groups, known(manifest["given_split"])))


def known(column: pd.Series) -> list[str | None]:
    """Text or None; pandas turns a None among texts into NaN, which would be one big group."""
    return [None if pd.isna(value) else str(value) for value in column]


def _clusters(pairs: Sequence[DuplicatePair], n: int) -> list[str | None]:
    """(n,) name of the cluster that the pairs chain each image into."""
    firsts, seconds = ([pair[end] for pair in pairs] for end in (0, 1))
    links = coo_array((np.ones(len(pairs), bool), (firsts, seconds)), shape=(n, n))
    _, numbers = connected_components(links, directed=False)
    alone = np.bincount(numbers)[numbers] == 1
    return [None if lone else f"c{number}" for lone, number in zip(alone, numbers, strict=True)]


def save_grouping(folder: Path, manifest: pd.DataFrame, grouping: Grouping) -> None:
    """Write duplicates.csv and grouping.json; the manifest has image_id and source_path."""
    ids = manifest["image_id"].tolist()
    rows = [
        (ids[pair.first], ids[pair.second], pair.kind, pair.change, round(pair.distance, 4))
        for pair in grouping.pairs
    ]
    table = pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))
    table.to_csv(folder / "duplicates.csv", index=False)
    text = json.dumps(_describe(manifest, grouping), indent=2) + "\n"
    (folder / "grouping.json").write_text(text, encoding="utf-8")


def _describe(manifest: pd.DataFrame, grouping: Grouping) -> dict[str, Any]:
    patients = manifest["patient_id"].dropna()
    clusters = pd.Series(grouping.clusters, index=manifest.index, dtype=object).dropna()
    labels = manifest["label"].loc[clusters.index].groupby(clusters).nunique()
    kinds = Counter(pair.kind for pair in grouping.pairs)
    return {
        "n_images": len(manifest),
        "n_patients": int(patients.nunique()),
        "n_images_of_known_patient": len(patients),
        "n_groups": len(set(grouping.group_ids)),
        "largest_group": int(pd.Series(grouping.group_ids).value_counts().max()),
        "pairs": {kind: kinds[kind] for kind in KINDS},
        "n_clusters": int(clusters.nunique()),
        "n_images_in_clusters": len(clusters),
        "clusters_with_two_labels": int((labels > 1).sum()),
        "leaks": {
            group: {"splits": splits, "files": files_of(group, manifest, grouping)}
            for group, splits in grouping.leaks.items()
        },
    }


def files_of(group: str, manifest: pd.DataFrame, grouping: Grouping) -> list[str]:
    """The files of one group, in manifest order."""
    files: list[str] = manifest["source_path"][[g == group for g in grouping.group_ids]].tolist()
    return files


def save_leaks(folder: Path, manifest: pd.DataFrame, leaks: Mapping[str, Any]) -> None:
    """Write leaks.csv, a row per file of a group that stands in two of the given splits."""
    rows = manifest[manifest["group_id"].isin(list(leaks))]
    columns = ["group_id", "given_split", "label", "patient_id", "source_path"]
    rows.sort_values(["group_id", "given_split"])[columns].to_csv(folder / "leaks.csv", index=False)
