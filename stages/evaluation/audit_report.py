"""What is said of the probes of one view: figures of each, the best shortcut, the leakage gap."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.image_set import ImageSet
from stages.dataset.predictions import with_probabilities
from stages.dataset.task import Task
from stages.evaluation.metadata_probes import kind_of
from stages.evaluation.metrics import FloatArray, compute_metrics
from stages.evaluation.operating_points import (
    RATES,
    apply_threshold,
    choose_thresholds,
    compute_rates,
)
from stages.evaluation.scored import Scored, draw_metrics, only_classes
from stages.evaluation.shortcuts import MEMORISER, SHOWS_DISEASE
from stages.evaluation.statistics.bootstrap import compare
from stages.evaluation.statistics.effective_size import Support
from stages.evaluation.statistics.intervals import estimate_over_folds
from stages.evaluation.statistics.paired_tests import adjust_holm
from stages.evaluation.statistics.permutation import PValues
from stages.evaluation.statistics.records import Bootstrap, Estimate, Estimates, Paired, flatten
from stages.evaluation.statistics.rounding import rounded
from stages.evaluation.supports import metric_supports

REPORTED = ("auroc", "balanced_accuracy")
PROBE_METRICS = (*REPORTED, "accuracy", "f1_macro", "sensitivity")
PROBE_POINT = "specificity_90"
AGAINST_REST = Task(("rest", "class"), 1)
OVERALL = None  # all classes at once; no class is called None


class ProbeFigures(NamedTuple):
    """Means over the folds, with intervals that allow for the images that trainings share.

    An AUROC has the p-value of a permutation test beside it: the interval says how large it may be,
    the test whether there is anything to tell.

    Attributes:
        kind: shortcut, baseline or reference.
        metrics: PROBE_METRICS, and `sensitivity_specificity_90` with `specificity_specificity_90`.
        by_class: AUROC of each class against the rest.
        by_pair: AUROC of each two classes, on images of these two alone, as `normal v covid`.
    """

    kind: str
    metrics: Estimates
    by_class: Mapping[str, Estimates]
    by_pair: Mapping[str, Estimates]


class Audit(NamedTuple):
    """What shortcuts alone give away of the labels of a view.

    Attributes:
        n: images.
        n_groups: patients.
        probes: by name.
        leakage_gap: REPORTED, of the model that memorises: split by image, and split by group.
    """

    n: int
    n_groups: int
    probes: Mapping[str, ProbeFigures]
    leakage_gap: Mapping[str, Paired]

    @property
    def best_shortcut(self) -> str:
        """The one of the highest AUROC."""
        return self._best("auroc", ("shortcut",))

    @property
    def most_accurate(self) -> str:
        """The one that is right most often of all classes at once, or the baseline."""
        return self._best("accuracy", ("shortcut", "baseline"))

    def _best(self, metric: str, kinds: Sequence[str]) -> str:
        values = {
            name: value
            for name, found in self.probes.items()
            if found.kind in kinds and (value := found.metrics[metric].value) is not None
        }
        return max(values, key=values.__getitem__)

    def to_json(self) -> dict[str, Any]:
        """As metrics/audit has it, but for the number of folds."""
        return {
            "n": self.n,
            "n_groups": self.n_groups,
            "probes": {
                name: {"kind": found.kind, **flatten(found.metrics).values}
                | _p_values(found.metrics)
                | {
                    "by_class": {
                        of: flatten(v).values | _p_values(v) for of, v in found.by_class.items()
                    }
                }
                | {"by_pair": {of: flatten(v).values for of, v in found.by_pair.items()}}
                for name, found in self.probes.items()
            },
            "best_shortcut": self.best_shortcut,
            "most_accurate": self.most_accurate,
            "leakage_gap": {
                "model": MEMORISER,
                "random": flatten({m: gap.first for m, gap in self.leakage_gap.items()}).values,
                "grouped": flatten({m: gap.second for m, gap in self.leakage_gap.items()}).values,
                "difference": {
                    metric: gap.difference.as_difference()
                    for metric, gap in self.leakage_gap.items()
                },
            },
        }


def build_audit(
    view: ImageSet,
    said: Mapping[str, FloatArray],
    tests: Mapping[str, PValues],
    fold_of: NDArray[np.int64],
    leaking: Sequence[FloatArray],
    bootstrap: Bootstrap,
) -> Audit:
    """Figures with intervals.

    Args:
        view: N images.
        said: probe to its (N, K) out-of-fold probabilities.
        tests: probe to whether it tells the classes. Those of the shortcuts that cannot show the
            disease are adjusted as a family, class by class.
        fold_of: (N,) fold of each image, whole groups.
        leaking: those of the model that memorises, split by image and split by group.
        bootstrap: behind the intervals of the leakage gap, both sides on the same draws.
    """
    weights = np.equal.outer(np.unique(fold_of), fold_of).astype(np.int32)  # a row per fold
    random, grouped = (
        draw_metrics(_score(view, shares), view.info.task, bootstrap).only(REPORTED)
        for shares in leaking
    )
    tested = _adjust(tests, view.info.class_names)
    return Audit(
        n=len(view.manifest),
        n_groups=int(view.manifest["group_id"].nunique()),
        probes={
            probe: ProbeFigures(
                kind_of(probe),
                _with_p_value(
                    _over_folds(_score(view, shares), view.info.task, weights, PROBE_METRICS),
                    tested[probe][OVERALL],
                )
                | _at_operating_point(_score(view, shares), view.info.task, fold_of),
                {
                    of: _with_p_value(found, tested[probe][of])
                    for of, found in _by_class(view, shares, weights).items()
                },
                _by_pair(view, shares, weights),
            )
            for probe, shares in said.items()
        },
        leakage_gap=compare(random, grouped, paired=True),
    )


def tabulate_probe(view: ImageSet, probe: str, probabilities: FloatArray) -> pd.DataFrame:
    """Columns image_id, group_id, probe, label, prediction, prob_<class>; a row per image."""
    table = view.manifest[["image_id", "group_id"]].assign(
        probe=probe, label=view.manifest["label"]
    )
    return with_probabilities(table, probabilities, view.info.class_names)


class _Tested(NamedTuple):
    p_value: float
    p_value_holm: float | None


def _adjust(
    tests: Mapping[str, PValues], class_names: Sequence[str]
) -> dict[str, dict[str | None, _Tested]]:
    """By probe, then by class and OVERALL; Holm's is None where a probe is not of the family."""
    plain = {
        probe: {OVERALL: found.overall, **dict(zip(class_names, found.by_class, strict=True))}
        for probe, found in tests.items()
    }
    family = [n for n in tests if kind_of(n) == "shortcut" and n not in SHOWS_DISEASE]
    adjusted = {
        of: adjust_holm({probe: plain[probe][of] for probe in family})
        for of in (OVERALL, *class_names)
    }
    return {
        probe: {of: _Tested(p_value, adjusted[of].get(probe)) for of, p_value in found.items()}
        for probe, found in plain.items()
    }


