"""The report: one HTML file with everything in it."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.config.progress import progress
from stages.config.text import visible
from stages.reporting.cases import (
    build_confusion_table,
    build_headline_table,
    build_label_tables,
    build_run_tables,
    draw_test_curves,
)
from stages.reporting.checklist import build_checklists
from stages.reporting.comparisons import build_comparison_table
from stages.reporting.cost import build_cost_table
from stages.reporting.coverage import describe_coverage, sample_of
from stages.reporting.data import build_data_card, describe_size
from stages.reporting.discussion import INTRODUCTION, DatasetDiscussion
from stages.reporting.external import ExternalTest, build_external_test
from stages.reporting.gallery import (
    CERTAINTIES,
    KINDS,
    Gallery,
    build_gallery,
    build_side_by_side,
)
from stages.reporting.label_errors import build_label_look
from stages.reporting.maps import build_check_tables, build_score_table, name_not_class_specific
from stages.reporting.measure_figures import draw_measures
from stages.reporting.measures import (
    build_decision_table,
    build_guide,
    build_recalibration_table,
)
from stages.reporting.overview import build_overview, describe_lead
from stages.reporting.picture_store import PictureStore
from stages.reporting.probabilities import (
    build_calibration_table,
    build_operating_table,
    draw_reliability,
)
from stages.reporting.results import DatasetResults, Results
from stages.reporting.searches import build_candidate_table, build_chosen_table
from stages.reporting.shortcuts import build_gap_table, build_probe_table
from stages.reporting.subgroups import build_subgroup_table, describe_gaps
from stages.reporting.table import Table
from stages.reporting.training import (
    build_hardware_table,
    build_seed_table,
    build_settings_table,
    build_training_table,
    draw_learning_curves,
)
from stages.reporting.truth import build_lung_table, build_pointing_table, build_worst_lungs_table
from stages.reporting.wording import METHOD_NAMES

FOLDER = Path(__file__).parent / "template"
STYLES = ("page.css", "overview.css", "gallery.css")
SCRIPTS = ("tables.js", "tabs.js", "gallery.js")
PARTS = (
    *("Cases", "Comparisons", "Searches", "Failures", "Probabilities", "Curves"),
    *("External tests", "Shortcuts", "Maps", "Training", "Data", "Labels"),
)
PARTS_WITHOUT_CASES = ("Shortcuts", "Data", "Labels")
ERRORS = {"error": "errors"}

Section = dict[str, object]  # what the template shows of a data set


def render_page(results: Results, discussion: Mapping[str, DatasetDiscussion]) -> str:
    """The whole page; data sets apart, so that phantoms and real images never share a table.

    Args:
        results: what all stages wrote.
        discussion: what is said of each data set, from `build_discussion`.

    Returns:
        HTML that fetches nothing: its policy forbids it, and any script but its own.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_fit_for_a_page,
    )
    script = _read_all(SCRIPTS)
    cases, store = list(results.cases.values()), PictureStore()
    return environment.get_template("page.html.j2").render(
        style=Markup(_read_all(STYLES)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        introduction=INTRODUCTION,
        has_optimistic=any(case.is_optimistic for case in cases),
        overview=build_overview(results, store),
        sections=[
            _section(results, name, discussion[name])
            | (_case_parts(results, dataset, store) if dataset.cases else {})
            for name, dataset in results.datasets.items()
        ],
        checklists=build_checklists(results),
        machine=[build_hardware_table(cases), build_seed_table(cases, results.params.seed)],
        pictures=store.uris,
    )


def _read_all(names: Sequence[str]) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _fit_for_a_page(value: object) -> object:
    """Text without characters that act on what stands around it, or that HTML does not have."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return visible(str(value), keep="\n\t") if is_text else value


def _section(results: Results, name: str, discussion: DatasetDiscussion) -> Section:
    """What is shown of every data set."""
    dataset = results.datasets[name]
    class_names = dataset.info.class_names
    return {
        "name": name,
        "size": describe_size(dataset),
        "info": dataset.info,
        "discussion": discussion,
        "data_card": build_data_card(dataset),
        "lungs": [build_lung_table(dataset.audits), *build_worst_lungs_table(dataset.audits)]
        if any(audit.lungs for audit in dataset.audits.values())
        else [],
        "labels": build_label_look(dataset),
        "audits": [
            build_probe_table(dataset.audits, class_names),
            build_gap_table(dataset.audits),
        ],
        "used_by": [
            f"{test} ({found.case})"
            for test, found in results.external.items()
            if found.dataset == name
        ],
        "starts_at_chance": [case.name for case in dataset.cases if case.starts_at_chance],
        "has_cases": bool(dataset.cases),
        "parts": [part for part in PARTS if part != "Searches" or dataset.searches]
        if dataset.cases
        else PARTS_WITHOUT_CASES,
    }


def _case_parts(results: Results, dataset: DatasetResults, store: PictureStore) -> Section:
    """What is shown of the cases of a data set."""
    cases, params = dataset.cases, results.params
    headline, comparisons = build_headline_table(dataset), _comparison_table(dataset)
    prevalences, methods = params.evaluate.prevalences, params.cam.methods
    return {
        "headline": headline,
        "coverage": describe_coverage([headline, *([comparisons] if comparisons else [])]),
        "subgroups": build_subgroup_table(cases),
        "gaps": [sentence for case in cases for sentence in describe_gaps(case)],
        "details": [*build_run_tables(cases), *build_label_tables(dataset)],
        "confusions": [build_confusion_table(case.title, case.report.test) for case in cases],
        "comparisons": comparisons,
        "test_curves": Markup(draw_test_curves(dataset)),
        "searches": {
            search: [build_candidate_table(found), build_chosen_table(found)]
            for search, found in dataset.searches.items()
        },
        "learning_curves": Markup(draw_learning_curves(cases)),
        "reliability": Markup(draw_reliability(cases)),
        "probabilities": [
            build_calibration_table(cases),
            build_recalibration_table(cases),
            build_decision_table(cases),
            build_operating_table(cases, prevalences),
        ],
        "guide": build_guide(),
        "measures": Markup(draw_measures(dataset)),
        "external": _external_tests(results, dataset),
        "maps": [
            *build_pointing_table(cases),
            build_score_table(cases),
            *build_check_tables(cases),
        ],
        "not_class_specific": name_not_class_specific(cases),
        "side_by_side": build_side_by_side(dataset, methods[0], store),
        "side_by_side_method": METHOD_NAMES[methods[0]],
        "galleries": _galleries(dataset, methods, store),
        "open_gallery": describe_lead(dataset).best or cases[0].title,
        "choices": {
            "case": {case.name: case.title for case in cases},
            "kind": ERRORS | KINDS,
            "label": {name: name for name in dataset.info.class_names},
            "certainty": _name_certainties(),
        },
        "trainings": [
            build_cost_table(cases),
            build_training_table(cases, dataset.info.class_names),
            build_settings_table(cases),
        ],
    }


def _galleries(
    dataset: DatasetResults, methods: Sequence[str], store: PictureStore
) -> list[Gallery]:
    cases = dataset.cases
    shown = progress(cases, "galleries", len(cases))
    return [build_gallery(case, dataset, methods, store) for case in shown]


def _name_certainties() -> dict[str, str]:
    """With the probability of the decision from which each holds."""
    return {
        name: f"{name}: {least:g} or more" if least else f"{name}: less"
        for name, least in CERTAINTIES.items()
    }


def _external_tests(results: Results, dataset: DatasetResults) -> list[ExternalTest]:
    return [
        build_external_test(
            name,
            found,
            results.cases[found.case],
            results.datasets[found.dataset].title,
            results.params.evaluate.prevalences,
        )
        for name, found in dataset.external.items()
    ]


def _comparison_table(dataset: DatasetResults) -> Table | None:
    """None where no comparison is named."""
    if not dataset.comparisons:
        return None
    return build_comparison_table(
        dataset.comparisons,
        {case.name: case.marks for case in dataset.cases},
        {case.name: sample_of(case) for case in dataset.cases},
    )
