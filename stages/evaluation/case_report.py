"""Every figure that is made of the predictions of a case."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.config.progress import progress
from stages.dataset.image_set import SPLITS, DatasetInfo
from stages.dataset.predictions import CaseTables, rows_by_run
from stages.dataset.split import find_cut_groups
from stages.dataset.task import Task
from stages.evaluation.calibration import Calibration, RunsCalibration, calibrate_runs
from stages.evaluation.class_calibration import RECALIBRATION
from stages.evaluation.decision_curve import DecisionCurve, build_decision_curve
from stages.evaluation.derived import estimate_with_derived
from stages.evaluation.distributions import Distributions, count_probabilities
from stages.evaluation.error_costs import ErrorCosts, score_errors
from stages.evaluation.labels import LabelFigures, score_labels
from stages.evaluation.metrics import (
    CRITERIA,
    HEADLINE_METRICS,
    compute_metrics,
    metric_requirements,
)
from stages.evaluation.operating_points import RATES, OperatingPoint, judge_runs
from stages.evaluation.scored import Scored, ScoredRun, draw_metrics, score_rows, score_runs
from stages.evaluation.split_report import build_curves, build_split_report, draw_class_balanced
from stages.evaluation.statistics.bootstrap import estimate
from stages.evaluation.statistics.records import (
    Bootstrap,
    Estimate,
    Estimates,
    Flat,
    flatten,
    select,
)
from stages.evaluation.statistics.rounding import rounded

# Of each known stratum (phantoms: with and without the planted marker) the headline gives these.
SUBGROUP_METRICS = ("balanced_accuracy", "auroc", "sensitivity", "specificity")
OCCLUSION_METRICS = ("auroc", "balanced_accuracy")
# For a line of a terminal: how good, how sure, how good without lungs, and by what to choose.
SUMMARY = (
    *("auroc", "auroc_low", "auroc_high", "auroc_lungs_hidden"),
    *("balanced_accuracy", "val_log_loss"),
)
NO_LUNGS = "lungs were found in no test image"


class RunFigures(NamedTuple):
    """Of one run's own test rows."""

    name: str
    fold: int
    seed: int
    n_test: int
    metrics: Estimates


class OccludedFigures(NamedTuple):
    """With a part of every image hidden; images without lungs are left out."""

    n_without_lungs: int
    metrics: Estimates