def _with_p_value(figures: Estimates, tested: _Tested) -> dict[str, Estimate]:
    holm = tested.p_value_holm
    auroc = figures["auroc"]._replace(
        p_value=rounded(tested.p_value), p_value_holm=None if holm is None else rounded(holm)
    )
    return {**figures, "auroc": auroc}


def _p_values(figures: Estimates) -> dict[str, float | None]:
    """Of the AUROC, by the names that files have them by."""
    return {name: getattr(figures["auroc"], name) for name in _Tested._fields}


def _score(view: ImageSet, probabilities: FloatArray) -> Scored:
    groups = view.manifest["group_id"].to_numpy(str)
    return Scored(view.targets, probabilities, probabilities.argmax(axis=1), groups)


def _by_class(
    view: ImageSet, probabilities: FloatArray, weights: NDArray[np.int32]
) -> dict[str, Estimates]:
    figures: dict[str, Estimates] = {}
    for number, name in enumerate(view.info.class_names):
        share = probabilities[:, number].clip(0, 1)
        binary = _score(view, np.column_stack((1 - share, share)))
        binary = binary._replace(y_true=(view.targets == number).astype(np.int64))
        figures[name] = _over_folds(binary, AGAINST_REST, weights, ("auroc",))
    return figures


def _by_pair(
    view: ImageSet, probabilities: FloatArray, weights: NDArray[np.int32]
) -> dict[str, Estimates]:
    """Of two classes what the probe says once all others are ruled out: p_b / (p_a + p_b)."""
    figures: dict[str, Estimates] = {}
    for (a, first), (b, second) in combinations(enumerate(view.info.class_names), 2):
        rows = np.isin(view.targets, (a, b))
        scored = _of_rows(_score(view, only_classes(probabilities, (a, b))), rows)
        scored = scored._replace(y_true=(view.targets[rows] == b).astype(np.int64))
        scored = scored._replace(predictions=np.asarray(scored.probabilities).argmax(axis=1))
        figures[f"{first} v {second}"] = _over_folds(
            scored, AGAINST_REST, weights[:, rows], ("auroc",)
        )
    return figures


def _at_operating_point(
    scored: Scored, task: Task, fold_of: NDArray[np.int64]
) -> dict[str, Estimate]:
    """Rates of each fold, called positive from a threshold on that the other folds chose."""
    rates = []
    for fold in np.unique(fold_of):
        others, own = (_of_rows(scored, rows) for rows in (fold_of != fold, fold_of == fold))
        calls = apply_threshold(own, choose_thresholds(others, task)[PROBE_POINT], task)
        rates.append(compute_rates(calls, np.ones((1, len(calls.is_called)), np.int32)))
    by_rate = np.concatenate(rates, axis=1)  # (2, folds)
    supports = _supports(scored, task)
    return {
        f"{rate}_{PROBE_POINT}": estimate_over_folds(values, supports[rate].patients)
        for rate, values in zip(RATES, by_rate, strict=True)
    }


def _of_rows(scored: Scored, rows: NDArray[np.bool_]) -> Scored:
    return Scored(*(np.asarray(column)[rows] for column in scored))


def _over_folds(
    scored: Scored, task: Task, weights: NDArray[np.int32], metrics: Sequence[str]
) -> dict[str, Estimate]:
    per_fold, supports = compute_metrics(*scored[:3], task, weights), _supports(scored, task)
    return {
        metric: estimate_over_folds(per_fold[metric], supports[metric].patients)
        for metric in metrics
    }


def _supports(scored: Scored, task: Task) -> dict[str, Support]:
    return metric_supports(scored.y_true, scored.predictions, task, scored.group_ids)
