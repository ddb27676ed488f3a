"""Everything that the other stages wrote about the entries of params.yaml, read once, here."""

import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.params import Case, Dataset, Params, Protocol, Recipe
from stages.config.paths import Paths
from stages.dataset.finished import first_missing, leave_out
from stages.dataset.image_set import IMAGES, DatasetInfo, load_dataset_info, load_manifest
from stages.dataset.metadata import Metadata, load_metadata
from stages.reporting.data_documents import Audit, Grouping
from stages.reporting.documents import (
    CaseFigures,
    CaseReport,
    Comparison,
    Document,
    ExternalReport,
    Headline,
    Search,
    Training,
)
from stages.reporting.map_documents import CamScores
from stages.reporting.wording import LEAKAGE, OPTIMISTIC, STARTS_AT_CHANCE, Mark

D = TypeVar("D", bound=Document)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResults:
    """What is known of one case."""

    name: str
    settings: Case
    recipe: Recipe
    protocol: Protocol
    figures: CaseFigures
    report: CaseReport
    headline: Headline | None  # an optimistic case has none
    cam: CamScores
    training: Training
    epochs: pd.DataFrame  # learning curves, a row per epoch, split and run
    maps: Path  # folder of overlays, <method>/<image_id>.png

    @property
    def is_optimistic(self) -> bool:
        """Whether its protocol makes its figures better than those on new patients."""
        return self.figures.optimistic

    @property
    def has_leakage(self) -> bool:
        """Whether groups stand in more than one split, though its protocol keeps them whole."""
        return self.figures.n_leaking_groups > 0 and self.protocol.grouping == "group"

    @property
    def starts_at_chance(self) -> bool:
        """Whether the initial weights were seen to be no better than chance on their own task."""
        knows = self.training.start_knows
        return knows is not None and not knows.better_than_chance

    @property
    def marks(self) -> list[Mark]:
        """What has to stand behind the name wherever it heads a figure."""
        return [mark for mark, holds in self._warnings if holds]

    @property
    def _warnings(self) -> list[tuple[Mark, bool]]:
        return [
            (OPTIMISTIC, self.is_optimistic),
            (LEAKAGE, self.has_leakage),
            (STARTS_AT_CHANCE, self.starts_at_chance),
        ]

    @property
    def title(self) -> str:
        """The name with its marks."""
        return self.name + "".join(mark.sign for mark in self.marks)


@dataclass(frozen=True)
class DatasetResults:
    """What is known of one data set and of its cases; data sets are never mixed."""

    settings: Dataset
    info: DatasetInfo
    manifest: pd.DataFrame
    metadata: Metadata
    rejected: pd.DataFrame  # columns file, reason
    reconciliation: pd.DataFrame | None  # of a table: columns file, row, named, how, note
    truth_files: pd.DataFrame | None  # columns kind, file, row, image, how, note
    suspicious: pd.DataFrame  # columns file, what
    grouping: Grouping
    audits: Mapping[str, Audit]  # by view
    cases: list[CaseResults]
    comparisons: Mapping[str, Comparison]  # of these cases
    searches: Mapping[str, Search]  # on this data set
    external: Mapping[str, ExternalReport]  # of these cases, on other data sets
    images: Path  # of the manifest's rows, as `prepare` decoded them
    probes: Mapping[str, Path]  # by view, what each probe says of each image
    left_out: list[str]  # cases and external tests without results, as params.yaml names them

    @property
    def title(self) -> str:
        """The name, with a warning if the images are drawn."""
        name = self.info.dataset
        return f"{name} (phantoms: drawings, not patients)" if self.info.is_phantom else name

    @property
    def strata(self) -> list[str]:
        """Known parts of the images, such as those with the planted marker."""
        return [name for name in sorted(self.manifest["subgroup"].unique()) if name]

    def facts_of(self, image_id: str) -> dict[Hashable, Any]:
        """An image's row of the manifest, and as `row` its number there.

        Raises:
            KeyError: the data set has no such image.
        """
        rows = np.flatnonzero(self.manifest["image_id"] == image_id)
        if not len(rows):
            raise KeyError(f"{self.info.dataset} has no image {image_id}")
        return self.manifest.iloc[rows[0]].to_dict() | {"row": int(rows[0])}