@dataclass(frozen=True)
class CaseReport:
    """The figures of one case.

    Those of the runs, the calibration and the operating points are always of the single models:
    a temperature and a threshold belong to one model and are chosen on its own val images, which
    models that are averaged do not share. The decision curve is of what the case says: its
    thresholds are those of whoever acts, and are not chosen.

    Attributes:
        task: what is told apart.
        test: every metric of all test rows, and what their errors cost where that is known.
        subgroups: the same of each known stratum of them.
        occlusions: by what is hidden.
        calibration: without and with the temperature of each run.
        operating_points: by name.
        decision_curve: net benefit of the test rows.
        distributions: of their probabilities.
        runs: where there are several; the figures of a single run are those of the case.
        accuracies: of train and val.
        choosing: of val what a search may choose by.
        splits: confusion matrix and figures by class of each split, and of a draw of test images
            with as many of each class.
        curves: class to the points of its curves, of the test rows.
        labels: where classes imply others; else None.
        n_test: test images.
        n_test_groups: patients that they are of.
        n_leaking_groups: groups that the splits cut, of the data set or of a run.
        is_optimistic: whether the protocol makes the figures better than those on new patients.
    """

    task: Task
    test: Estimates
    subgroups: Mapping[str, Estimates]
    occlusions: Mapping[str, OccludedFigures]
    calibration: RunsCalibration
    operating_points: Mapping[str, OperatingPoint]
    decision_curve: DecisionCurve
    distributions: Distributions
    runs: Sequence[RunFigures]
    accuracies: Mapping[str, float | None]
    choosing: Flat
    splits: Mapping[str, dict[str, Any]]
    curves: Mapping[str, Any]
    labels: Mapping[str, LabelFigures] | None
    n_test: int
    n_test_groups: int
    n_leaking_groups: int
    is_optimistic: bool

    def headline(self) -> dict[str, float | int | None]:
        """The flat figures, as metrics/cases has them."""
        return {
            **self._flat().values,
            **{f"{split}_accuracy": value for split, value in self.accuracies.items()},
            **self.choosing.values,
            "ece": self.calibration.before.ece,
            "ece_calibrated": self.calibration.after.ece,
            "classwise_ece": self.calibration.before.classwise_ece,
            "classwise_ece_calibrated": self.calibration.after.classwise_ece,
            "n_test": self.n_test,
            "n_test_groups": self.n_test_groups,
            "n_runs": max(1, len(self.runs)),
            "n_leaking_groups": self.n_leaking_groups,
            "optimistic": self.is_optimistic,
        }

    def summary(self) -> dict[str, float | int | None]:
        """The few flat figures that fit on a line, as metrics/summary has them."""
        figures = self.headline()
        return {name: figures[name] for name in SUMMARY}

    def to_json(self) -> dict[str, Any]:
        """All that is not flat, and why flat figures have no value, as metrics/reports has it."""
        content: dict[str, Any] = {"positive": self.task.positive_name}
        content["optimistic"] = self.is_optimistic
        content |= {split: dict(report) for split, report in self.splits.items()}
        undefined = self._flat().undefined | self.choosing.undefined
        content["test"] |= {"undefined": undefined, "curves": self.curves}
        content["test"]["probabilities"] = self.distributions.to_json()
        content["test_subgroups"] = {
            stratum: _metrics_json(metrics) for stratum, metrics in self.subgroups.items()
        }
        content["calibration"] = self.calibration.to_json()
        content["operating_points"] = {
            name: point.to_json() for name, point in self.operating_points.items()
        }
        content["decision_curve"] = self.decision_curve.to_json()
        content["occlusion"] = {
            name: {"n_without_lungs": found.n_without_lungs, **_metrics_json(found.metrics)}
            for name, found in self.occlusions.items()
        }
        if self.runs:
            content["runs"] = [
                run._asdict() | _metrics_json(select(run.metrics, HEADLINE_METRICS))
                for run in self.runs
            ]
        if self.labels is not None:
            content["labels"] = {name: found.to_json() for name, found in self.labels.items()}
        return content

    def _flat(self) -> Flat:
        positive = self.task.positive_name
        parts = {
            **_recalibration(self.calibration.before, positive),
            **_recalibration(self.calibration.after, positive, "_calibrated"),
            **select(self.calibration.after.losses, ("log_loss", "brier"), "_calibrated"),
            **_of_each(
                {name: point.test.figures for name, point in self.operating_points.items()}, RATES
            ),
            **_of_each(
                {name: found.metrics for name, found in self.occlusions.items()}, OCCLUSION_METRICS
            ),
            **_of_each(self.subgroups, SUBGROUP_METRICS),
        }
        return Flat.merge(flatten(self.test), _over_runs(self.runs), flatten(parts))


def build_case_report(
    tables: CaseTables,
    info: DatasetInfo,
    prevalences: Sequence[float],
    bootstrap: Bootstrap,
    *,
    errors: ErrorCosts,
    is_optimistic: bool,
) -> CaseReport:
    """Compute every figure.

    Args:
        tables: what the case says.
        info: classes of the data set, what they imply, and what leaks.
        prevalences: at which predictive values and net benefit are stated.
        bootstrap: behind every interval; its seed makes the class-balanced draw as well.
        errors: what is known of the errors of the data set.
        is_optimistic: whether the protocol is, `Protocol.is_optimistic`.
    """
    task = info.task
    by_split = {split: tables.whole[tables.whole["split"] == split] for split in SPLITS}
    test, runs = by_split["test"], score_runs(tables.runs, task)
    scored = score_rows(test, task)
    truth, said = np.asarray(scored.y_true), np.asarray(scored.probabilities)
    balanced = test.iloc[draw_class_balanced(truth, seed=bootstrap.seed)]
    n_test = int(test["image_id"].nunique())
    return CaseReport(
        task=task,
        test=_score_whole(scored, errors, task, bootstrap),
        subgroups=_score_strata(test, task, bootstrap),
        occlusions={
            name: _score_occluded(rows, n_test, task, bootstrap)
            for name, rows in tables.occluded.items()
        },
        calibration=calibrate_runs(runs, task, bootstrap),
        operating_points=judge_runs(runs, task, prevalences, bootstrap),
        decision_curve=build_decision_curve(scored, task, prevalences, bootstrap),
        distributions=count_probabilities(truth, said, task.class_names),
        runs=_score_apart(runs, task, bootstrap) if len(runs) > 1 else [],
        accuracies={split: _accuracy(by_split[split]) for split in ("train", "val")},
        choosing=_score_choosing(by_split["val"], task),
        splits={
            name: _describe_split(rows, task)
            for name, rows in {**by_split, "test_balanced": balanced}.items()
        },
        curves=build_curves(truth, said, task.class_names),
        labels=score_labels(test, info) if info.implies else None,
        n_test=n_test,
        n_test_groups=int(test["group_id"].nunique()),
        n_leaking_groups=len({*info.leakage, *_groups_cut_by_runs(tables.runs)}),
        is_optimistic=is_optimistic,
    )


