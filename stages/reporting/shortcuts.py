"""What shortcuts give away in the views of a data set, and what a split by image would."""

from collections.abc import Sequence
from typing import Any

from stages.reporting.html_table import Cell, Table, interval_cell, label, text_cell
from stages.reporting.results import Results

Json = dict[str, Any]

GAP_METRICS = ("auroc", "balanced_accuracy")
PROBE_NOTES = {
    "file": "the file's size, shape, mode and format",
    "geometry": "where the picture lies in the view",
    "thumbnail": "a thumbnail of the whole view",
    "no_lungs": "the view with the lungs hidden",
    "border": "the frame of the view alone",
    "lungs_only": "the view with all but the lungs hidden",
    "whole": "the whole view",
}


def views_of(results: Results, dataset: str) -> list[str]:
    """Views of one data set, in the order of params.yaml."""
    return [name for name, view in results.params.views.items() if view.dataset == dataset]


def build_probe_table(results: Results, dataset: str) -> Table:
    """Every probe of every view: shortcuts first, then what they are to be held against."""
    class_names = results.datasets[dataset].info.class_names
    return Table(
        "Shortcuts: how well a plain model, cross-validated by group, tells the label",
        [
            *("view", "seen by the probe", "kind", "AUROC", "balanced accuracy"),
            *(f"AUROC, {name} against the rest" for name in class_names),
        ],
        [
            row
            for view in views_of(results, dataset)
            for row in _probe_rows(view, results.audits[view], class_names)
        ],
    )


def _probe_rows(view: str, audit: Json, class_names: Sequence[str]) -> list[list[Cell]]:
    probes = audit["probes"].items()
    return [
        [
            text_cell(view),
            Cell(label(name), PROBE_NOTES.get(name, "")),
            Cell(found["kind"], "the best shortcut" if name == audit["best_shortcut"] else ""),
            interval_cell(found, "auroc"),
            interval_cell(found, "balanced_accuracy"),
            *(interval_cell(found["by_class"][label_], "auroc") for label_ in class_names),
        ]
        for name, found in sorted(probes, key=lambda probe: probe[1]["kind"] != "shortcut")
    ]


def build_gap_table(results: Results, dataset: str) -> Table:
    """What the same model scores when images, and when whole groups, are split at random."""
    return Table(
        "Leakage gap: the same model cross-validated with a random split by image and with the "
        "split by group",
        [
            *("view", "model"),
            *(
                f"{label(metric)}, {what}"
                for metric in GAP_METRICS
                for what in ("split by image", "split by group", "gap")
            ),
        ],
        [_gap_row(view, results.audits[view]) for view in views_of(results, dataset)],
    )


def _gap_row(view: str, audit: Json) -> list[Cell]:
    gap = audit["leakage_gap"]
    return [
        text_cell(view),
        Cell(gap["model"], f"{audit['n']} images, {audit['n_groups']} groups"),
        *(
            cell
            for metric in GAP_METRICS
            for cell in (
                interval_cell(gap["random"], metric),
                interval_cell(gap["grouped"], metric),
                interval_cell(
                    gap["difference"][metric], "difference", ("low", "high"), is_signed=True
                ),
            )
        ),
    ]
