"""Measure how much of the label shortcuts alone give away in one view, what leaks, and its lungs.

Reads:  data/views/<name>/, data/metadata/<name>/
Writes: metrics/audit/<name>.json, data/audit/<name>.csv (what each probe says of each image)
"""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.progress import progress
from stages.config.writing import write_csv, write_json
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.metadata import Metadata, load_metadata
from stages.dataset.split import deal_folds
from stages.evaluation.audit_report import build_audit, tabulate_probe
from stages.evaluation.label_errors import look_at_labels
from stages.evaluation.lung_agreement import measure_lungs
from stages.evaluation.metadata_probes import (
    MAJORITY,
    majority_probabilities,
    metadata_p_values,
    metadata_probabilities,
    nothing_told,
)
from stages.evaluation.shortcuts import (
    PROBES,
    FloatArray,
    Shown,
    leakage_probabilities,
    p_values,
    probe_probabilities,
)
from stages.evaluation.statistics.permutation import Permutations, PValues
from stages.evaluation.statistics.records import Bootstrap

logger = logging.getLogger(__name__)

LABEL_PROBE = "whole"  # the probe that sees all of a view, by which labels are looked at


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
    metadata = load_metadata(paths.metadata(name)).of_images(images)
    permutations = Permutations(params.audit.permutations, params.seed)
    said, tests = _ask_probes(shown, metadata, by_group, permutations)
    leaking = [leakage_probabilities(view, fold_of) for fold_of in (by_image, by_group)]
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
    audit = build_audit(view, said, tests, by_group, leaking, bootstrap)
    lungs = measure_lungs(view, bootstrap)
    tables = {probe: tabulate_probe(view, probe, shares) for probe, shares in said.items()}
    look = look_at_labels(tables[LABEL_PROBE], view.info.task, n_images=len(images))
    found = {
        "hidden_share": round(float(shown.hidden.mean()), 6),
        **audit.to_json(),
        "lungs": None if lungs is None else lungs.to_json(),
        "label_errors": look.to_json(),
    }
    write_json(paths.audit(name), {"folds": folds, **found})
    write_csv(paths.audit_predictions(name), pd.concat(tables.values()))
    for probe, figures in audit.probes.items():
        auroc = figures.metrics["auroc"]
        logger.info("%s: %s alone: auroc %s, p %s", name, probe, auroc.value, auroc.p_value)


def _ask_probes(
    shown: Shown,
    metadata: Metadata,
    fold_of: NDArray[np.int64],
    permutations: Permutations,
) -> tuple[dict[str, FloatArray], dict[str, PValues]]:
    """What each probe says of each image, and whether it tells the classes."""
    view, said, tests = shown.view, {}, {}
    for name, probe in progress(PROBES.items(), "probes", len(PROBES)):
        features = probe.features(shown)
        said[name] = probe_probabilities(features, view.targets, fold_of)
        tests[name] = p_values(features, view, fold_of, permutations)
    said |= metadata_probabilities(view, metadata, fold_of)
    tests |= metadata_p_values(view, metadata, fold_of, permutations)
    said[MAJORITY] = majority_probabilities(view.targets, fold_of)
    tests[MAJORITY] = nothing_told(view.info.class_names)
    return said, tests


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