def _score_whole(
    scored: Scored, errors: ErrorCosts, task: Task, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    """Every metric of all test rows, and what their errors cost."""
    metrics = estimate_with_derived(draw_metrics(scored, task, bootstrap), task)
    return {**metrics, **score_errors(scored, errors, bootstrap)}


def _score_apart(runs: Sequence[ScoredRun], task: Task, bootstrap: Bootstrap) -> list[RunFigures]:
    """The metrics of each run's own test rows."""
    return [
        RunFigures(
            *run[:3],
            len(np.asarray(run.test.y_true)),
            estimate(draw_metrics(run.test, task, bootstrap)),
        )
        for run in progress(runs, "runs, one by one", len(runs))
    ]


def _groups_cut_by_runs(run_table: pd.DataFrame) -> set[str]:
    """Groups with images in two splits of a run; an image that is val and test is of one."""
    return {
        group
        for rows in rows_by_run(run_table).values()
        for own in [rows.drop_duplicates("image_id")]
        for group in find_cut_groups(own["group_id"].to_numpy(str), own["split"].to_numpy(str))
    }


def _score_strata(test: pd.DataFrame, task: Task, bootstrap: Bootstrap) -> dict[str, Estimates]:
    """The metrics of each known stratum of the test rows."""
    strata = [str(name) for name in np.unique(test["subgroup"].to_numpy(str)) if name]
    return {
        stratum: estimate(
            draw_metrics(score_rows(test[test["subgroup"] == stratum], task), task, bootstrap)
        )
        for stratum in strata
    }


def _score_occluded(
    rows: pd.DataFrame, n_test: int, task: Task, bootstrap: Bootstrap
) -> OccludedFigures:
    if len(rows):
        metrics = estimate(draw_metrics(score_rows(rows, task), task, bootstrap))
    else:
        metrics = dict.fromkeys(metric_requirements(task), Estimate(None, why_undefined=NO_LUNGS))
    return OccludedFigures(n_test - int(rows["image_id"].nunique()), metrics)


def _accuracy(rows: pd.DataFrame) -> float | None:
    return rounded(float((rows["prediction"] == rows["label"]).mean()))


def _score_choosing(val: pd.DataFrame, task: Task) -> Flat:
    """The figures of the validation rows, of every run, that a search may choose by."""
    figures = compute_metrics(*score_rows(val, task)[:3], task)
    values = {f"val_{metric}": rounded(float(figures[metric][0])) for metric in CRITERIA}
    needs = metric_requirements(task)
    reasons = {
        f"val_{metric}": f"needs {needs[metric]}"
        for metric in CRITERIA
        if values[f"val_{metric}"] is None
    }
    return Flat(values, reasons)


def _describe_split(rows: pd.DataFrame, task: Task) -> dict[str, Any]:
    scored = score_rows(rows, task)
    return build_split_report(
        np.asarray(scored.y_true), np.asarray(scored.predictions), task.class_names
    )


def _metrics_json(metrics: Estimates) -> dict[str, Any]:
    flat = flatten(metrics)
    return {"metrics": flat.values, "undefined": flat.undefined}


def _recalibration(found: Calibration, positive: str, suffix: str = "") -> dict[str, Estimate]:
    """Intercept and slope of the positive class."""
    return select(found.classes[positive].figures, RECALIBRATION, suffix)


def _of_each(parts: Mapping[str, Estimates], metrics: Sequence[str]) -> dict[str, Estimate]:
    """Some metrics of each part as `<metric>_<part>`."""
    return {
        name: found
        for part, estimates in parts.items()
        for name, found in select(estimates, metrics, f"_{part}").items()
    }


def _over_runs(runs: Sequence[RunFigures]) -> Flat:
    """Mean and sample standard deviation over the runs; nothing where there are none."""
    summary = Flat({}, {})
    if not runs:
        return summary
    for metric in HEADLINE_METRICS:
        values = [run.metrics[metric].value for run in runs]
        known = [value for value in values if value is not None]
        for name, compute in (("run_mean", statistics.mean), ("run_sd", statistics.stdev)):
            key = f"{metric}_{name}"
            if len(known) == len(values):
                summary.values[key] = rounded(compute(known))
            else:
                summary.values[key] = None
                summary.undefined[key] = (
                    f"{metric} is undefined in {len(values) - len(known)} of {len(values)} runs"
                )
    return summary
