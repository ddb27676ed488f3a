"""Measure how much of the label shortcuts alone give away in one view, and what leaks.

Reads:  data/views/<name>/
Writes: metrics/audit/<name>.json, data/audit/<name>.csv (what each probe says of each image)
"""

import json
import logging
from typing import Any

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.audit_report import build_audit_report, tabulate_probe
from stages.evaluation.shortcuts import PROBES, leakage_probabilities, probe_probabilities
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.split import deal_folds

logger = logging.getLogger(__name__)


def audit_view(params: Params, name: str, paths: Paths) -> None:
    """Write the cross-validated figures of every probe, over all splits together."""
    params.view(name)  # an unknown name lists the known ones
    view = load_image_set(paths.view(name))
    folds = params.audit.folds
    _require_groups(view, folds, name)
    labels, groups, images = (
        view.manifest[column].to_numpy(str) for column in ("label", "group_id", "image_id")
    )
    by_group, by_image = (
        deal_folds(labels, units, folds, seed=params.seed) for units in (groups, images)
    )
    said = {
        name: probe_probabilities(probe.features(view), view.targets, by_group)
        for name, probe in PROBES.items()
    }
    leaking = [leakage_probabilities(view, fold_of) for fold_of in (by_image, by_group)]
    report = build_audit_report(
        view,
        said,
        by_group,
        leaking,
        draws=params.evaluate.bootstrap_draws,
        seed=params.seed,
    )
    tables = [tabulate_probe(view, probe, shares) for probe, shares in said.items()]
    _save({"folds": folds, **report}, pd.concat(tables), name, paths)
    for probe, figures in report["probes"].items():
        logger.info("%s: %s alone: auroc %s", name, probe, figures["auroc"])


def _require_groups(view: ImageSet, folds: int, name: str) -> None:
    """Every fold needs a group of every class."""
    groups = view.manifest.groupby("label")["group_id"].nunique()
    if groups.min() < folds:
        raise UserError(
            f"params.yaml: audit.folds: got {folds}, but class {groups.idxmin()!r} of view {name} "
            f"has {groups.min()} groups (patients); allowed here: 2 to {groups.min()}"
        )


def _save(report: dict[str, Any], table: pd.DataFrame, name: str, paths: Paths) -> None:
    for path in (paths.audit(name), paths.audit_predictions(name)):
        path.parent.mkdir(parents=True, exist_ok=True)
    paths.audit(name).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    table.to_csv(paths.audit_predictions(name), index=False)


if __name__ == "__main__":
    run_stage(audit_view, __doc__, section="views")
