"""What is said of each case of a data set: test figures, runs, labels, confusions, the best."""

from collections.abc import Mapping, Sequence

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Estimate
from stages.reporting.coverage import Sample, find_coverage, sample_of, with_coverage
from stages.reporting.documents import CaseFigures, Confusions, Headline
from stages.reporting.drawing import draw_diagonal, draw_legend, line_style, panel_row, to_svg
from stages.reporting.results import CaseResults, DatasetResults
from stages.reporting.shortcuts import probe_label
from stages.reporting.table import (
    Cell,
    Table,
    case_cell,
    count_cell,
    difference_cell,
    estimate_cell,
    figure_cell,
)
from stages.reporting.wording import DISCUSSED, as_text, ends_text, label, with_interval

STRATUM_METRICS = ("balanced_accuracy", "auroc")
OCCLUDED = ("lungs_hidden", "lungs_only")
OTHER_METRICS = tuple(name for name in HEADLINE_METRICS if name != "auroc")
CHOSEN_BY = "balanced_accuracy"


def build_headline_table(dataset: DatasetResults) -> Table:
    """The test figures of every case, beside those of the best shortcuts of its view."""
    beside = [
        *OTHER_METRICS,
        *(f"{metric}_{part}" for part in OCCLUDED for metric in ("auroc", "balanced_accuracy")),
        *(f"{metric}_{stratum}" for stratum in dataset.strata for metric in STRATUM_METRICS),
    ]
    return Table(
        f"Test figures; positive class: {dataset.info.positive}",
        [
            *("case", "AUROC", "best shortcut's AUROC", "AUROC above the shortcut's"),
            *("most accurate probe's accuracy", "accuracy above the probe's"),
            *map(label, beside),
            *("accuracy on train", "accuracy on val", "test images", "of them without lungs found"),
            "settings",
        ],
        [_headline_row(case, beside) for case in dataset.cases],
    )


def _headline_row(case: CaseResults, beside: Sequence[str]) -> list[Cell]:
    figures, sample = case.figures, sample_of(case)

    def cell(name: str) -> Cell:
        found = figures.get(name)
        return with_coverage(estimate_cell(found), found, find_coverage(name, sample))

    return [
        case_cell(case),
        cell("auroc"),
        *_shortcut_cells(case.headline, sample),
        *map(cell, beside),
        figure_cell(figures.train_accuracy),
        figure_cell(figures.val_accuracy),
        count_cell(figures.n_test),
        # Left out of the figures with lungs hidden and with all but the lungs hidden.
        count_cell(case.report.n_without_lungs),
        _settings_cell(case),
    ]


def _shortcut_cells(headline: Headline | None, sample: Sample) -> list[Cell]:
    """The best shortcuts' AUROC and accuracy, and what the case has above them."""
    if headline is None:
        nothing = [figure_cell(None).with_note("optimistic: no headline"), figure_cell(None)]
        return [*nothing, *nothing]
    return [
        _floor_cell(headline.shortcut, headline.shortcut_auroc),
        with_coverage(
            difference_cell(headline.difference),
            headline.difference,
            find_coverage("auroc", sample, "difference"),
        ),
        _floor_cell(headline.most_accurate, headline.shortcut_accuracy),
        with_coverage(
            difference_cell(headline.accuracy_difference),
            headline.accuracy_difference,
            find_coverage("accuracy", sample, "difference"),
        ),
    ]


def _floor_cell(probe: str, figure: Estimate) -> Cell:
    """A probe's figure, with its name over the interval."""
    cell = estimate_cell(figure)
    return cell._replace(note=probe_label(probe)).with_note(cell.note)


def _settings_cell(case: CaseResults) -> Cell:
    """What the case is, in a line; and its runs, where there are several."""
    settings, protocol = case.settings, case.protocol
    runs = f"folds {protocol.folds}, seeds {len(protocol.seeds)}"
    averaged = ", averaged per image" if protocol.ensemble else ""
    mirrored = ", averaged with mirrors" if protocol.mirror else ""
    dealt = f"held out {protocol.held_out}, grouping {protocol.grouping}"
    return Cell(
        f"{settings.view}, {settings.model}, {settings.weights}, train {settings.train}, "
        f"{settings.loss.kind}, sampler {settings.sampler}{mirrored}",
        "" if protocol.is_one_run else runs + averaged,
    ).with_note(dealt if protocol.is_optimistic else "")


def build_run_tables(cases: Sequence[CaseResults]) -> list[Table]:
    """The test figures of each training, for the cases that have several."""
    return [_run_table(case) for case in cases if case.figures.n_runs > 1]


def _run_table(case: CaseResults) -> Table:
    spread = {"mean": case.figures.run_means, "standard deviation": case.figures.run_sds}
    runs = [
        [
            Cell(run.name),
            count_cell(run.n_test),
            *(estimate_cell(run.metrics.get(name)) for name in HEADLINE_METRICS),
        ]
        for run in case.report.runs
    ]
    summary = [
        [Cell(what), Cell(""), *(figure_cell(values[name]) for name in HEADLINE_METRICS)]
        for what, values in spread.items()
    ]
    return Table(
        f"{case.title}: the test figures of each run",
        ["run", "test images", *map(label, HEADLINE_METRICS)],
        runs + summary,
        is_sortable=False,  # mean and deviation stand below the runs
    )


