"""What a data set is: where it comes from, who is in it, what was left out."""

from collections.abc import Sequence

import pandas as pd

from stages.config.params import Dataset, DicomGrey, Grey, WindowGrey
from stages.config.text import visible
from stages.dataset.image_set import SPLITS, DatasetInfo
from stages.reporting.data_documents import Grouping, LabelledFile
from stages.reporting.metadata import build_metadata_table
from stages.reporting.results import DatasetResults
from stages.reporting.table import Cell, Table, count_cell, fact_table
from stages.reporting.truth import build_truth_files_table

PATIENTS_STAND_IN = {"table": "a table", "dicom": "DICOM headers"}
FILES_SHOWN = 4  # of a group that leaks, or of a label
GROUPS_SHOWN = 20


def build_data_card(dataset: DatasetResults) -> list[Table]:
    """Facts, counts, how a table fits, rejected and odd files, equal pictures, leaking groups."""
    facts = fact_table("Data card", list_facts(dataset.settings, dataset.info))
    tables = [facts, *build_count_tables(dataset)]
    if dataset.metadata.columns:
        labels, names = dataset.manifest["label"], dataset.info.class_names
        tables.append(build_metadata_table(dataset.metadata, labels, names))
    if dataset.reconciliation is not None:
        tables.append(_reconciliation_table(dataset.reconciliation))
    if dataset.truth_files is not None:
        tables.append(build_truth_files_table(dataset.truth_files))
    if dataset.grouping.notes:
        tables.append(_notes_table(dataset.grouping.notes))
    if len(dataset.rejected):
        caption = "Files rejected (all are listed in rejected.csv)"
        tables.append(_files_table(caption, dataset.rejected, "reason"))
    if len(dataset.suspicious):
        caption = "Pictures to be looked at, not changed (all are listed in suspicious.csv)"
        tables.append(_files_table(caption, dataset.suspicious, "what"))
    if dataset.grouping.two_labels:
        tables.append(_two_labels_table(dataset.grouping))
    if dataset.grouping.leaks:
        tables.append(_leaks_table(dataset.grouping))
    return tables


def build_count_tables(dataset: DatasetResults) -> list[Table]:
    """Images by class and split, and what groups them."""
    return [_counts_table(dataset), _grouping_table(dataset.settings, dataset.grouping)]


def list_facts(dataset: Dataset, info: DatasetInfo) -> dict[str, str]:
    """What a data set is, by what is told."""
    return {
        "source": info.source,
        "provenance": dataset.provenance,
        "licence": dataset.licence,
        "images": "drawn by the pipeline: phantoms, no patients" if info.is_phantom else "files",
        "modality": {"ct": "CT", "xray": "X-ray"}.get(info.modality, info.modality),
        "classes": ", ".join(info.class_names),
        "positive class": info.positive,
        "reference standard": describe_reference(dataset, info),
        "files": f"{info.n_files:,}",
        "rejected as unreadable": f"{info.n_rejected:,}",
        "to be looked at": describe_suspicious(info),
        "left out (all are listed in left_out.csv)": f"{info.n_left_out:,}",
        "ignored": ", ".join(dataset.ignore) or "none",
        "stored size": f"longest side {dataset.size_px} pixels, 8 bit grey",
        "black and white of deeper pictures": _describe_grey(dataset.grey),
    }


def describe_suspicious(info: DatasetInfo) -> str:
    """How many pictures are odd, and how."""
    return ", ".join(f"{count:,} {what}" for what, count in info.suspicious.items()) or "none"


def _describe_grey(grey: Grey) -> str:
    if isinstance(grey, WindowGrey):
        return f"values {grey.low:g} and {grey.high:g}"
    if isinstance(grey, DicomGrey):
        return (
            f"the window {grey.center:g}/{grey.width:g} of CT in Hounsfield units, what its DICOM "
            f"file names for another picture, else percentiles {grey.low:g} and {grey.high:g} of it"
        )
    return f"percentiles {grey.low:g} and {grey.high:g} of each"


def describe_reference(dataset: Dataset, info: DatasetInfo) -> str:
    """What the labels are taken from."""
    if dataset.table is not None and dataset.table.label is not None:
        return (
            f"the column {dataset.table.label} of {dataset.table.path}; how it was filled is for "
            "the source to say"
        )
    if info.is_phantom:
        return "the class that each image was drawn for"
    return "the class folder that a file stands in; how it came there is for the source to say"


def count_images(dataset: DatasetResults) -> pd.DataFrame:
    """Images by class (rows, those of the manifest) and split."""
    return pd.crosstab(dataset.manifest["label"], dataset.manifest["split"])


def _counts_table(dataset: DatasetResults) -> Table:
    """Images per class and split, and groups below."""
    images = count_images(dataset).reindex(
        index=dataset.info.class_names, columns=SPLITS, fill_value=0
    )
    groups = dataset.manifest.groupby("split")["group_id"].nunique().reindex(SPLITS, fill_value=0)
    rows = [[Cell(str(name)), *map(count_cell, counts)] for name, *counts in images.itertuples()]
    return Table(
        "Images per class and split",
        ["class", *SPLITS],
        [*rows, [Cell("groups"), *map(count_cell, groups)]],
        is_sortable=False,  # the groups stand below the classes
    )


