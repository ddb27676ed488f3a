"""Every figure that is made of the predictions table of a case."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.evaluation.intervals import MetricTable, metrics_with_intervals
from stages.evaluation.metrics import HEADLINE_METRICS, compute_metrics, metric_requirements
from stages.evaluation.prediction_table import DECIMALS, score_rows
from stages.evaluation.split_report import build_curves, build_split_report, draw_class_balanced
from stages.imaging.image_set import SPLITS, DatasetInfo
from stages.imaging.runs import column_name

ENDS = ("", "_low", "_high")

# Of each known stratum (phantoms: with and without the planted marker) the headline gives these.
SUBGROUP_METRICS = ("balanced_accuracy", "auroc", "sensitivity", "specificity")
# Of each label, present or absent, where classes imply others.
LABEL_METRICS = ("sensitivity", "specificity", "auroc")


@dataclass(frozen=True)
class _RunFigures:
    """One run's metrics on its own test images."""

    fold: int
    seed: int
    n_test: int
    table: MetricTable


class CaseReport:
    """The figures of one case; those of the runs are always of the single models."""

    def __init__(
        self,
        table: pd.DataFrame,
        run_table: pd.DataFrame,
        info: DatasetInfo,
        *,
        draws: int,
        seed: int,
    ) -> None:
        """Compute what both JSON files share.

        Args:
            table: what the case says: the runs' rows, or with their test rows averaged.
            run_table: the runs' rows, one per image and run.
            info: classes of the data set.
            draws: bootstrap draws behind every interval.
            seed: of these draws, and of the class-balanced draw.
        """
        self._table = table
        self._info = info
        self._draws = draws
        self._seed = seed
        self._test = self.metrics(self._rows("test"))
        self._subgroups = self._subgroup_metrics()
        self._runs = self._run_figures(run_table)
        self._over_runs = _over_runs([figures.table for figures in self._runs])

    def metrics(self, rows: pd.DataFrame) -> MetricTable:
        """Every metric of some rows, with its interval."""
        return metrics_with_intervals(
            score_rows(rows, self._info),
            class_names=self._info.class_names,
            positive=self._info.positive_index,
            draws=self._draws,
            seed=self._seed,
        )

    def headline(self) -> dict[str, float | int | None]:
        """The flat figures: of all test rows together, over the runs, by subgroup."""
        flat: dict[str, float | int | None] = dict(self._test.values)
        flat |= self._over_runs.values
        for split in ("train", "val"):
            rows = self._rows(split)
            hits = rows["prediction"] == rows["label"]
            flat[f"{split}_accuracy"] = round(float(hits.mean()), DECIMALS)
        flat["n_test"] = int(self._rows("test")["image_id"].nunique())
        flat["n_runs"] = max(1, len(self._runs))
        for stratum, table in self._subgroups.items():
            for metric in SUBGROUP_METRICS:
                for end in ENDS:
                    flat[f"{metric}_{stratum}{end}"] = table.values[metric + end]
        return flat

    def reports(self) -> dict[str, Any]:
        """Confusion matrices and classification reports by split, curves, runs, labels."""
        test = self._rows("test")
        scored = score_rows(test, self._info)
        balanced = draw_class_balanced(np.asarray(scored.y_true), seed=self._seed)
        reports: dict[str, Any] = {split: self._split_report(self._rows(split)) for split in SPLITS}
        reports["test_balanced"] = self._split_report(test.iloc[balanced])
        reports["test"]["undefined"] = self._test.undefined | self._over_runs.undefined
        reports["test"]["curves"] = build_curves(
            np.asarray(scored.y_true), np.asarray(scored.probabilities), self._info.class_names
        )
        reports["test_subgroups"] = {
            stratum: {"metrics": table.values, "undefined": table.undefined}
            for stratum, table in self._subgroups.items()
        }
        if self._runs:
            reports["runs"] = [_run_report(figures) for figures in self._runs]
        if self._info.implies:
            reports["labels"] = label_figures(test, self._info)
        return reports

    def _rows(self, split: str) -> pd.DataFrame:
        return self._table[self._table["split"] == split]

    def _split_report(self, rows: pd.DataFrame) -> dict[str, Any]:
        scored = score_rows(rows, self._info)
        return build_split_report(
            np.asarray(scored.y_true), np.asarray(scored.predictions), self._info.class_names
        )

    def _subgroup_metrics(self) -> dict[str, MetricTable]:
        """The metrics of each known stratum of the test rows."""
        test = self._rows("test")
        strata = [stratum for stratum in np.unique(test["subgroup"].to_numpy(str)) if stratum]
        return {str(stratum): self.metrics(test[test["subgroup"] == stratum]) for stratum in strata}

    def _run_figures(self, run_table: pd.DataFrame) -> list[_RunFigures]:
        """Of each of several runs; none of a single one, whose figures are those of the case."""
        test = run_table[run_table["split"] == "test"]
        runs = list(test[["fold", "seed"]].drop_duplicates().itertuples(index=False, name=None))
        if len(runs) == 1:
            return []
        figures = []
        for fold, seed in runs:
            rows = test[(test["fold"] == fold) & (test["seed"] == seed)]
            figures.append(_RunFigures(int(fold), int(seed), len(rows), self.metrics(rows)))
        return figures


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


def _run_report(figures: _RunFigures) -> dict[str, Any]:
    names = [f"{metric}{end}" for metric in HEADLINE_METRICS for end in ENDS]
    return {
        "name": column_name(figures.fold, figures.seed),
        "fold": figures.fold,
        "seed": figures.seed,
        "n_test": figures.n_test,
        "metrics": {name: figures.table.values[name] for name in names},
        "undefined": {
            name: reason for name, reason in figures.table.undefined.items() if name in names
        },
    }


def label_figures(rows: pd.DataFrame, info: DatasetInfo) -> dict[str, dict[str, Any]]:
    """What is said of each label where classes imply others: present against absent.

    A label is present where the true class or one that it implies is that label. Its probability
    is the sum of those of the classes that carry it, its decision that of the predicted class.

    Args:
        rows: of a predictions table; one true class each.
        info: class names and what they imply.

    Returns:
        Label to `n_positive` and LABEL_METRICS; None where undefined, with the reason.
    """
    scored = score_rows(rows, info)
    truth, decided = (
        info.label_patterns[np.asarray(classes)] for classes in (scored.y_true, scored.predictions)
    )
    # Six decimals each: a sum of them can leave 1 behind by a few millionths.
    shares = np.clip(np.asarray(scored.probabilities) @ info.label_patterns, 0, 1)  # (n, K)
    return {
        label: _binary_figures(truth[:, k], shares[:, k], decided[:, k])
        for k, label in enumerate(info.class_names)
    }


def _binary_figures(
    truth: NDArray[np.bool_], share: NDArray[np.float64], decided: NDArray[np.bool_]
) -> dict[str, Any]:
    names = ("absent", "present")
    values = compute_metrics(
        truth.astype(np.int64),
        np.column_stack((1 - share, share)),
        decided.astype(np.int64),
        class_names=names,
        positive=1,
    )
    needs = metric_requirements(names, 1)
    missing = [name for name in LABEL_METRICS if np.isnan(values[name][0])]
    return {
        "n_positive": int(truth.sum()),
        **{
            name: None if name in missing else round(float(values[name][0]), DECIMALS)
            for name in LABEL_METRICS
        },
        "undefined": {name: f"needs {needs[name]}" for name in missing},
    }
