"""The sections of a model card, each figure read from the files of the run."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import of_class
from stages.reporting.answers import ANSWERS
from stages.reporting.cases import (
    OCCLUDED,
    build_confusion_table,
    build_label_tables,
    build_run_tables,
    describe_runs,
)
from stages.reporting.coverage import describe_coverage, find_coverage, sample_of, with_coverage
from stages.reporting.data import build_count_tables, list_facts
from stages.reporting.external import describe_external
from stages.reporting.markdown import MarkdownSection
from stages.reporting.probabilities import build_calibration_table, build_operating_table
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.scope import describe_limitations
from stages.reporting.shortcuts import build_probe_table, describe_giveaway, describe_headline
from stages.reporting.subgroups import build_subgroup_table, describe_gaps
from stages.reporting.table import Cell, Table, count_cell, estimate_cell, fact_table
from stages.reporting.training import list_settings, start_text
from stages.reporting.wording import as_text, ends_text, label, setting

NO_DEVICE = (
    "Not a medical device: not to be used for a diagnosis, for triage, or for any decision on a "
    "person. No regulator has seen it, and no figure here is a clinical result."
)
MODALITIES = {"ct": "axial CT slices of the chest", "xray": "frontal X-rays of the chest"}
# Of the data card, what names folders of the machine that the case was trained on.
OF_THE_MACHINE = ("source", "ignored")
OF_CLASSES = ("recall", "f1")
OTHER_FIGURES = ("precision", "log_loss", "brier")


class Technical(NamedTuple):
    """What is known of the exported files by who wrote them.

    Attributes:
        files: what they are.
        inputs: what goes in.
        outputs: what comes out.
        checks: what was tried with them, and how it ended.
        code: Python that runs the model.
    """

    files: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    checks: Sequence[str]
    code: str


def build_sections(
    results: Results, case: CaseResults, dataset: DatasetResults, technical: Technical
) -> list[MarkdownSection]:
    """All sections of a card, in the order of the paper, the code first.

    Args:
        results: of the case alone.
        case: what is given away.
        dataset: that it was trained on.
        technical: what is known of its files.
    """
    return [
        _model_details(results, case, dataset, technical),
        MarkdownSection("How to run it", code=technical.code),
        _intended_use(results, dataset),
        _factors(case, dataset),
        _measures(results),
        _evaluation_data(results, case),
        _training_data(case, dataset),
        _figures(results, case, dataset),
        _shortcuts(case, dataset),
        _elsewhere(results, dataset),
        _ethics(results, dataset),
        _limits(results, case),
    ]


def _model_details(
    results: Results, case: CaseResults, dataset: DatasetResults, technical: Technical
) -> MarkdownSection:
    training = case.training
    settings = {
        label(key): setting(value)
        for key, value in list_settings(case).items()
        if key not in ("model", "weights", "train", "head")
    }
    return MarkdownSection(
        "Model details",
        [
            describe_task(dataset),
            f"Network {case.settings.model}, hidden layers of the head "
            f"{setting(list(case.settings.head))}, one grey channel; trained: "
            f"{case.settings.train} ({training.n_trained:,} parameters, {training.n_frozen:,} "
            "frozen).",
            f"Initial weights: {training.started_from} ({start_text(training)}).",
            f"Trained on {training.device} in {training.precision}; epoch {training.kept_epoch} "
            f"(from 0) kept of {training.epochs_run}"
            + (" in the first run." if case.figures.n_runs > 1 else "."),
            *ANSWERS["software"](results),
            *technical.files,
            *technical.inputs,
            *technical.outputs,
            *technical.checks,
        ],
        [fact_table("Settings", settings)],
    )


def describe_task(dataset: DatasetResults) -> str:
    """What is told from what, on what."""
    info = dataset.info
    return (
        f"Tells {', '.join(info.class_names)} on "
        f"{MODALITIES.get(info.modality, info.modality)}; positive class: {info.positive}."
    )


def _intended_use(results: Results, dataset: DatasetResults) -> MarkdownSection:
    study, modality = results.params.study, dataset.info.modality
    said = study.intended_use or "nobody has said it (study.intended_use of params.yaml)"
    return MarkdownSection(
        "Intended use",
        [
            f"Intended use, in the authors' words: {said}.",
            f"Out of scope: {NO_DEVICE}",
            f"Out of scope: pictures that are not {MODALITIES.get(modality, modality)}, and "
            "findings of other classes than those named: each picture gets one of them, whatever "
            "it shows.",
            "Out of scope: pictures from other devices and hospitals, as far as External tests "
            "below do not show how it does there.",
        ],
    )


def _factors(case: CaseResults, dataset: DatasetResults) -> MarkdownSection:
    table = build_subgroup_table([case])
    return MarkdownSection(
        "Factors",
        [
            f"Known strata: {', '.join(dataset.strata) or 'none'}.",
            *(describe_gaps(case) or ["No difference between groups was tested."]),
        ],
        [table] if table else [],
    )


def _measures(results: Results) -> MarkdownSection:
    return MarkdownSection(
        "Measures",
        [*ANSWERS["uncertainty"](results), *ANSWERS["updating"](results)],
    )


def _evaluation_data(results: Results, case: CaseResults) -> MarkdownSection:
    return MarkdownSection(
        "Evaluation data",
        [
            f"{case.figures.n_test:,} test images of {case.figures.n_test_groups:,} groups, of the "
            "same data set as those that it was trained on.",
            *ANSWERS["partitions"](results),
            *ANSWERS["disjointness"](results),
            *ANSWERS["preprocessing"](results),
        ],
    )


def _training_data(case: CaseResults, dataset: DatasetResults) -> MarkdownSection:
    facts = list_facts(dataset.settings, dataset.info)
    told = {name: fact for name, fact in facts.items() if name not in OF_THE_MACHINE}
    counts = case.training.class_counts
    return MarkdownSection(
        "Training data",
        [
            f"Training images{' of the first run' if case.figures.n_runs > 1 else ''}: "
            + ", ".join(f"{name} {count:,}" for name, count in counts.items())
            + ".",
        ],
        [fact_table(f"Data set {dataset.title}", told), *build_count_tables(dataset)],
    )


def _figures(results: Results, case: CaseResults, dataset: DatasetResults) -> MarkdownSection:
    table = _figure_table(case, dataset)
    coverage = describe_coverage([table])
    return MarkdownSection(
        "Figures on the test images",
        [
            *describe_runs(case.title, case.figures),
            *([coverage] if coverage else []),
        ],
        [
            table,
            *build_run_tables([case]),
            *build_label_tables(dataset),
            build_confusion_table(case.title, case.report.test),
            build_calibration_table([case]),
            build_operating_table([case], results.params.evaluate.prevalences),
        ],
    )


def _figure_table(case: CaseResults, dataset: DatasetResults) -> Table:
    """Each figure of all classes and of each, in a row."""
    sample = sample_of(case)
    names = [*HEADLINE_METRICS, *OTHER_FIGURES]
    names += [of_class(metric, name) for name in dataset.info.class_names for metric in OF_CLASSES]
    rows = []
    for name in names:
        found = case.figures.get(name)
        cell = with_coverage(estimate_cell(found), found, find_coverage(name, sample))
        rows.append([Cell(label(name)), Cell(cell.text), Cell(cell.note)])
    rows.append([Cell("test images"), count_cell(case.figures.n_test), Cell("")])
    return Table(
        f"Test figures of {case.title}; positive class: {dataset.info.positive}",
        ["figure", "value", "95 % interval"],
        rows,
    )


def _shortcuts(case: CaseResults, dataset: DatasetResults) -> MarkdownSection:
    view = case.settings.view
    audit, names = dataset.audits[view], dataset.info.class_names
    headline = case.headline
    return MarkdownSection(
        "Shortcuts",
        [
            *(describe_headline(case.title, headline) if headline else []),
            describe_giveaway(view, dataset.info.positive, audit),
            *(
                f"AUROC with {what}: {as_text(found.value)} ({ends_text(found) or 'no interval'})."
                for part, what in zip(
                    OCCLUDED, ("the lungs hidden", "all but the lungs hidden"), strict=True
                )
                for found in [case.figures.get(f"auroc_{part}")]
            ),
        ],
        [build_probe_table({view: audit}, names)],
    )


def _elsewhere(results: Results, dataset: DatasetResults) -> MarkdownSection:
    said = [
        describe_external(
            name, found, results.cases[found.case], results.datasets[found.dataset].title
        )
        for name, found in dataset.external.items()
    ]
    missing = [f"Without results: {', '.join(dataset.left_out)}."] if dataset.left_out else []
    return MarkdownSection(
        "External tests", [*(said or ["None: how it does on other data is not known."]), *missing]
    )


def _ethics(results: Results, dataset: DatasetResults) -> MarkdownSection:
    said = results.params.study.ethics
    return MarkdownSection(
        "Ethical considerations",
        [
            *([f"In the authors' words: {said}."] if said else []),
            *ANSWERS["fairness"](results),
            f"Licence of the images: {dataset.settings.licence}; provenance: "
            f"{dataset.settings.provenance}.",
        ],
    )


def _limits(results: Results, case: CaseResults) -> MarkdownSection:
    look, said = case.report.label_errors, results.params.study.limitations
    return MarkdownSection(
        "Caveats and recommendations",
        [
            *describe_limitations(results),
            *describe_untested_mean(case),
            f"Labels in doubt: {len(look.suspected)} of {look.n_judged} images judged out of fold.",
            *ANSWERS["poor_input"](results),
            *([f"In the authors' words: {said}."] if said else []),
            "Before any other use: test it on images of the place where it is to be used, and "
            "choose the operating point there.",
        ],
    )


def describe_untested_mean(case: CaseResults) -> list[str]:
    """That the models were tested apart, where they are given away together."""
    protocol = case.protocol
    is_tested = protocol.ensemble and (not protocol.has_folds or protocol.held_out == "val")
    if case.figures.n_runs == 1 or is_tested:
        return []
    return [
        f"The files hold {case.figures.n_runs} models, of which the mean is given. The figures are "
        "of the models apart, each on images that it was not trained on: their mean was not tested."
    ]
