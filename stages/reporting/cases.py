"""What is said of each case of a data set, one table per subject."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.reporting.html_table import (
    Cell,
    Table,
    as_text,
    case_cell,
    count_cell,
    figure_cell,
    interval_cell,
    label,
    text_cell,
)
from stages.reporting.results import Results

Json = dict[str, Any]

STRATUM_METRICS = ("balanced_accuracy", "auroc")
OCCLUSIONS = ("lungs_hidden", "lungs_only")
LABEL_METRICS = ("sensitivity", "specificity", "auroc")
OTHER_METRICS = tuple(name for name in HEADLINE_METRICS if name != "auroc")


def build_headline_table(
    results: Results, dataset: str, headlines: Mapping[str, Json], cases: Sequence[str]
) -> Table:
    """The test figures of every case, its AUROC beside that of the best shortcut of its view."""
    strata = [s for s in sorted(results.datasets[dataset].manifest["subgroup"].unique()) if s]
    beside = [
        *OTHER_METRICS,
        *(f"{metric}_{part}" for part in OCCLUSIONS for metric in ("auroc", "balanced_accuracy")),
        *(f"{metric}_{stratum}" for stratum in strata for metric in STRATUM_METRICS),
    ]
    return Table(
        f"Test figures; positive class: {results.datasets[dataset].info.positive}",
        [
            *("case", "AUROC", "best shortcut's AUROC", "AUROC above the shortcut's"),
            *(label(name) for name in beside),
            *("accuracy on train", "accuracy on val", "test images", "of them without lungs found"),
            "settings",
        ],
        [_headline_row(results, case, headlines[case], beside) for case in cases],
    )


def _headline_row(results: Results, case: str, headline: Json, beside: Sequence[str]) -> list[Cell]:
    metrics, report = results.cases[case].metrics, results.cases[case].report
    shortcut = interval_cell(headline, "shortcut_auroc")
    return [
        case_cell(results, case),
        interval_cell(metrics, "auroc"),
        shortcut._replace(note=f"{label(headline['shortcut'])}; {shortcut.note}".rstrip("; ")),
        interval_cell(
            headline, "difference", ("difference_low", "difference_high"), is_signed=True
        ),
        *(interval_cell(metrics, name) for name in beside),
        figure_cell(metrics["train_accuracy"]),
        figure_cell(metrics["val_accuracy"]),
        count_cell(metrics["n_test"]),
        # Left out of the figures with lungs hidden and with all but the lungs hidden.
        count_cell(report["occlusion"]["lungs_hidden"]["n_without_lungs"]),
        _settings_cell(results, case),
    ]


def _settings_cell(results: Results, case: str) -> Cell:
    """What the case is, in a line; and its runs, where there are several."""
    settings = results.params.case(case)
    runs = f"folds {settings.folds}, seeds {len(settings.seeds)}"
    return Cell(
        f"{settings.view}, {settings.model}, {settings.weights}, train {settings.train}, "
        f"{settings.loss.name}, sampler {settings.sampler}",
        "" if settings.is_one_run else f"{runs}, averaged per image" if settings.ensemble else runs,
    )


def build_settings_table(results: Results, cases: Sequence[str]) -> Table:
    """Everything that params.yaml says of each case."""
    dumps = {case: results.params.case(case).model_dump(mode="json") for case in cases}
    fields = list(next(iter(dumps.values())))
    return Table(
        "Settings",
        ["case", *(label(field) for field in fields)],
        [
            [text_cell(case), *(text_cell(_setting(dump[field])) for field in fields)]
            for case, dump in dumps.items()
        ],
    )


def _setting(value: object) -> str:
    """A value of params.yaml as text."""
    if isinstance(value, dict):  # a loss: its name and its options
        name, *options = value.items()
        return ", ".join([name[1], *(f"{label(key)} {_setting(v)}" for key, v in options)])
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def build_training_table(results: Results, dataset: str, cases: Sequence[str]) -> Table:
    """What was trained, and what the sampler made of the classes."""
    class_names = results.datasets[dataset].info.class_names
    return Table(
        "Training (of several runs: of the first). Per class: training images, and the mean "
        "number drawn per epoch",
        [
            *("case", "started from", "blocks trained", "parameters trained", "frozen"),
            *("epoch kept, from 0", "epochs run", *class_names),
        ],
        [_training_row(results, case, class_names) for case in cases],
    )


def _training_row(results: Results, case: str, class_names: Sequence[str]) -> list[Cell]:
    facts = results.cases[case].training
    counts, blocks = facts["class_counts"], facts["blocks_trained"]
    return [
        text_cell(case),
        text_cell(facts["started_from"]),
        text_cell(blocks if isinstance(blocks, str) else ", ".join(blocks) or "none"),
        count_cell(facts["parameters"]["trained"]),
        count_cell(facts["parameters"]["frozen"]),
        count_cell(facts["kept_epoch"]),
        count_cell(facts["epochs_run"]),
        *(
            count_cell(counts["train"][name])._replace(
                note=f"{counts['drawn_per_epoch'][name]:.1f} drawn"
            )
            for name in class_names
        ),
    ]


def build_run_tables(results: Results, cases: Sequence[str]) -> list[Table]:
    """The test figures of each training, for the cases that have several."""
    return [
        _run_table(results, case) for case in cases if results.cases[case].metrics["n_runs"] > 1
    ]


def _run_table(results: Results, case: str) -> Table:
    metrics, runs = results.cases[case].metrics, results.cases[case].report["runs"]
    spread = {"mean": "run_mean", "standard deviation": "run_sd"}
    return Table(
        f"{case_cell(results, case).text}: the test figures of each run",
        ["run", "test images", *(label(name) for name in HEADLINE_METRICS)],
        [
            [
                text_cell(run["name"]),
                count_cell(run["n_test"]),
                *(interval_cell(run["metrics"], name) for name in HEADLINE_METRICS),
            ]
            for run in runs
        ]
        + [
            [
                text_cell(what),
                Cell(""),
                *(figure_cell(metrics[f"{name}_{suffix}"]) for name in HEADLINE_METRICS),
            ]
            for what, suffix in spread.items()
        ],
        is_sortable=False,  # mean and deviation stand below the runs
    )


def build_label_table(results: Results, dataset: str, cases: Sequence[str]) -> Table:
    """Test figures of each label, where images of one class carry the labels of another too."""
    implies = results.datasets[dataset].info.implies
    said = "; ".join(f"{name} is also {', '.join(others)}" for name, others in implies.items())
    return Table(
        "Labels on the test images; an image has that of its class and those that its class "
        f"implies ({said})",
        ["case", "label", "images with the label", *(label(name) for name in LABEL_METRICS)],
        [
            [
                case_cell(results, case),
                text_cell(name),
                count_cell(figures["n_positive"]),
                *(figure_cell(figures[metric]) for metric in LABEL_METRICS),
            ]
            for case in cases
            for name, figures in results.cases[case].report["labels"].items()
        ],
    )


def build_confusion_table(caption: str, report: Json) -> Table:
    """Rows actual, columns predicted.

    Args:
        caption: whose it is.
        report: with `class_names` and `confusion_matrix`.
    """
    names = report["class_names"]
    return Table(
        f"{caption}: rows actual, columns predicted",
        ["", *names],
        [
            [text_cell(name), *(count_cell(count) for count in counts)]
            for name, counts in zip(names, report["confusion_matrix"], strict=True)
        ],
        is_sortable=False,
    )


def describe_case(results: Results, case: str) -> str:
    """A case's AUROC with its interval, in a line."""
    metrics = results.cases[case].metrics
    ends = [metrics[f"auroc_{end}"] for end in ("low", "high")]
    interval = "no interval" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"
    return f"{case_cell(results, case).text} {as_text(metrics['auroc'])} ({interval})"
