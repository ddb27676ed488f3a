"""Measure how much of the label shortcuts alone give away in one view.

Reads:  data/views/<name>/
Writes: metrics/audit/<name>.json
"""

import json
import logging

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.intervals import Scored, metrics_with_intervals
from stages.evaluation.shortcuts import PROBES, probe_probabilities
from stages.imaging.image_set import ImageSet, load_image_set

logger = logging.getLogger(__name__)

REPORTED = ("auroc", "balanced_accuracy")


def audit_view(params: Params, name: str, paths: Paths) -> None:
    """Write the cross-validated figures of every probe, over all splits together."""
    params.view(name)  # an unknown name lists the known ones
    view = load_image_set(paths.view(name))
    _require_groups(view, params.audit.folds, name)
    probes = {probe: _probe(view, probe, params) for probe in PROBES}
    report = {"n": len(view.manifest), "folds": params.audit.folds, "probes": probes}
    path = paths.audit(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for probe, figures in probes.items():
        logger.info("%s: %s alone: auroc %s", name, probe, figures["auroc"])


def _probe(view: ImageSet, probe: str, params: Params) -> dict[str, float | None]:
    group_ids = view.manifest["group_id"].to_numpy()
    probabilities = probe_probabilities(
        PROBES[probe](view),
        view.targets,
        group_ids,
        folds=params.audit.folds,
        seed=params.seed,
    )
    table = metrics_with_intervals(
        Scored(view.targets, probabilities, probabilities.argmax(axis=1), group_ids),
        class_names=view.info.class_names,
        positive=view.info.positive_index,
        draws=params.evaluate.bootstrap_draws,
        seed=params.seed,
    )
    return {f"{m}{s}": table.values[f"{m}{s}"] for m in REPORTED for s in ("", "_low", "_high")}


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
