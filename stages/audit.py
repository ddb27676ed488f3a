"""Measure how much of the label shortcuts alone give away in one view, and what leakage would add.

Reads:  data/views/<name>/
Writes: data/audit/<name>.csv, metrics/audit/<name>.json
"""

import json
import logging

import pandas as pd

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.shortcuts import (
    PROBES,
    best_shortcut,
    describe_probe,
    measure_leakage_gap,
    tabulate_probe,
)
from stages.imaging.image_set import ImageSet, load_image_set

logger = logging.getLogger(__name__)


def audit_view(params: Params, name: str, paths: Paths) -> None:
    """Write what every probe says of each image, out of fold, and the figures of it all."""
    params.view(name)  # an unknown name lists the known ones
    view = load_image_set(paths.view(name))
    folds, seed, draws = params.audit.folds, params.seed, params.evaluate.bootstrap_draws
    _require_groups(view, folds, name)
    tables = {probe: tabulate_probe(view, probe, folds=folds, seed=seed) for probe in PROBES}
    probes = {
        probe: {"kind": PROBES[probe].kind}
        | describe_probe(rows, view.info, draws=draws, seed=seed)
        for probe, rows in tables.items()
    }
    report = {
        "n": len(view.manifest),
        "n_groups": int(view.manifest["group_id"].nunique()),
        "folds": folds,
        "probes": probes,
        "best_shortcut": best_shortcut(probes),
        "leakage_gap": measure_leakage_gap(view, folds=folds, draws=draws, seed=seed),
    }
    for path in (paths.audit(name), paths.audit_predictions(name)):
        path.parent.mkdir(parents=True, exist_ok=True)
    paths.audit(name).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    pd.concat(tables.values()).to_csv(paths.audit_predictions(name), index=False)
    for probe, figures in probes.items():
        logger.info("%s: %s alone: auroc %s", name, probe, figures["auroc"])


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
