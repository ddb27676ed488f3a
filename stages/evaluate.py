"""Score one case on its train, validation and test images.

Reads:  data/views/<view>/, data/weights/<case>/
Writes: data/predictions/<case>.csv, metrics/cases/<case>.json, metrics/reports/<case>.json
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.intervals import MetricTable, Predictions, metrics_with_intervals
from stages.evaluation.predict import predict_probabilities
from stages.evaluation.split_report import build_curves, build_split_report, draw_class_balanced
from stages.imaging.image_set import SPLITS, ImageSet, load_image_set
from stages.modeling.checkpoint import load_classifier, outputs_of
from stages.modeling.compute import choose_hardware

logger = logging.getLogger(__name__)

# Of each known stratum (phantoms: with and without the planted marker) the headline gives these.
SUBGROUP_METRICS = ("balanced_accuracy", "auroc", "sensitivity", "specificity")


def evaluate_case(params: Params, name: str, paths: Paths) -> None:
    """Write predictions, headline figures and reports of one case."""
    view = load_image_set(paths.view(params.case(name).view))
    classifier, meta = load_classifier(paths.weights(name))
    device = choose_hardware(params.compute).device
    probabilities = predict_probabilities(classifier, outputs_of(meta), view.images, device=device)
    scorer = _Scorer(view, probabilities.round(6), params.evaluate.bootstrap_draws, params.seed)
    paths.predictions(name).parent.mkdir(parents=True, exist_ok=True)
    scorer.predictions_table().to_csv(paths.predictions(name), index=False)
    test = scorer.metrics(view.rows("test"))
    subgroups = scorer.subgroup_metrics()
    _write_json(paths.case_metrics(name), scorer.headline(test, subgroups))
    _write_json(paths.case_report(name), scorer.reports(test, subgroups))
    logger.info(
        "%s: test accuracy %s, auroc %s", name, test.values["accuracy"], test.values["auroc"]
    )


class _Scorer:
    """The predictions of one case, and every figure made of them."""

    def __init__(
        self, view: ImageSet, probabilities: NDArray[np.float64], draws: int, seed: int
    ) -> None:
        self._view = view
        self._probabilities = probabilities
        self._predictions = probabilities.argmax(axis=1)
        self._draws = draws
        self._seed = seed

    def predictions_table(self) -> pd.DataFrame:
        """One row per image, labels as class names."""
        names = np.array(self._view.info.class_names)
        columns = ["image_id", "group_id", "split", "subgroup", "label"]
        table = self._view.manifest[columns].assign(prediction=names[self._predictions])
        for number, name in enumerate(names):
            table[f"prob_{name}"] = self._probabilities[:, number]
        return table

    def metrics(self, rows: NDArray[np.int64]) -> MetricTable:
        """Every metric of some images, with its interval."""
        info = self._view.info
        return metrics_with_intervals(
            self._view.targets[rows],
            Predictions(self._probabilities[rows], self._predictions[rows]),
            self._view.manifest["group_id"].to_numpy()[rows],
            class_names=info.class_names,
            positive=info.positive_index,
            draws=self._draws,
            seed=self._seed,
        )

    def subgroup_metrics(self) -> dict[str, MetricTable]:
        """The metrics of each known stratum of the test images."""
        test = self._view.rows("test")
        of_image = self._view.manifest["subgroup"].to_numpy()[test]
        strata = [stratum for stratum in np.unique(of_image) if stratum]
        return {stratum: self.metrics(test[of_image == stratum]) for stratum in strata}

    def headline(
        self, test: MetricTable, subgroups: dict[str, MetricTable]
    ) -> dict[str, float | int | None]:
        """The flat figures."""
        flat: dict[str, float | int | None] = dict(test.values)
        for split in ("train", "val"):
            rows = self._view.rows(split)
            hits = self._predictions[rows] == self._view.targets[rows]
            flat[f"{split}_accuracy"] = round(float(hits.mean()), 6)
        flat["n_test"] = len(self._view.rows("test"))
        for stratum, table in subgroups.items():
            for metric in SUBGROUP_METRICS:
                for suffix in ("", "_low", "_high"):
                    flat[f"{metric}_{stratum}{suffix}"] = table.values[metric + suffix]
        return flat

    def reports(self, test: MetricTable, subgroups: dict[str, MetricTable]) -> dict[str, Any]:
        """Confusion matrices and classification reports by split, curves, what is undefined."""
        rows = {split: self._view.rows(split) for split in SPLITS}
        balanced = draw_class_balanced(self._view.targets[rows["test"]], seed=self._seed)
        rows["test_balanced"] = rows["test"][balanced]
        reports: dict[str, Any] = {split: self._report(r) for split, r in rows.items()}
        reports["test"]["undefined"] = test.undefined
        reports["test"]["curves"] = build_curves(
            self._view.targets[rows["test"]],
            self._probabilities[rows["test"]],
            self._view.info.class_names,
        )
        reports["test_subgroups"] = {
            stratum: {"metrics": table.values, "undefined": table.undefined}
            for stratum, table in subgroups.items()
        }
        return reports

    def _report(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        names = self._view.info.class_names
        return build_split_report(self._view.targets[rows], self._predictions[rows], names)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(evaluate_case, __doc__, section="cases")
