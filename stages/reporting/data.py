"""What a data set is: where it comes from, who is in it, what was left out."""

from typing import Any

import pandas as pd

from stages.config.params import Dataset, TableGroup
from stages.dataset.image_set import SPLITS, DatasetInfo
from stages.reporting.html_table import Cell, Table, count_cell, text_cell
from stages.reporting.results import DatasetResults, Results

Json = dict[str, Any]

FILES_SHOWN = 4  # of a group that leaks
GROUPS_SHOWN = 20


def build_data_card(results: Results, dataset: str) -> list[Table]:
    """Facts, counts, rejected files, pictures that are the same, and groups that leak."""
    found, grouping = results.datasets[dataset], results.groupings[dataset]
    tables = [
        _facts_table(results.params.dataset(dataset), found),
        _counts_table(found),
        _grouping_table(results.params.dataset(dataset), grouping),
    ]
    if len(found.rejected):
        tables.append(_rejected_table(found.rejected))
    if grouping["leaks"]:
        tables.append(_leaks_table(grouping["leaks"]))
    return tables


def _facts_table(dataset: Dataset, found: DatasetResults) -> Table:
    info = found.info
    facts = {
        "source": info.source,
        "provenance": dataset.provenance,
        "licence": dataset.licence,
        "images": "drawn by the pipeline: phantoms, no patients" if info.is_phantom else "files",
        "modality": {"ct": "CT", "xray": "X-ray"}.get(info.modality, info.modality),
        "classes": ", ".join(info.class_names),
        "positive class": info.positive,
        "reference standard": describe_reference(info),
        "files": f"{info.n_files:,}",
        "rejected as unreadable": f"{info.n_rejected:,}",
        "left out, as no images or of no class": f"{info.n_left_out:,}",
        "folders ignored": ", ".join(dataset.ignore) or "none",
        "stored size": f"longest side {dataset.size} pixels, 8 bit grey",
    }
    return Table("Data card", [], _pairs(facts), is_sortable=False)


def describe_reference(info: DatasetInfo) -> str:
    """What the labels are taken from."""
    if info.is_phantom:
        return "the class that each image was drawn for"
    return "the class folder that a file stands in; how it came there is for the source to say"


def _counts_table(found: DatasetResults) -> Table:
    """Images per class and split, and groups below."""
    manifest = found.manifest
    images = pd.crosstab(manifest["label"], manifest["split"])
    groups = manifest.groupby("split")["group_id"].nunique()
    rows = [
        [text_cell(name), *(count_cell(_count(images, split, name)) for split in SPLITS)]
        for name in found.info.class_names
    ]
    total = [count_cell(int(groups.get(split, 0))) for split in SPLITS]
    return Table(
        "Images per class and split",
        ["class", *SPLITS],
        [*rows, [Cell("groups"), *total]],
        is_sortable=False,  # the groups stand below the classes
    )


def _count(images: pd.DataFrame, split: str, label: str) -> int:
    return int(images[split][label]) if split in images and label in images.index else 0


def describe_grouping(dataset: Dataset, grouping: Json) -> str:
    """What images of one group have in common."""
    known, images = grouping["n_images_of_known_patient"], grouping["n_images"]
    pictures = "near-duplicates" if dataset.near_duplicates else "identical pictures"
    if not known:
        return f"{pictures} only: no patient is known"
    source = "a table" if isinstance(dataset.group, TableGroup) else "the file name or the source"
    share = "" if known == images else f", known of {known:,} of {images:,} images"
    return f"patient (from {source}{share}), and {pictures}"


def _grouping_table(dataset: Dataset, grouping: Json) -> Table:
    pairs = grouping["pairs"]
    facts = {
        "images of one group share": describe_grouping(dataset, grouping),
        "groups": f"{grouping['n_groups']:,}",
        "images in the largest group": f"{grouping['largest_group']:,}",
        "patients known": f"{grouping['n_patients']:,}",
        "pairs of identical files": f"{pairs['bytes']:,}",
        "pairs of identical pictures in other files": f"{pairs['pixels']:,}",
        "pairs of near-duplicates": f"{pairs['near']:,}"
        if dataset.near_duplicates
        else "not looked for",
        "clusters of such pictures": f"{grouping['n_clusters']:,}, "
        f"{grouping['n_images_in_clusters']:,} images in all",
        "clusters with two labels": f"{grouping['clusters_with_two_labels']:,}",
    }
    return Table("Groups and near-duplicates", [], _pairs(facts), is_sortable=False)


def _rejected_table(rejected: pd.DataFrame) -> Table:
    reasons = rejected.groupby("reason")["file"].agg(["size", "first"]).sort_index()
    return Table(
        "Files rejected (all are listed in rejected.csv)",
        ["reason", "files", "the first"],
        [
            [text_cell(reason), count_cell(int(row["size"])), text_cell(row["first"])]
            for reason, row in reasons.iterrows()
        ],
    )


def _leaks_table(leaks: Json) -> Table:
    """Groups in two of the splits that came with the data; the rest of many is counted."""
    rows = [
        [
            text_cell(group),
            text_cell(", ".join(leak["splits"])),
            count_cell(len(leak["files"])),
            text_cell(", ".join(leak["files"][:FILES_SHOWN])),
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


def _pairs(facts: dict[str, str]) -> list[list[Cell]]:
    return [[text_cell(name), text_cell(value)] for name, value in facts.items()]
