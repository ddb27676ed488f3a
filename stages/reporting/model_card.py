"""The model card of a case that is given away: as a page, and what has to travel with its tensors.

After Mitchell et al. 2019, "Model Cards for Model Reporting", doi 10.1145/3287560.3287596.
"""

import json
from typing import NamedTuple

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Estimate
from stages.reporting.card_sections import (
    NO_DEVICE,
    Technical,
    build_sections,
    describe_task,
    describe_untested_mean,
)
from stages.reporting.cases import describe_at_chance
from stages.reporting.markdown import render_sections
from stages.reporting.optimism import describe_optimistic
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.scope import describe_limitations
from stages.reporting.shortcuts import probe_label
from stages.reporting.training import start_text
from stages.reporting.wording import is_settled

DRAWINGS = (
    "Trained and tested on phantoms, which are drawings: no figure here says anything about "
    "patients."
)


class ModelCard(NamedTuple):
    """A card.

    Attributes:
        markdown: all of it.
        essentials: what has to travel with the tensors, text by name.
    """

    markdown: str
    essentials: dict[str, str]


def build_model_card(results: Results, technical: Technical) -> ModelCard:
    """The card of the only case of some results."""
    (case,) = results.cases.values()
    (dataset,) = (found for found in results.datasets.values() if found.cases)
    sections = build_sections(results, case, dataset, technical)
    page = render_sections(f"Model card: {case.name}", _notices(case, dataset), sections)
    return ModelCard(page, _essentials(results, case, dataset, technical))


def _notices(case: CaseResults, dataset: DatasetResults) -> list[str]:
    """What has to be read before any figure."""
    return [
        NO_DEVICE,
        *([DRAWINGS] if dataset.info.is_phantom else []),
        *describe_optimistic([case]),
        *(f"{mark.sign.strip()}: {mark.note}." for mark in case.marks),
        *describe_at_chance({case.name: case.figures}, len(dataset.info.class_names)),
        *_beside_shortcut(case),
    ]


def _beside_shortcut(case: CaseResults) -> list[str]:
    """That a case is not shown to be better than a shortcut, where it is not."""
    found = case.headline
    if found is None or (is_settled(found.difference) and (found.difference.low or 0) > 0):
        return []
    return [
        f"Not shown to be better than a shortcut of its view ({probe_label(found.shortcut)}), "
        "which needs no network: Shortcuts, below."
    ]


def _essentials(
    results: Results, case: CaseResults, dataset: DatasetResults, technical: Technical
) -> dict[str, str]:
    training, headline = case.training, case.headline
    return {
        "case": case.name,
        "task": describe_task(dataset),
        "class_names": json.dumps(dataset.info.class_names),
        "positive": dataset.info.positive,
        "warning": " ".join(_notices(case, dataset)),
        "intended_use": results.params.study.intended_use or "not said",
        "model": case.settings.model,
        "initial_weights": f"{training.started_from}: {start_text(training)}",
        "images": f"{dataset.settings.provenance}; licence {dataset.settings.licence}",
        "training_images": json.dumps(training.class_counts),
        "test_images": str(case.figures.n_test),
        "test_figures": json.dumps(
            {name: _with_ends(case.figures.get(name)) for name in HEADLINE_METRICS}
        ),
        "best_shortcut": "none: an optimistic protocol"
        if headline is None
        else json.dumps({headline.shortcut: _with_ends(headline.shortcut_auroc)}),
        "leaking_groups": str(case.figures.n_leaking_groups),
        "inputs": " ".join(technical.inputs),
        "outputs": " ".join(technical.outputs),
        "limits": " ".join([*describe_limitations(results), *describe_untested_mean(case)]),
    }


def _with_ends(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]
