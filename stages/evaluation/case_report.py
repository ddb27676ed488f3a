"""Every figure that is made of the predictions table of a case."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.evaluation.calibration import calibrate_runs
from stages.evaluation.intervals import ENDS, MetricTable, metrics_with_intervals
from stages.evaluation.scored import Scored
from stages.evaluation.metrics import HEADLINE_METRICS, metric_requirements
from stages.evaluation.operating_points import describe_operating_points
from stages.dataset.predictions import DECIMALS
from stages.evaluation.scored import ScoredRun, score_rows, score_runs
from stages.evaluation.split_report import (
    build_curves,
    build_split_report,
    draw_class_balanced,
    label_figures,
)
from stages.dataset.image_set import SPLITS, DatasetInfo

# Of each known stratum (phantoms: with and without the planted marker) the headline gives these.
SUBGROUP_METRICS = ("balanced_accuracy", "auroc", "sensitivity", "specificity")
OCCLUSION_METRICS = ("auroc", "balanced_accuracy")


class CaseReport:
    """The figures of one case.

    Those of the runs, the calibration and the operating points are always of the single models:
    a temperature and a threshold belong to one model and are chosen on its own val images, which
    models that are averaged do not share.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        run_table: pd.DataFrame,
        occluded: Mapping[str, pd.DataFrame],
        info: DatasetInfo,
        *,
        prevalences: Sequence[float],
        draws: int,
        seed: int,
    ) -> None:
        """Compute what both JSON files share.

        Args:
            table: what the case says: the runs' rows, or with their test rows averaged.
            run_table: the runs' rows, one per image and run.
            occluded: occlusion to what the case says of the test images in which lungs were
                found, with that part of them hidden.
            info: classes of the data set.
            prevalences: at which predictive values are stated.
            draws: bootstrap draws behind every interval.
            seed: of these draws, and of the class-balanced draw.
        """
        self._table = table
        self._info = info
        self._draws = draws
        self._seed = seed
        self._occluded = occluded
        self._test = self._metrics(score_rows(self._rows("test"), info))
        self._subgroups = self._subgroup_metrics()
        self._occlusions = {name: self._occlusion_metrics(rows) for name, rows in occluded.items()}
        runs = score_runs(run_table, info)
        positive = info.positive_index
        self._calibration = calibrate_runs(runs, positive=positive, draws=draws, seed=seed)
        self._operating_points = describe_operating_points(
            runs,
            info.class_names,
            positive=positive,
            prevalences=prevalences,
            draws=draws,
            seed=seed,
        )
        # The figures of a single run are those of the case.
        self._runs = [(run, self._metrics(run.test)) for run in runs] if len(runs) > 1 else []
        self._over_runs = _over_runs([metrics for _, metrics in self._runs])

    def headline(self) -> dict[str, float | int | None]:
        """The flat figures: of all test rows together, over the runs, by subgroup and so on."""
        flat: dict[str, float | int | None] = {}
        for table in self._headline_tables():
            flat |= table.values
        for split in ("train", "val"):
            rows = self._rows(split)
            hits = rows["prediction"] == rows["label"]
            flat[f"{split}_accuracy"] = round(float(hits.mean()), DECIMALS)
        flat["ece"] = self._calibration["before"]["ece"]
        flat["ece_calibrated"] = self._calibration["after"]["ece"]
        flat["n_test"] = self._n_test()
        flat["n_runs"] = max(1, len(self._runs))
        flat["n_leaking_groups"] = len(self._info.leakage)
        return flat

    def reports(self) -> dict[str, Any]:
        """Confusion matrices and classification reports by split, and all that is not flat."""
        test = self._rows("test")
        scored = score_rows(test, self._info)
        balanced = draw_class_balanced(np.asarray(scored.y_true), seed=self._seed)
        reports: dict[str, Any] = {split: self._split_report(self._rows(split)) for split in SPLITS}
        reports["test_balanced"] = self._split_report(test.iloc[balanced])
        reports["test"]["undefined"] = {
            name: reason
            for table in self._headline_tables()
            for name, reason in table.undefined.items()
        }
        reports["test"]["curves"] = build_curves(
            np.asarray(scored.y_true), np.asarray(scored.probabilities), self._info.class_names
        )
        reports["test_subgroups"] = {
            stratum: {"metrics": table.values, "undefined": table.undefined}
            for stratum, table in self._subgroups.items()
        }
        reports["calibration"] = self._calibration
        reports["operating_points"] = self._operating_points
        reports["occlusion"] = self._occlusion_report()
        if self._runs:
            reports["runs"] = [_run_report(run, metrics) for run, metrics in self._runs]
        if self._info.implies:
            reports["labels"] = label_figures(test, self._info)
        return reports

    def _rows(self, split: str) -> pd.DataFrame:
        return self._table[self._table["split"] == split]

    def _n_test(self) -> int:
        return int(self._rows("test")["image_id"].nunique())

    def _metrics(self, scored: Scored) -> MetricTable:
        """Every metric of some rows, with its interval."""
        return metrics_with_intervals(
            scored,
            class_names=self._info.class_names,
            positive=self._info.positive_index,
            draws=self._draws,
            seed=self._seed,
        )

    def _subgroup_metrics(self) -> dict[str, MetricTable]:
        """The metrics of each known stratum of the test rows."""
        test = self._rows("test")
        strata = [str(name) for name in np.unique(test["subgroup"].to_numpy(str)) if name]
        return {
            stratum: self._metrics(score_rows(test[test["subgroup"] == stratum], self._info))
            for stratum in strata
        }

    def _occlusion_metrics(self, rows: pd.DataFrame) -> MetricTable:
        if len(rows):
            return self._metrics(score_rows(rows, self._info))
        metrics = metric_requirements(self._info.class_names, self._info.positive_index)
        names = [metric + end for metric in metrics for end in ENDS]
        reason = "lungs were found in no test image"
        return MetricTable(dict.fromkeys(names), dict.fromkeys(names, reason))

    def _headline_tables(self) -> list[MetricTable]:
        """What the flat figures have an interval, a mean or a reason of."""
        calibrated = self._calibration["after"]
        return [
            self._test,
            self._over_runs,
            _rename(calibrated, calibrated["undefined"], ("log_loss", "brier"), "calibrated"),
            *(
                _rename(figures["test"], figures["undefined"], ("sensitivity", "specificity"), name)
                for name, figures in self._operating_points.items()
            ),
            *(_rename(*table, OCCLUSION_METRICS, name) for name, table in self._occlusions.items()),
            *(_rename(*table, SUBGROUP_METRICS, name) for name, table in self._subgroups.items()),
        ]

    def _occlusion_report(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "n_without_lungs": self._n_test() - int(self._occluded[name]["image_id"].nunique()),
                "metrics": table.values,
                "undefined": table.undefined,
            }
            for name, table in self._occlusions.items()
        }

    def _split_report(self, rows: pd.DataFrame) -> dict[str, Any]:
        scored = score_rows(rows, self._info)
        return build_split_report(
            np.asarray(scored.y_true), np.asarray(scored.predictions), self._info.class_names
        )


