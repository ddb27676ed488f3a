"""The report: one HTML file with everything in it."""

import base64
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.report.discussion import discuss
from stages.report.figures import draw_learning_curves, draw_test_curves
from stages.report.results import Results

HEADLINE = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")
SUBGROUP_HEADLINE = ("balanced_accuracy", "auroc")

Json = dict[str, Any]


def render_page(results: Results, comparisons: dict[str, Json]) -> str:
    """The whole page; data sets apart, so that phantoms and real images never share a table."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(results, name, comparisons) for name in results.datasets]
    return environment.get_template("page.html.j2").render(sections=sections)


def _section(results: Results, dataset: str, comparisons: dict[str, Json]) -> Json:
    """What the template shows of one data set."""
    cases = results.cases_of(dataset)
    info, manifest = results.datasets[dataset].info, results.datasets[dataset].manifest
    metrics = {case: results.cases[case].metrics for case in cases}
    strata = [s for s in sorted(manifest["subgroup"].unique()) if s]
    return {
        "name": dataset,
        "info": info,
        "counts": _counts(manifest, info.class_names),
        "groups": int(manifest["group_id"].nunique()),
        "strata": strata,
        "cases": [_case_row(results, case, strata) for case in cases],
        "audits": _audit_rows(results, dataset),
        "comparisons": {
            name: discuss(found, metrics)
            for name, found in comparisons.items()
            if found["first"] in cases
        },
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
    names = [*HEADLINE, *(f"{m}_{s}" for s in strata for m in SUBGROUP_HEADLINE)]
    return {
        "name": case,
        "settings": results.params.case(case),
        "figures": {name: _with_interval(metrics, name) for name in names},
        "n_test": metrics["n_test"],
        "train_accuracy": f"{metrics['train_accuracy']:.3f}",
        "val_accuracy": f"{metrics['val_accuracy']:.3f}",
        "confusion": report["test"]["confusion_matrix"],
        "class_names": report["test"]["class_names"],
    }


def _with_interval(metrics: Json, name: str) -> Json:
    """A figure and its interval as text; n/a where it is undefined."""
    value, low, high = (metrics.get(f"{name}{suffix}") for suffix in ("", "_low", "_high"))
    return {
        "value": "n/a" if value is None else f"{value:.3f}",
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
