"""What the other stages wrote of the cases of params.yaml, as far as numbers are made of it."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd

from stages.config.params import Params
from stages.config.paths import Paths
from stages.dataset.finished import first_missing, leave_out
from stages.dataset.predictions import load_predictions
from stages.dataset.task import Task


@dataclass(frozen=True)
class CaseOutcome:
    """Of one case.

    Attributes:
        task: what it tells apart.
        val: validation rows of its predictions, those of every run.
        test: test rows.
        metrics: the flat figures.
        curves: class to the points of its curves.
        report: all that is not flat.
        maps: method to the shares in the lungs of the images that were drawn, columns image_id,
            group_id, in_lungs and lungs_area; those picked for their errors are not a fair sample.
        epochs: learning curves of every run, columns fold and seed among others.
        steps: the same by step.
        start_knows: what its initial weights were seen to know; None where that is unknown.
    """

    task: Task
    val: pd.DataFrame
    test: pd.DataFrame
    metrics: Mapping[str, float | None]
    curves: Mapping[str, Any]
    report: Mapping[str, Any]
    maps: Mapping[str, pd.DataFrame]
    epochs: pd.DataFrame
    steps: pd.DataFrame
    start_knows: Mapping[str, Any] | None

    @property
    def is_optimistic(self) -> bool:
        """Whether its protocol makes its figures better than those on new patients."""
        return bool(self.metrics["optimistic"])


@dataclass(frozen=True)
class Shortcut:
    """A shortcut of a view, the best by some measure, and what it says of each image."""

    name: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Outcomes:
    """All of it, by the names of params.yaml; files of removed cases are not looked at."""

    params: Params
    cases: Mapping[str, CaseOutcome]
    shortcuts: Mapping[str, Shortcut]  # of each view that a case is on, of the highest AUROC
    most_accurate: Mapping[str, Shortcut]  # likewise, of the highest accuracy

    def without(self, names: Collection[str]) -> Self:
        """All but some cases."""
        kept = {name: case for name, case in self.cases.items() if name not in names}
        return replace(self, cases=kept)


def load_outcomes(params: Params, paths: Paths) -> Outcomes:
    """Read what every case of `params`, and the audit of its view, have written.

    Cases without results are left out, of the parameters too, so that one that failed does not cost
    the others their comparisons.

    Raises:
        UserError: no case has results.
    """
    asked = params.cases.items()
    lacking = {n: first_missing(_files_of(n, case.view, paths)) for n, case in asked}
    params = leave_out(params, lacking)
    views = list(dict.fromkeys(case.view for case in params.cases.values()))
    return Outcomes(
        params=params,
        cases={case: _load_case(case, params.cam.methods, paths) for case in params.cases},
        shortcuts={view: _load_shortcut(view, "best_shortcut", paths) for view in views},
        most_accurate={view: _load_shortcut(view, "most_accurate", paths) for view in views},
    )


def _files_of(case: str, view: str, paths: Paths) -> tuple[Path, ...]:
    return (
        paths.predictions(case),
        paths.cam_scores(case),
        paths.case_report(case),
        paths.case_metrics(case),
        paths.history_epochs(case),
        paths.history_steps(case),
        paths.training_facts(case),
        paths.audit(view),
        paths.audit_predictions(view),
    )


def tabulate_maps(images: Iterable[Mapping[str, Any]], method: str) -> pd.DataFrame:
    """The maps of one method, from what metrics/cam says of each image."""
    rows = [
        {"image_id": image["image_id"], "group_id": image["group_id"], **image[method]}
        for image in images
        if "drawn" in image["selected_as"]
    ]
    return pd.DataFrame(rows, columns=["image_id", "group_id", "in_lungs", "lungs_area"])


def _load_case(case: str, methods: Iterable[str], paths: Paths) -> CaseOutcome:
    predictions = load_predictions(paths.predictions(case))
    images = _load_json(paths.cam_scores(case))["images"]
    report = _load_json(paths.case_report(case))
    class_names = tuple(report["test"]["class_names"])
    return CaseOutcome(
        task=Task(class_names, class_names.index(report["positive"])),
        val=predictions[predictions["split"] == "val"],
        test=predictions[predictions["split"] == "test"],
        metrics=_load_json(paths.case_metrics(case)),
        curves=report["test"]["curves"],
        report=report,
        maps={method: tabulate_maps(images, method) for method in methods},
        epochs=pd.read_csv(paths.history_epochs(case)),
        steps=pd.read_csv(paths.history_steps(case)),
        start_knows=_load_json(paths.training_facts(case))["start_knows"],
    )


def _load_shortcut(view: str, best: str, paths: Paths) -> Shortcut:
    name = _load_json(paths.audit(view))[best]
    probes = load_predictions(paths.audit_predictions(view))
    return Shortcut(name, probes[probes["probe"] == name])


def _load_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
