"""The report: one HTML file with everything in it."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from stages.reporting.audit_tables import build_gap_table, build_probe_table
from stages.reporting.case_tables import (
    build_confusion_table,
    build_headline_table,
    build_label_table,
    build_run_tables,
    build_settings_table,
    build_training_table,
)
from stages.reporting.checklist import build_checklists
from stages.reporting.comparison_tables import build_comparison_table
from stages.reporting.data_card import build_data_card
from stages.reporting.discussion import INTRODUCTION, METHOD_NAMES, DatasetDiscussion
from stages.reporting.external_tests import build_external_tests
from stages.reporting.figures import draw_learning_curves, draw_reliability, draw_test_curves
from stages.reporting.gallery import (
    build_check_tables,
    build_galleries,
    build_score_table,
    name_not_class_specific,
    to_uri,
)
from stages.reporting.html_table import case_cell
from stages.reporting.machine import build_hardware_table, build_seed_table, build_time_table
from stages.reporting.probability_tables import build_calibration_table, build_operating_table
from stages.reporting.results import Results

Json = dict[str, Any]

FOLDER = Path(__file__).parent


def render_page(
    results: Results,
    comparisons: Mapping[str, Json],
    headlines: Mapping[str, Json],
    discussion: Mapping[str, DatasetDiscussion],
    sheets: Mapping[str, Image.Image],
) -> str:
    """The whole page; data sets apart, so that phantoms and real images never share a table.

    Args:
        results: what all stages wrote.
        comparisons: content of metrics/comparisons.json.
        headlines: content of metrics/headlines.json.
        discussion: what is said of each data set, from `build_discussion`.
        sheets: all cases of a data set side by side, from `draw_sheets`.

    Returns:
        HTML that fetches nothing: its policy forbids it, and any script but its own.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        introduction=INTRODUCTION,
        sections=[
            _section(results, name, comparisons, headlines, discussion, sheets)
            for name in results.datasets
        ],
        checklists=build_checklists(results, discussion),
        machine=[
            build_hardware_table(results),
            build_seed_table(results),
            build_time_table(results),
        ],
    )


def _section(
    results: Results,
    dataset: str,
    comparisons: Mapping[str, Json],
    headlines: Mapping[str, Json],
    discussion: Mapping[str, DatasetDiscussion],
    sheets: Mapping[str, Image.Image],
) -> Json:
    """What the template shows of one data set."""
    cases = results.cases_of(dataset)
    section: Json = {
        "name": dataset,
        "size": _size(results, dataset),
        "info": results.datasets[dataset].info,
        "discussion": discussion[dataset],
        "data_card": build_data_card(results, dataset),
        "audits": [build_probe_table(results, dataset), build_gap_table(results, dataset)],
        "used_by": [
            f"{name} ({found['case']})"
            for name, found in results.external.items()
            if found["dataset"] == dataset
        ],
        "cases": cases,
    }
    if not cases:
        return section
    named = {
        name: found
        for name, found in comparisons.items()
        if results.dataset_of(found["first"]) == dataset
    }
    return section | {
        "headline": build_headline_table(results, dataset, headlines, cases),
        "comparisons": build_comparison_table(results, named) if named else None,
        "external": build_external_tests(results, dataset, discussion),
        "side_by_side": to_uri(sheets[dataset]),
        "side_by_side_method": METHOD_NAMES[results.params.cam.methods[0]],
        **_case_parts(results, dataset, cases),
        **_figure_parts(results, dataset, cases),
    }


def _size(results: Results, dataset: str) -> str:
    manifest = results.datasets[dataset].manifest
    return (
        f"{len(manifest):,} images, {manifest['group_id'].nunique():,} groups, "
        f"{len(results.cases_of(dataset))} cases"
    )


def _case_parts(results: Results, dataset: str, cases: list[str]) -> Json:
    """Tables with a row, or of their own, for every case."""
    labels = results.datasets[dataset].info.implies
    return {
        "details": [
            *build_run_tables(results, cases),
            *([build_label_table(results, dataset, cases)] if labels else []),
        ],
        "confusions": [
            build_confusion_table(case_cell(results, case).text, results.cases[case].report["test"])
            for case in cases
        ],
        "probabilities": [
            build_calibration_table(results, cases),
            build_operating_table(results, cases),
        ],
        "maps": [build_score_table(results, cases), *build_check_tables(results, cases)],
        "not_class_specific": name_not_class_specific(results, cases),
        "galleries": build_galleries(results, cases),
        "trainings": [
            build_training_table(results, dataset, cases),
            build_settings_table(results, cases),
        ],
    }


def _figure_parts(results: Results, dataset: str, cases: list[str]) -> dict[str, Markup]:
    positive = results.datasets[dataset].info.positive
    return {
        "test_curves": Markup(draw_test_curves(results, cases, positive)),
        "reliability": Markup(draw_reliability(results, cases)),
        "learning_curves": Markup(draw_learning_curves(results, cases)),
    }
