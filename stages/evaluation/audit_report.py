"""What is said of the probes of one view: figures of each, the best shortcut, the leakage gap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.evaluation.intervals import DECIMALS, ENDS, fold_interval, metrics_with_intervals, paired_difference
from stages.evaluation.scored import Scored
from stages.evaluation.metrics import compute_metrics
from stages.dataset.predictions import with_probabilities
from stages.evaluation.shortcuts import MEMORISER, PROBES
from stages.dataset.image_set import DatasetInfo, ImageSet

Json = dict[str, Any]
FloatArray = NDArray[np.float64]
REPORTED = ("auroc", "balanced_accuracy")


def build_audit_report(
    view: ImageSet,
    said: Mapping[str, FloatArray],
    fold_of: NDArray[np.int64],
    leaking: Sequence[FloatArray],
    *,
    draws: int,
    seed: int,
) -> Json:
    """Figures with intervals.

    Args:
        view: N images.
        said: probe to its (N, K) out-of-fold probabilities.
        fold_of: (N,) fold of each image, whole groups.
        leaking: those of the model that memorises, split by image and split by group.
        draws: bootstrap draws behind the intervals of the leakage gap.
        seed: of these draws.

    Returns:
        `n`, `n_groups`; `probes`: kind, AUROC and balanced accuracy of each with their ends, and
        AUROC of each class against the rest; `best_shortcut`: that of the highest AUROC;
        `leakage_gap`: split by image minus split by group.
    """
    weights = np.equal.outer(np.unique(fold_of), fold_of).astype(np.int32)  # a row per fold
    probes = {
        probe: {"kind": PROBES[probe].kind, **_by_fold(_scored(view, shares), weights, view.info)}
        | {"by_class": _by_class(view, shares, weights)}
        for probe, shares in said.items()
    }
    shortcuts = [probe for probe in probes if PROBES[probe].kind == "shortcut"]
    return {
        "n": len(view.manifest),
        "n_groups": int(view.manifest["group_id"].nunique()),
        "probes": probes,
        "best_shortcut": max(shortcuts, key=lambda probe: probes[probe]["auroc"]),
        "leakage_gap": _leakage_gap(view, leaking, {"draws": draws, "seed": seed}),
    }


def tabulate_probe(view: ImageSet, probe: str, probabilities: FloatArray) -> pd.DataFrame:
    """Columns image_id, group_id, probe, label, prediction, prob_<class>; a row per image."""
    table = view.manifest[["image_id", "group_id"]].assign(
        probe=probe, label=view.manifest["label"]
    )
    return with_probabilities(table, probabilities, view.info.class_names)


def _scored(view: ImageSet, probabilities: FloatArray) -> Scored:
    groups = view.manifest["group_id"].to_numpy(str)
    return Scored(view.targets, probabilities, probabilities.argmax(axis=1), groups)


def _by_fold(scored: Scored, weights: NDArray[np.int32], info: DatasetInfo) -> Json:
    """Means over the folds, with intervals that allow for the images that trainings share."""
    return _fold_figures(scored, weights, info.class_names, info.positive_index, REPORTED)


def _by_class(view: ImageSet, probabilities: FloatArray, weights: NDArray[np.int32]) -> Json:
    """AUROC of each class against the rest."""
    figures = {}
    for number, name in enumerate(view.info.class_names):
        share = probabilities[:, number].clip(0, 1)
        binary = _scored(view, np.column_stack((1 - share, share)))
        binary = binary._replace(y_true=(view.targets == number).astype(np.int64))
        figures[name] = _fold_figures(binary, weights, ("rest", "class"), 1, ("auroc",))
    return figures


def _fold_figures(
    scored: Scored,
    weights: NDArray[np.int32],
    class_names: Sequence[str],
    positive: int,
    metrics: Sequence[str],
) -> Json:
    per_fold = compute_metrics(
        scored.y_true,
        scored.probabilities,
        scored.predictions,
        class_names=class_names,
        positive=positive,
        weights=weights,
    )
    figures: Json = {}
    for metric in metrics:
        estimate, (low, high, _) = per_fold[metric].mean(), fold_interval(per_fold[metric])
        ends = (None if np.isnan(estimate) else float(estimate), low, high)
        for suffix, value in zip(ENDS, ends, strict=True):
            figures[metric + suffix] = None if value is None else round(value, DECIMALS)
    return figures


def _leakage_gap(view: ImageSet, leaking: Sequence[FloatArray], options: Mapping[str, int]) -> Json:
    """The model that memorises, split by image and by group, on the same draws of groups."""
    settings: Json = {
        "class_names": view.info.class_names,
        "positive": view.info.positive_index,
        **options,
    }
    random, grouped = (_scored(view, shares) for shares in leaking)
    table = paired_difference(random, grouped, **settings).values
    sides = {
        name: metrics_with_intervals(side, **settings).values
        for name, side in (("random", random), ("grouped", grouped))
    }
    return {
        "model": MEMORISER,
        **{
            name: {metric + end: values[metric + end] for metric in REPORTED for end in ENDS}
            for name, values in sides.items()
        },
        "difference": {
            metric: {
                "difference": table[metric],
                "low": table[f"{metric}_low"],
                "high": table[f"{metric}_high"],
            }
            for metric in REPORTED
        },
    }