def _rename(
    values: Mapping[str, Any], undefined: Mapping[str, str], metrics: Sequence[str], name: str
) -> MetricTable:
    """Some metrics and the ends of their intervals as `<metric>_<name>`."""
    keys = {metric + end: f"{metric}_{name}{end}" for metric in metrics for end in ENDS}
    return MetricTable(
        {key: values[old] for old, key in keys.items()},
        {key: undefined[old] for old, key in keys.items() if old in undefined},
    )


def _over_runs(tables: Sequence[MetricTable]) -> MetricTable:
    """Mean and sample standard deviation over the runs; nothing where there are none."""
    summary = MetricTable({}, {})
    if not tables:
        return summary
    for metric in HEADLINE_METRICS:
        values = [table.values[metric] for table in tables]
        known = [value for value in values if value is not None]
        for name, compute in (("run_mean", statistics.mean), ("run_sd", statistics.stdev)):
            key = f"{metric}_{name}"
            if len(known) == len(values):
                summary.values[key] = round(compute(known), DECIMALS)
            else:
                summary.values[key] = None
                summary.undefined[key] = (
                    f"{metric} is undefined in {len(values) - len(known)} of {len(values)} runs"
                )
    return summary


def _run_report(run: ScoredRun, metrics: MetricTable) -> dict[str, Any]:
    names = [f"{metric}{end}" for metric in HEADLINE_METRICS for end in ENDS]
    return {
        "name": run.name,
        "fold": run.fold,
        "seed": run.seed,
        "n_test": len(np.asarray(run.test.y_true)),
        "metrics": {name: metrics.values[name] for name in names},
        "undefined": {name: reason for name, reason in metrics.undefined.items() if name in names},
    }
