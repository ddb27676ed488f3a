"""Which images belong together: those of one patient, and those that show the same picture.

duplicates.csv  pairs of images that show the same picture, columns DUPLICATE_COLUMNS
grouping.json   what was found, counted, and the groups that stand in two splits or folds
patients_of_two_classes.csv  images of patients who have images of more than one class
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.config.writing import write_csv, write_json
from stages.imaging.duplicates import DuplicatePair, Kind, find_duplicates, name_pictures

DUPLICATES, GROUPING, LEAKS = "duplicates.csv", "grouping.json", "leaks.csv"
TWO_CLASSES = "patients_of_two_classes.csv"

KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order in which they are looked for
DUPLICATE_COLUMNS = ("image_id", "other_id", "kind", "change", "distance")

Link = tuple[int, int]  # of two images, by their numbers


class Grouping(NamedTuple):
    """Groups of N images.

    Attributes:
        group_ids: (N,) images of one patient or of one cluster share theirs.
        pairs: images that show the same picture.
        clusters: (N,) number of the first image of the cluster that the pairs chain an image into;
            of an image on its own, its own number.
        leaks: group in more than one of the splits that came with the data, or of the folds, to
            these splits and folds.
    """

    group_ids: list[str]
    pairs: list[DuplicatePair]
    clusters: NDArray[np.int64]
    leaks: dict[str, list[str]]


def group_images(
    manifest: pd.DataFrame,
    fingerprints: NDArray[np.void],
    *,
    near_duplicates: bool,
    scratch: Path,
) -> Grouping:
    """Join images by patient, by volume and by picture.

    Args:
        manifest: (N,) rows with source_path, sha256, pixel_hash, patient_id, volume, given_split
            and given_fold, the last four None where unknown.
        fingerprints: of the N pictures.
        near_duplicates: whether pictures that are alike count; equal bytes or pixels always do.
        scratch: folder for what the search needs; the caller's to remove.
    """
    pairs = find_duplicates(
        name_pictures(manifest),
        manifest["pixel_hash"].tolist(),
        fingerprints,
        near=near_duplicates,
        scratch=scratch,
    )
    links = [(pair.first, pair.second) for pair in pairs]
    slices = link_equals(known(manifest["volume"]))
    groups = join_groups(known(manifest["patient_id"]), [*links, *slices])
    leaks = find_leaks(groups, known(manifest["given_split"]))
    folds = [fold and f"fold {fold}" for fold in known(manifest["given_fold"])]
    for group, cut in find_leaks(groups, folds).items():
        leaks[group] = [*leaks.get(group, []), *cut]
    return Grouping(groups, pairs, join_images(len(manifest), links), leaks)


def known(column: pd.Series) -> list[str | None]:
    """Text or None; pandas turns a None among texts into NaN, which would be one big group."""
    return [None if pd.isna(value) else str(value) for value in column]


def join_groups(patients: Sequence[str | None], links: Sequence[Link]) -> list[str]:
    """Group ids such that images of one patient, and images that are linked, share a group.

    Args:
        patients: (N,) who is shown; None is nobody's.
        links: pairs of images that belong together for another reason.

    Returns:
        (N,) the number of the first image of each image's group, so that ids do not depend on the
        spelling of the patients.
    """
    of_patient = link_equals(patients)
    return [f"g{number:06d}" for number in join_images(len(patients), [*links, *of_patient])]


def link_equals(names: Sequence[str | None]) -> list[Link]:
    """Pairs of images of one name: the first of that name and each of them; None is no name."""
    first: dict[str, int] = {}
    return [
        (first.setdefault(name, image), image)
        for image, name in enumerate(names)
        if name is not None
    ]


def join_images(count: int, links: Iterable[Link]) -> NDArray[np.int64]:
    """(count,) number of the first of all images that links lead to from each, itself included."""
    ends = np.array([*links], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), tuple(ends.T)), shape=(count, count))
    _, components = connected_components(graph, directed=False)
    _, first = np.unique(components, return_index=True)
    return first.astype(np.int64)[components]


def find_leaks(group_ids: Sequence[str], splits: Sequence[str | None]) -> dict[str, list[str]]:
    """Groups that stand in more than one of the given splits: group id -> its splits."""
    table = pd.DataFrame({"group": group_ids, "split": splits}).dropna()
    per_group = table.groupby("group")["split"].unique()
    return {str(g): sorted(found) for g, found in per_group.items() if len(found) > 1}


def find_patients_of_two_classes(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows of patients who have images of more than one class, patient by patient."""
    classes = manifest.groupby("patient_id")["label"].transform("nunique")
    return manifest[classes > 1].sort_values(["patient_id", "label"], kind="stable")


def find_clusters_of_two_labels(
    manifest: pd.DataFrame, clusters: NDArray[np.int64]
) -> list[list[dict[str, str]]]:
    """The pictures that stand under more than one label: file and label of each of their images.

    Args:
        manifest: (N,) rows with label and source_path.
        clusters: (N,) as in `Grouping`.
    """
    has_two = manifest["label"].groupby(clusters).transform("nunique") > 1
    return [
        [
            {"file": file, "label": label}
            for file, label in zip(found["source_path"], found["label"], strict=True)
        ]
        for _, found in manifest[has_two].groupby(clusters[has_two])
    ]


def save_grouping(
    folder: Path, manifest: pd.DataFrame, grouping: Grouping, notes: Sequence[str]
) -> None:
    """Write duplicates.csv and grouping.json; the manifest has image_id and source_path.

    Args:
        folder: of the prepared set.
        manifest: (N,) rows.
        grouping: of these.
        notes: what the source's table and its patients gave to say.
    """
    ids = manifest["image_id"].tolist()
    rows = [
        (ids[pair.first], ids[pair.second], pair.kind, pair.change, round(pair.distance, 4))
        for pair in grouping.pairs
    ]
    write_csv(folder / DUPLICATES, pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS)))
    write_json(folder / GROUPING, {**_describe(manifest, grouping), "notes": list(notes)})


def save_patients_of_two_classes(folder: Path, found: pd.DataFrame) -> None:
    """Write patients_of_two_classes.csv, a row per image."""
    write_csv(folder / TWO_CLASSES, found[["patient_id", "label", "image_id", "source_path"]])


def _describe(manifest: pd.DataFrame, grouping: Grouping) -> dict[str, Any]:
    patients = manifest["patient_id"].dropna()
    clusters = manifest["label"].groupby(grouping.clusters).agg(["size", "nunique"])
    clusters = clusters[clusters["size"] > 1]
    kinds = Counter(pair.kind for pair in grouping.pairs)
    two_labels = find_clusters_of_two_labels(manifest, grouping.clusters)
    return {
        "n_images": len(manifest),
        "n_patients": int(patients.nunique()),
        "n_images_of_known_patient": len(patients),
        "n_patients_of_two_classes": int(
            find_patients_of_two_classes(manifest)["patient_id"].nunique()
        ),
        "n_groups": len(set(grouping.group_ids)),
        "largest_group": int(pd.Series(grouping.group_ids).value_counts().max()),
        "pairs": {kind: kinds[kind] for kind in KINDS},
        "n_clusters": len(clusters),
        "n_images_in_clusters": int(clusters["size"].sum()),
        "clusters_with_two_labels": len(two_labels),
        "two_labels": two_labels,
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
    columns = ["group_id", "given_split", "given_fold", "label", "patient_id", "source_path"]
    write_csv(folder / LEAKS, rows.sort_values(["group_id", "given_split"])[columns])
