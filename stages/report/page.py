"""The report: one HTML file with everything in it."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.report.discussion import INTRODUCTION, DatasetDiscussion
from stages.report.figures import draw_learning_curves, draw_test_curves
from stages.report.results import Results

SUBGROUP_HEADLINE = ("balanced_accuracy", "auroc")
LABEL_FIGURES = ("sensitivity", "specificity", "auroc")

Json = dict[str, Any]


def render_page(results: Results, discussion: Mapping[str, DatasetDiscussion]) -> str:
    """The whole page; data sets apart, so that phantoms and real images never share a table.

    Args:
        results: what all stages wrote.
        discussion: what is said of each data set, from `build_discussion`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(results, name, discussion[name]) for name in results.datasets]
    template = environment.get_template("page.html.j2")
    return template.render(
        sections=sections,
        introduction=INTRODUCTION,
        headline=HEADLINE_METRICS,
        label_figures=LABEL_FIGURES,
    )


def _section(results: Results, dataset: str, discussion: DatasetDiscussion) -> Json:
    """What the template shows of one data set."""
    cases = results.cases_of(dataset)
    info, manifest = results.datasets[dataset].info, results.datasets[dataset].manifest
    strata = [s for s in sorted(manifest["subgroup"].unique()) if s]
    return {
        "name": dataset,
        "info": info,
        "counts": _counts(manifest, info.class_names),
        "groups": int(manifest["group_id"].nunique()),
        "strata": strata,
        "cases": [_case_row(results, case, strata) for case in cases],
        "trainings": {case: _training_row(results, case, info.class_names) for case in cases},
        "runs": {case: _run_table(results, case) for case in cases if _has_runs(results, case)},
        "labels": _label_rows(results, cases) if info.implies else [],
        "audits": _audit_rows(results, dataset),
        "discussion": discussion,
        "learning_curves": Markup(draw_learning_curves(results, cases)) if cases else "",
        "test_curves": Markup(draw_test_curves(results, cases, info.positive)) if cases else "",
        "sheets": {case: _data_uri(results.cases[case].cam_sheet) for case in cases},
    }


def _counts(manifest: pd.DataFrame, class_names: list[str]) -> list[Json]:
    """Images per class and split."""
    table = pd.crosstab(manifest["label"], manifest["split"])
    return [
        {
            "label": name,
            **{split: int(table[split][name]) for split in ("train", "val", "test")},
        }
        for name in class_names
    ]


def _case_row(results: Results, case: str, strata: list[str]) -> Json:
    metrics, report = results.cases[case].metrics, results.cases[case].report
    settings = results.params.case(case)
    names = [*HEADLINE_METRICS, *(f"{m}_{s}" for s in strata for m in SUBGROUP_HEADLINE)]
    return {
        "name": case,
        "settings": settings,
        "runs": f"folds {settings.folds}, seeds {len(settings.seeds)}"
        if _has_runs(results, case)
        else "",
        "figures": {name: _with_interval(metrics, name) for name in names},
        "n_test": metrics["n_test"],
        "train_accuracy": _as_text(metrics["train_accuracy"]),
        "val_accuracy": _as_text(metrics["val_accuracy"]),
        "confusion": report["test"]["confusion_matrix"],
        "class_names": report["test"]["class_names"],
    }


def _training_row(results: Results, case: str, class_names: list[str]) -> Json:
    """What was trained, and what the sampler made of the classes."""
    facts = results.cases[case].training
    counts, blocks = facts["class_counts"], facts["blocks_trained"]
    return {
        **{key: facts[key] for key in ("started_from", "best_epoch", "epochs_run")},
        **facts["parameters"],
        "blocks": blocks if isinstance(blocks, str) else ", ".join(blocks) or "none",
        "classes": [
            {"images": counts["train"][name], "drawn": f"{counts['drawn_per_epoch'][name]:.1f}"}
            for name in class_names
        ],
    }


def _has_runs(results: Results, case: str) -> bool:
    return bool(results.cases[case].metrics["n_runs"] > 1)


def _run_table(results: Results, case: str) -> Json:
    """The test figures of each training, and their mean and standard deviation."""
    metrics, runs = results.cases[case].metrics, results.cases[case].report["runs"]
    return {
        "rows": [
            {
                "name": run["name"],
                "n_test": run["n_test"],
                "figures": [_with_interval(run["metrics"], name) for name in HEADLINE_METRICS],
            }
            for run in runs
        ],
        "spread": {
            what: [_as_text(metrics[f"{name}_{suffix}"]) for name in HEADLINE_METRICS]
            for what, suffix in (("mean", "run_mean"), ("standard deviation", "run_sd"))
        },
    }


def _label_rows(results: Results, cases: list[str]) -> list[Json]:
    """Test figures of each label, where images of one class carry the labels of another too."""
    return [
        {
            "case": case,
            "label": label,
            "n_positive": figures["n_positive"],
            "figures": [_as_text(figures[name]) for name in LABEL_FIGURES],
        }
        for case in cases
        for label, figures in results.cases[case].report["labels"].items()
    ]


def _as_text(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _with_interval(metrics: Json, name: str) -> Json:
    """A figure and its interval as text; n/a where it is undefined."""
    value, low, high = (metrics.get(f"{name}{suffix}") for suffix in ("", "_low", "_high"))
    return {
        "value": _as_text(value),
        "interval": "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
    }


def _audit_rows(results: Results, dataset: str) -> list[Json]:
    views = [name for name, view in results.params.views.items() if view.dataset == dataset]
    return [
        {"view": view, "probe": probe, **_with_interval(figures, "auroc")}
        for view in views
        for probe, figures in results.audits[view]["probes"].items()
    ]


def _data_uri(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