def describe_size(dataset: DatasetResults) -> str:
    """How many images, groups and cases."""
    manifest = dataset.manifest
    return (
        f"{len(manifest):,} images, {manifest['group_id'].nunique():,} groups, "
        f"{len(dataset.cases)} cases"
    )


def describe_grouping(dataset: Dataset, grouping: Grouping) -> str:
    """What images of one group have in common."""
    known, images = grouping.n_images_of_known_patient, grouping.n_images
    pictures = "near-duplicates" if dataset.near_duplicates else "identical pictures"
    if not known:
        return f"{pictures} only: no patient is known"
    source = PATIENTS_STAND_IN.get(dataset.group.kind, "the file name or the source")
    share = "" if known == images else f", known of {known:,} of {images:,} images"
    return f"patient (from {source}{share}), and {pictures}"


def _grouping_table(dataset: Dataset, grouping: Grouping) -> Table:
    facts = {
        "images of one group share": describe_grouping(dataset, grouping),
        "groups": f"{grouping.n_groups:,}",
        "images in the largest group": f"{grouping.largest_group:,}",
        "patients known": f"{grouping.n_patients:,}",
        "images of unknown patients": f"{grouping.n_images - grouping.n_images_of_known_patient:,}",
        "patients of two classes": f"{grouping.n_patients_of_two_classes:,}"
        + (" (patients_of_two_classes.csv)" if grouping.n_patients_of_two_classes else ""),
        "pairs of identical files": f"{grouping.n_same_files:,}",
        "pairs of identical pictures in other files": f"{grouping.n_same_pictures:,}",
        "pairs of near-duplicates": f"{grouping.n_near_duplicates:,}"
        if dataset.near_duplicates
        else "not looked for",
        "clusters of such pictures": f"{grouping.n_clusters:,}, "
        f"{grouping.n_images_in_clusters:,} images in all",
        "clusters with two labels": f"{grouping.clusters_with_two_labels:,}",
    }
    return fact_table("Groups and near-duplicates", facts)


def _reconciliation_table(reconciliation: pd.DataFrame) -> Table:
    """How rows of the table and files matched, each rule counted."""
    named, file = reconciliation["named"], reconciliation["file"]
    lines = reconciliation.assign(shown=named.mask(named == "", file))
    found = lines.groupby("how")["shown"].agg(["size", "first"])
    found = found.sort_values("size", ascending=False, kind="stable")
    return Table(
        "The table's rows and the files (all are listed in reconciliation.csv)",
        ["matched by, or why not", "rows or files", "the first"],
        [
            [Cell(str(how)), count_cell(count), Cell(first)]
            for how, count, first in found.itertuples()
        ],
    )


def _notes_table(notes: Sequence[str]) -> Table:
    facts = {str(number): note for number, note in enumerate(notes, start=1)}
    return fact_table("To note of the table and the patients", facts)


def _files_table(caption: str, files: pd.DataFrame, column: str) -> Table:
    """Files counted by what `column` says of them."""
    kinds = files.groupby(column)["file"].agg(["size", "first"]).sort_index()
    return Table(
        caption,
        [column, "files", "the first"],
        [
            [Cell(str(kind)), count_cell(count), Cell(visible(first))]
            for kind, count, first in kinds.itertuples()
        ],
    )


def _two_labels_table(grouping: Grouping) -> Table:
    """Pictures of which one label must be wrong, by name; the rest of many is counted."""
    found = grouping.two_labels
    rows = [
        [
            Cell(str(number)),
            Cell(", ".join(dict.fromkeys(image.label for image in images))),
            count_cell(len(images)),
            Cell(_name_labelled(images)),
        ]
        for number, images in enumerate(found[:GROUPS_SHOWN], start=1)
    ]
    return Table(
        f"{len(found)} pictures that are the same, or nearly so, under two labels"
        + (f"; the first {GROUPS_SHOWN}" if len(found) > GROUPS_SHOWN else "")
        + " (all are listed in grouping.json)",
        ["picture", "labels", "files", "the first files of each label"],
        rows,
    )


def _name_labelled(images: Sequence[LabelledFile]) -> str:
    """The first files of each label, so that every label is seen."""
    by_label: dict[str, list[str]] = {}
    for image in images:
        by_label.setdefault(image.label, []).append(visible(image.file))
    return "; ".join(
        f"{label}: {', '.join(files[:FILES_SHOWN])}" for label, files in by_label.items()
    )


def _leaks_table(grouping: Grouping) -> Table:
    """Groups in two of the splits that came with the data; the rest of many is counted."""
    leaks = grouping.leaks
    rows = [
        [
            Cell(group),
            Cell(", ".join(leak.splits)),
            count_cell(len(leak.files)),
            Cell(", ".join(visible(file) for file in leak.files[:FILES_SHOWN])),
        ]
        for group, leak in list(leaks.items())[:GROUPS_SHOWN]
    ]
    return Table(
        f"† {len(leaks)} groups in more than one split, let through by allow_leakage"
        + (f"; the first {GROUPS_SHOWN}" if len(leaks) > GROUPS_SHOWN else "")
        + " (all files are listed in leaks.csv)",
        ["group", "splits", "files", "the first files"],
        rows,
    )