@dataclass(frozen=True)
class Results:
    """All of it, by the names of params.yaml; files of removed entries are not looked at."""

    params: Params
    datasets: Mapping[str, DatasetResults]
    # The same as in the data sets, in the order of params.yaml; without those that a search set
    # aside.
    cases: Mapping[str, CaseResults]
    external: Mapping[str, ExternalReport]
    not_reached: list[str]  # data sets and views of which there is nothing, as in params.yaml


def load_results(params: Params, paths: Paths) -> Results:
    """Read what every case, data set and view of `params` has written.

    Cases and external tests without results are left out and named, so that one that failed does
    not cost the others their report; so are data sets and views of which there is nothing yet.

    Raises:
        UserError: no case has results.
    """
    searches = _load_searches(params, paths)
    asked = _without_set_aside(params, searches)
    headlines = _read_all(paths.headlines, Headline) if paths.headlines.exists() else {}
    # `compare` leaves out what lacks a file that is not read here, and what is optimistic.
    lacking = {
        name: first_missing((*_files_of(name, paths), paths.audit(case.view)))
        if name in headlines or asked.protocol(case.protocol).is_optimistic
        else paths.headlines
        for name, case in asked.cases.items()
    }
    params, not_reached = _leave_out_not_reached(leave_out(asked, lacking), paths)
    cases = {case: _load_case(params, case, headlines.get(case), paths) for case in params.cases}
    comparisons = _read_all(paths.comparisons, Comparison)
    external = _load_external(params, paths)
    found = _Found(cases, comparisons, searches, external)
    datasets = {name: _load_dataset(params, name, asked, found, paths) for name in params.datasets}
    return Results(params, datasets, cases, external, not_reached)


def _leave_out_not_reached(params: Params, paths: Paths) -> tuple[Params, list[str]]:
    """The parameters without data sets and views of which there is nothing, and the names of these.

    A case is in the report only with the audit of its view, so none that is left is on these.
    """
    datasets = {key: one for key, one in params.datasets.items() if paths.prepared(key).exists()}
    views = {
        key: one
        for key, one in params.views.items()
        if one.dataset in datasets and paths.audit(key).exists()
    }
    not_reached = [
        *(f"datasets.{name}" for name in params.datasets if name not in datasets),
        *(f"views.{name}" for name in params.views if name not in views),
    ]
    if not_reached:
        logger.warning("left out, since nothing is there yet: %s", ", ".join(not_reached))
    return params.model_copy(update={"datasets": datasets, "views": views}), not_reached


class _Found(NamedTuple):
    """What is known of all data sets, by name."""

    cases: Mapping[str, CaseResults]
    comparisons: Mapping[str, Comparison]
    searches: Mapping[str, Search]
    external: Mapping[str, ExternalReport]


def _load_dataset(
    params: Params, name: str, asked: Params, found: _Found, paths: Paths
) -> DatasetResults:
    """One data set with what belongs to it; `asked` also has the cases that failed."""
    folder, views = paths.prepared(name), _views_of(params, name)
    asked_views = _views_of(asked, name)
    cases = [case for case in found.cases.values() if case.settings.view in views]
    names = {case.name for case in cases}
    return DatasetResults(
        settings=params.datasets[name],
        info=load_dataset_info(folder),
        manifest=load_manifest(folder),
        metadata=load_metadata(folder),
        rejected=read_csv(folder / "rejected.csv", str),
        suspicious=read_csv(folder / "suspicious.csv", str),
        reconciliation=_read_if_there(folder / "reconciliation.csv"),
        truth_files=_read_if_there(folder / "truth_files.csv"),
        grouping=_read(folder / "grouping.json", Grouping),
        audits={view: _read(paths.audit(view), Audit) for view in views},
        cases=cases,
        comparisons={
            key: one for key, one in found.comparisons.items() if {one.first, one.second} <= names
        },
        searches={
            key: one
            for key, one in found.searches.items()
            if asked.case(one.choices[0].case).view in asked_views
        },
        external={key: one for key, one in found.external.items() if one.case in names},
        images=folder / IMAGES,
        probes={view: paths.audit_predictions(view) for view in views},
        left_out=_left_out(asked, asked_views, found.cases, found.external),
    )


