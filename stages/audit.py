"""Measure how much of the label shortcuts alone give away in one view, and what leaks.

Reads:  data/views/<name>/
Writes: metrics/audit/<name>.json, data/audit/<name>.csv (what each probe says of each image)
"""

import logging

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_csv, write_json
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.split import deal_folds
from stages.evaluation.audit_report import build_audit, tabulate_probe
from stages.evaluation.shortcuts import (
    PROBES,
    Shown,
    leakage_probabilities,
    p_values,
    probe_probabilities,
)
from stages.evaluation.statistics.permutation import Permutations
from stages.evaluation.statistics.records import Bootstrap

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
    shown = Shown(view)
    features = {name: probe.features(shown) for name, probe in PROBES.items()}
    said = {
        name: probe_probabilities(rows, view.targets, by_group) for name, rows in features.items()
    }
    permutations = Permutations(params.audit.permutations, params.seed)
    tests = {name: p_values(rows, view, by_group, permutations) for name, rows in features.items()}
    leaking = [leakage_probabilities(view, fold_of) for fold_of in (by_image, by_group)]
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
    audit = build_audit(view, said, tests, by_group, leaking, bootstrap)
    hidden = round(float(shown.hidden.mean()), 6)
    write_json(paths.audit(name), {"folds": folds, "hidden_share": hidden, **audit.to_json()})
    tables = [tabulate_probe(view, probe, shares) for probe, shares in said.items()]
    write_csv(paths.audit_predictions(name), pd.concat(tables))
    for probe, figures in audit.probes.items():
        auroc = figures.metrics["auroc"]
        logger.info("%s: %s alone: auroc %s, p %s", name, probe, auroc.value, auroc.p_value)


def _require_groups(view: ImageSet, folds: int, name: str) -> None:
    """Every fold needs a group of every class."""
    groups = view.manifest.groupby("label")["group_id"].nunique()
    if groups.min() < folds:
        raise UserError(
            f"params.yaml: audit.folds: got {folds}, but class {groups.idxmin()!r} of view {name} "
            f"has {groups.min()} groups (patients); allowed here: 2 to {groups.min()}"
        )


if __name__ == "__main__":
    run_stage(audit_view, __doc__, section="views")
