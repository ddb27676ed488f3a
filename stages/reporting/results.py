"""Everything the other stages wrote about the cases of params.yaml, read once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.config.params import Params
from stages.config.paths import Paths
from stages.dataset.predictions import load_predictions
from stages.dataset.image_set import DatasetInfo, load_dataset_info, load_manifest

Json = dict[str, Any]


@dataclass(frozen=True)
class CaseResults:
    """The files of one case; tables have a row per run where there are several."""

    metrics: Json
    report: Json
    cam: Json
    training: Json
    predictions: pd.DataFrame
    epochs: pd.DataFrame
    steps: pd.DataFrame
    maps: Path  # folder of overlays, <method>/<image_id>.png


@dataclass(frozen=True)
class DatasetResults:
    """The tables of one data set."""

    info: DatasetInfo
    manifest: pd.DataFrame
    rejected: pd.DataFrame  # columns file, reason


@dataclass(frozen=True)
class Results:
    """All of it, by the names of params.yaml; files of removed cases are not looked at."""

    params: Params
    cases: Mapping[str, CaseResults]
    datasets: Mapping[str, DatasetResults]
    audits: Mapping[str, Json]
    audit_predictions: Mapping[str, pd.DataFrame]
    external: Mapping[str, Json]
    groupings: Mapping[str, Json]
    seconds: Mapping[str, float]  # by stage and entry; those not run on this machine are missing

    def dataset_of(self, case: str) -> str:
        """The data set that a case was trained on."""
        return self.params.view(self.params.case(case).view).dataset

    def cases_of(self, dataset: str) -> list[str]:
        """Cases on one data set, in the order of params.yaml."""
        return [case for case in self.cases if self.dataset_of(case) == dataset]


def load_results(params: Params, paths: Paths) -> Results:
    """Read what every case, data set and view of `params` has written."""
    return Results(
        params=params,
        cases={case: _load_case(case, paths) for case in params.cases},
        datasets={name: _load_dataset(paths.prepared(name)) for name in params.datasets},
        audits={view: _load_json(paths.audit(view)) for view in params.views},
        audit_predictions={
            view: load_predictions(paths.audit_predictions(view)) for view in params.views
        },
        external={name: _load_json(paths.external(name)) for name in params.external},
        groupings={
            name: _load_json(paths.prepared(name) / "grouping.json") for name in params.datasets
        },
        seconds={
            path.stem: _load_json(path)["seconds"]
            for path in sorted(paths.time("any").parent.glob("*.json"))
        },
    )


def _load_case(case: str, paths: Paths) -> CaseResults:
    return CaseResults(
        metrics=_load_json(paths.case_metrics(case)),
        report=_load_json(paths.case_report(case)),
        cam=_load_json(paths.cam_scores(case)),
        training=_load_json(paths.training_facts(case)),
        predictions=load_predictions(paths.predictions(case)),
        epochs=pd.read_csv(paths.history_epochs(case)),
        steps=pd.read_csv(paths.history_steps(case)),
        maps=paths.cam_sheets(case),
    )


def _load_dataset(folder: Path) -> DatasetResults:
    rejected = pd.read_csv(folder / "rejected.csv", dtype=str, keep_default_na=False)
    return DatasetResults(load_dataset_info(folder), load_manifest(folder), rejected)


def _load_json(path: Path) -> Json:
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content
