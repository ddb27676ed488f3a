"""What shortcuts give away in the views of a data set, and what a split by image would."""

from collections.abc import Mapping, Sequence

from stages.evaluation.statistics.records import Estimate
from stages.reporting.documents import Audit, Headline
from stages.reporting.table import Cell, Table, difference_cell, estimate_cell
from stages.reporting.wording import (
    SIGNIFICANCE,
    difference_text,
    label,
    p_values_text,
    standing,
    with_interval,
)

SHORTCUT = "shortcut"  # the kind of probe that needs no lungs
GAP_METRICS = ("auroc", "balanced_accuracy")
PROBE_NOTES = {
    "file": "the file's size, shape, mode and format",
    "geometry": "where the picture lies in the view",
    "thumbnail": "a thumbnail of the whole view",
    "no_lungs": "the view where no image has lung",
    "border": "the same, of the frame alone",
    "marks": "small bright or dark things where no image has lung, wherever they lie",
    "lungs_only": "the view with all but the lungs hidden",
    "whole": "the whole view",
}


def build_probe_table(audits: Mapping[str, Audit], class_names: Sequence[str]) -> Table:
    """Every probe of every view: shortcuts first, then what they are to be held against."""
    return Table(
        "Shortcuts: how well a plain model, cross-validated by group, tells the label",
        [
            *("view", "seen by the probe", "kind", "AUROC", "balanced accuracy"),
            *(f"AUROC, {name} against the rest" for name in class_names),
        ],
        [row for view, audit in audits.items() for row in _probe_rows(view, audit, class_names)],
    )


def _probe_rows(view: str, audit: Audit, class_names: Sequence[str]) -> list[list[Cell]]:
    ordered = sorted(audit.probes.items(), key=lambda probe: probe[1].kind != SHORTCUT)
    return [
        [
            Cell(view),
            Cell(label(name), PROBE_NOTES.get(name, "")),
            Cell(found.kind, "the best shortcut" if name == audit.best_shortcut else ""),
            estimate_cell(found.auroc),
            estimate_cell(found.balanced_accuracy),
            *(_tested_cell(found.by_class[class_]) for class_ in class_names),
        ]
        for name, found in ordered
    ]


def _tested_cell(auroc: Estimate) -> Cell:
    """A figure over its interval and what the permutation test says of it."""
    if auroc.p_value is None:
        return estimate_cell(auroc)
    return estimate_cell(auroc).with_note(p_values_text(auroc.p_value, auroc.p_value_holm))


def build_gap_table(audits: Mapping[str, Audit]) -> Table:
    """What the same model scores when images, and when whole groups, are split at random."""
    sides = ("split by image", "split by group", "gap")
    return Table(
        "Leakage gap: the same model cross-validated with a random split by image and with the "
        "split by group",
        ["view", "model", *(f"{label(m)}, {side}" for m in GAP_METRICS for side in sides)],
        [_gap_row(view, audit) for view, audit in audits.items()],
    )


def _gap_row(view: str, audit: Audit) -> list[Cell]:
    row = [Cell(view), Cell(audit.gap_model, f"{audit.n} images, {audit.n_groups} groups")]
    for metric in GAP_METRICS:
        row += [estimate_cell(side.get(metric)) for side in (audit.by_image, audit.by_group)]
        row.append(difference_cell(audit.gap[metric]))
    return row


def describe_giveaway(view: str, positive: str, audit: Audit) -> str:
    """Which shortcuts tell the positive class from the rest in a view, by permutation tests.

    Only those with an adjusted p-value: the others can show the disease.
    """
    telling = {
        name: auroc
        for name, probe in audit.probes.items()
        if (auroc := probe.by_class[positive]).p_value_holm is not None
        and auroc.p_value_holm < SIGNIFICANCE
    }
    if not telling:
        return f"No shortcut is seen to tell {positive} from the rest in the view {view}."
    ranked = sorted(telling, key=lambda name: -(telling[name].value or 0))
    said = "; ".join(f"{label(name)} {_tested_text(telling[name])}" for name in ranked)
    return f"Shortcuts that tell {positive} from the rest in the view {view}, by AUROC: {said}."


def _tested_text(auroc: Estimate) -> str:
    assert auroc.p_value is not None  # it told something
    return f"{with_interval(auroc)}, {p_values_text(auroc.p_value, auroc.p_value_holm)}"


def describe_headline(case: str, found: Headline) -> str:
    """A case beside what can be told without looking at the disease."""
    shortcut, difference = label(found.shortcut), found.difference
    if not difference.has_interval:
        return f"{case} is not compared with its best shortcut, {shortcut}: no interval."
    return (
        f"The AUROC of {case} is {with_interval(found.auroc)} on {found.n} test images, that of "
        f"the best shortcut ({shortcut}) {with_interval(found.shortcut_auroc)}: a difference of "
        f"{difference_text(difference)}, {standing(difference, 'the case', 'the shortcut')}."
    )