def build_label_tables(dataset: DatasetResults) -> list[Table]:
    """Test figures of each label, where images of one class carry the labels of another too."""
    implies = dataset.info.implies
    if not implies:
        return []
    said = "; ".join(f"{name} is also {', '.join(others)}" for name, others in implies.items())
    rows = [
        [
            case_cell(case),
            Cell(name),
            count_cell(found.n_positive),
            *map(figure_cell, (found.sensitivity, found.specificity, found.auroc)),
        ]
        for case in dataset.cases
        for name, found in case.report.labels.items()
    ]
    caption = (
        "Labels on the test images; an image has that of its class and those that its class "
        f"implies ({said})"
    )
    columns = ["case", "label", "images with the label", "sensitivity", "specificity", "AUROC"]
    return [Table(caption, columns, rows)]


def build_confusion_table(whose: str, found: Confusions) -> Table:
    """Rows actual, columns predicted."""
    names = found.class_names
    rows = [
        [Cell(name), *map(count_cell, counts)]
        for name, counts in zip(names, found.confusion_matrix, strict=True)
    ]
    caption = f"{whose}: rows actual, columns predicted"
    return Table(caption, ["", *names], rows, is_sortable=False)


def draw_test_curves(dataset: DatasetResults) -> str:
    """ROC and precision-recall of the positive class on the test images, all cases together."""
    positive = dataset.info.positive
    figure, (roc, pr) = panel_row(len(dataset.cases))
    for number, case in enumerate(dataset.cases):
        curves = case.report.test.curves[positive]
        style = line_style(number)
        roc.plot(curves.fpr, curves.tpr, label=case.title, **style)
        pr.plot(curves.recall, curves.precision, label=case.title, **style)
    draw_diagonal(roc)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {positive}")
    pr.set(
        xlabel="recall", ylabel="precision", title=f"Precision-recall, {positive}", ylim=(0, 1.02)
    )
    draw_legend(pr)
    return to_svg(figure)


def describe_auroc(case: CaseResults) -> str:
    """A case's AUROC with its interval, in a line."""
    auroc = case.figures.get("auroc")
    return f"{case.title} {as_text(auroc.value)} ({ends_text(auroc) or 'no interval'})"


def describe_runs(case: str, figures: CaseFigures) -> list[str]:
    """Spread over the trainings of a case; nothing for a single one."""
    if figures.n_runs == 1:
        return []
    said = "; ".join(f"{label(metric)} {_spread(figures, metric)}" for metric in DISCUSSED)
    return [f"The models of {case}, one by one: {said}."]


def _spread(figures: CaseFigures, metric: str) -> str:
    mean, deviation = figures.run_means[metric], figures.run_sds[metric]
    if mean is None or deviation is None:
        return "is undefined in a run"
    return f"mean of {figures.n_runs} runs {mean:.3f}, standard deviation {deviation:.3f}"


def rank(figures: Mapping[str, CaseFigures]) -> list[str]:
    """The cases by the metric of choice, the best first, without those that have none."""
    chosen = {case: found.get(CHOSEN_BY).value for case, found in figures.items()}
    return sorted(
        (case for case, value in chosen.items() if value is not None),
        key=lambda case: -(chosen[case] or 0),
    )


def describe_best(figures: Mapping[str, CaseFigures]) -> list[str]:
    """The case ahead by the metric of choice, and which others cannot be told from it."""
    chosen = {case: found.get(CHOSEN_BY) for case, found in figures.items()}
    known = rank(figures)
    if not known:
        return [f"No case has a {label(CHOSEN_BY)}."]
    best = known[0]
    sentences = [
        f"The best {label(CHOSEN_BY)} is that of {best}: {with_interval(chosen[best])} on "
        f"{figures[best].n_test} test images."
    ]
    if len(known) == 1:
        return sentences
    others = {case: chosen[case] for case in figures if case in known[1:]}
    sentences.append(_rivals_sentence(chosen[best], others))
    if len({figures[case].n_test for case in known}) > 1:
        sentences.append("The cases are not all tested on the same images.")
    return [*sentences, "A best case picked by test figures looks better than it is."]


def find_at_chance(figures: Mapping[str, CaseFigures], n_classes: int) -> list[str]:
    """The cases whose interval by the metric of choice reaches down to chance."""
    return [
        name
        for name, found in figures.items()
        if (low := found.get(CHOSEN_BY).low) is not None and low <= 1 / n_classes
    ]


def describe_at_chance(figures: Mapping[str, CaseFigures], n_classes: int) -> list[str]:
    """The cases of which the test images do not show that they learned anything."""
    at_chance = find_at_chance(figures, n_classes)
    if not at_chance:
        return []
    return [
        f"Not shown to be better than chance by {label(CHOSEN_BY)}, as the interval reaches down "
        f"to it: {', '.join(at_chance)}."
    ]


def _rivals_sentence(best: Estimate, others: Mapping[str, Estimate]) -> str:
    """Cases with the same figure, and cases whose interval overlaps."""
    ties = [name for name, other in others.items() if as_text(other.value) == as_text(best.value)]
    near = [name for name in others if name not in ties and overlap(best, others[name])]
    said = [f"It ties with {', '.join(ties)}."] if ties else []
    if near:
        those = "those" if len(near) > 1 else "that"
        said.append(f"Its interval overlaps {those} of {', '.join(near)}.")
    return " ".join(said) or "Its interval overlaps that of no other case."


def overlap(a: Estimate, b: Estimate) -> bool:
    """Whether two intervals share a point; one that is undefined shares none."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high
