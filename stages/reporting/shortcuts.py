"""What shortcuts give away in the views of a data set, and what a split by image would."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from stages.evaluation.statistics.records import Estimate
from stages.reporting.data_documents import Audit
from stages.reporting.documents import Headline
from stages.reporting.table import Cell, Table, difference_cell, estimate_cell
from stages.reporting.wording import (
    SIGNIFICANCE,
    difference_text,
    label,
    p_values_text,
    standing,
    with_interval,
)

KINDS = ("shortcut", "baseline", "reference")  # the first needs no lungs, the second nothing
SHORTCUT = KINDS[0]
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
    "metadata": "all columns of the metadata, no pixel",
    "file + metadata": "the file and all columns of the metadata, no pixel",
    "majority": "nothing: the commonest class",
}
COLUMN = "metadata."  # before the name of a probe that sees one column


def build_probe_table(audits: Mapping[str, Audit], class_names: Sequence[str]) -> Table:
    """Every probe of every view: shortcuts first, then what they are to be held against.

    Of two classes, either against the rest and the pair of them are the same.
    """
    pairs = [" v ".join(pair) for pair in combinations(class_names, 2)]
    pairs = pairs if len(class_names) > 2 else []
    return Table(
        "Shortcuts: how well a plain model, cross-validated by group over the whole view, tells "
        "the label",
        [
            *("view", "seen by the probe", "kind", "AUROC", "accuracy, all classes at once"),
            "balanced accuracy",
            *(f"AUROC, {name} against the rest" for name in class_names),
            *(f"AUROC, {pair}" for pair in pairs),
        ],
        [
            row
            for view, audit in audits.items()
            for row in _probe_rows(view, audit, class_names, pairs)
        ],
    )


def _probe_rows(
    view: str, audit: Audit, class_names: Sequence[str], pairs: Sequence[str]
) -> list[list[Cell]]:
    ordered = sorted(audit.probes.items(), key=lambda probe: KINDS.index(probe[1].kind))
    return [
        [
            Cell(view),
            Cell(probe_label(name), describe_probe(name)),
            Cell(found.kind, _distinction(name, audit)),
            *map(estimate_cell, (found.auroc, found.accuracy, found.balanced_accuracy)),
            *(_tested_cell(found.by_class[class_]) for class_ in class_names),
            *(estimate_cell(found.by_pair[pair]) for pair in pairs),
        ]
        for name, found in ordered
    ]


def probe_label(name: str) -> str:
    """A probe in words; the name of a column stays as it is."""
    if name.startswith(COLUMN):
        return f"metadata: {name.removeprefix(COLUMN)}"
    return label(name)


def describe_probe(name: str) -> str:
    """What a probe sees."""
    if name.startswith(COLUMN):
        return f"the column {name.removeprefix(COLUMN)} of the metadata alone"
    return PROBE_NOTES.get(name, "")


def _distinction(name: str, audit: Audit) -> str:
    """By what it is the best of a view, if it is."""
    best = {"AUROC": audit.best_shortcut, "accuracy": audit.most_accurate}
    by = [figure for figure, probe in best.items() if probe == name]
    return f"the best by {' and '.join(by)}" if by else ""


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


def find_giveaways(positive: str, audit: Audit) -> dict[str, Estimate]:
    """The shortcuts that tell the positive class from the rest, by permutation tests: AUROCs.

    Only those with an adjusted p-value: the others can show the disease.
    """
    return {
        name: auroc
        for name, probe in audit.probes.items()
        if (auroc := probe.by_class[positive]).p_value_holm is not None
        and auroc.p_value_holm < SIGNIFICANCE
    }


def describe_giveaway(view: str, positive: str, audit: Audit) -> str:
    """Which shortcuts tell the positive class from the rest in a view."""
    telling = find_giveaways(positive, audit)
    if not telling:
        return f"No shortcut is seen to tell {positive} from the rest in the view {view}."
    ranked = sorted(telling, key=lambda name: -(telling[name].value or 0))
    said = "; ".join(f"{probe_label(name)} {_tested_text(telling[name])}" for name in ranked)
    return f"Shortcuts that tell {positive} from the rest in the view {view}, by AUROC: {said}."


def _tested_text(auroc: Estimate) -> str:
    assert auroc.p_value is not None  # it told something
    return f"{with_interval(auroc)}, {p_values_text(auroc.p_value, auroc.p_value_holm)}"


def describe_headline(case: str, found: Headline) -> list[str]:
    """A case beside what can be told without looking at the disease, by AUROC and by accuracy."""
    return [_describe_auroc(case, found), *_describe_accuracy(case, found)]


def _describe_auroc(case: str, found: Headline) -> str:
    shortcut, difference = probe_label(found.shortcut), found.difference
    if not difference.has_interval:
        return f"{case} is not compared with its best shortcut, {shortcut}: no interval."
    return (
        f"The AUROC of {case} is {with_interval(found.auroc)} on {found.n} test images, that of "
        f"the best shortcut ({shortcut}) {with_interval(found.shortcut_auroc)}: a difference of "
        f"{difference_text(difference)}, {standing(difference, 'the case', 'the shortcut')}."
    )


def _describe_accuracy(case: str, found: Headline) -> list[str]:
    difference = found.accuracy_difference
    if not difference.has_interval:
        return []
    return [
        f"The accuracy of {case} is {with_interval(found.accuracy)}, that of the probe that is "
        f"right most often ({probe_label(found.most_accurate)}) "
        f"{with_interval(found.shortcut_accuracy)}: a difference of {difference_text(difference)}, "
        f"{standing(difference, 'the case', 'the probe')}."
    ]