def load_case_results(params: Params, name: str, paths: Paths) -> Results:
    """Read what is known of one case, its data set and those of its external tests.

    Raises:
        UserError: there is no such case, or it has no results.
    """
    params.case(name)
    if missing := first_missing((*_files_of(name, paths), paths.comparisons)):
        raise UserError(
            f"{missing}: does not exist; {name} has to be trained, evaluated, explained and "
            "compared first; run: dvc repro"
        )
    external = {key: test for key, test in params.external.items() if test.case == name}
    used = {params.case(name).view, *(test.view for test in external.values())}
    views = {key: view for key, view in params.views.items() if key in used}
    datasets = {view.dataset for view in views.values()}
    only = {
        "cases": {name: params.case(name)},
        "external": external,
        "views": views,
        "datasets": {key: dataset for key, dataset in params.datasets.items() if key in datasets},
        "comparisons": {},
        "searches": {},
    }
    return load_results(params.model_copy(update=only), paths)


def _load_searches(params: Params, paths: Paths) -> dict[str, Search]:
    """Those that params.yaml names; `compare` leaves out one of a case that has no results."""
    found = _read_all(paths.searches, Search) if paths.searches.exists() else {}
    return {name: search for name, search in found.items() if name in params.searches}


def _without_set_aside(params: Params, searches: Mapping[str, Search]) -> Params:
    """The parameters without the candidates whose test figures are no result, here or elsewhere."""
    aside = {case for found in searches.values() for case in found.set_aside}
    cases = {name: case for name, case in params.cases.items() if name not in aside}
    external = {name: test for name, test in params.external.items() if test.case not in aside}
    return params.model_copy(update={"cases": cases, "external": external})


def _load_external(params: Params, paths: Paths) -> dict[str, ExternalReport]:
    """Those that have results."""
    return {
        name: _read(paths.external(name), ExternalReport)
        for name in params.external
        if paths.external(name).exists()
    }


def _left_out(
    asked: Params, views: Sequence[str], cases: Collection[str], external: Collection[str]
) -> list[str]:
    """Cases on some views, and their external tests, that have no results."""
    on_views = {name for name, case in asked.cases.items() if case.view in views}
    tests = [name for name, test in asked.external.items() if test.case in on_views]
    return [
        *(f"cases.{name}" for name in asked.cases if name in on_views and name not in cases),
        *(f"external.{name}" for name in tests if name not in external),
    ]


def _files_of(case: str, paths: Paths) -> tuple[Path, ...]:
    return (
        paths.case_metrics(case),
        paths.case_report(case),
        paths.cam_scores(case),
        paths.training_facts(case),
        paths.history_epochs(case),
    )


def _load_case(params: Params, name: str, headline: Headline | None, paths: Paths) -> CaseResults:
    case = params.case(name)
    return CaseResults(
        name=name,
        settings=case,
        recipe=params.recipe(case.recipe),
        protocol=params.protocol(case.protocol),
        figures=_read(paths.case_metrics(name), CaseFigures),
        report=_read(paths.case_report(name), CaseReport),
        headline=headline,
        cam=_read(paths.cam_scores(name), CamScores),
        training=_read(paths.training_facts(name), Training),
        epochs=pd.read_csv(paths.history_epochs(name)),
        maps=paths.cam_sheets(name),
    )


def _read_if_there(path: Path) -> pd.DataFrame | None:
    return read_csv(path, str) if path.exists() else None


def _views_of(params: Params, dataset: str) -> list[str]:
    return [name for name, view in params.views.items() if view.dataset == dataset]


def _read(path: Path, document: type[D]) -> D:
    return document.model_validate_json(path.read_bytes())


def _read_all(path: Path, document: type[D]) -> dict[str, D]:
    """A file with an entry per name."""
    return TypeAdapter(dict[str, document]).validate_json(path.read_bytes())  # type: ignore[valid-type]
