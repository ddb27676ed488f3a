"""A case's figures in each group of its test images, and whether one differs from all others.

A group is held against the rest of the images, never the best against the worst: the largest less
the smallest of several noisy figures is far from zero where all groups are alike. Whoever is few is
named and not scored: a class counts in a group from `FEWEST` patients on, and a group needs two
classes. Both sides of a difference are of the classes that count in both, so that it is not one
of the mix of classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.progress import progress
from stages.dataset.task import Task
from stages.evaluation.metrics import compute_metrics, metric_requirements
from stages.evaluation.partitions import Partition
from stages.evaluation.scored import Scored, only_classes, score_rows
from stages.evaluation.statistics.bootstrap import Draws, compare, draw_figures, estimate
from stages.evaluation.statistics.effective_size import Support
from stages.evaluation.statistics.paired_tests import adjust_holm
from stages.evaluation.statistics.records import Bootstrap, Estimates, Paired, flatten
from stages.evaluation.supports import metric_supports

FloatArray = NDArray[np.float64]
Rows = NDArray[np.bool_]

FEWEST = 10  # patients of a class
METRICS = ("accuracy", "balanced_accuracy", "auroc", "sensitivity", "specificity")
# What groups are tested by: neither depends on how common the classes are in a group.
TESTED = ("balanced_accuracy", "auroc")


class Count(NamedTuple):
    """Of one class in a group."""

    images: int
    patients: int


class GroupFigures(NamedTuple):
    """Of one group of the test images.

    Attributes:
        name: what its images have in common.
        counts: by class.
        classes: those that count; fewer than two are not scored.
        metrics: METRICS on the images of these; nothing where it is not scored.
        gaps: TESTED of the group, of the rest of the images, and their difference; nothing where
            the rest lacks the classes, or where it is a group whose own gap is the same.
        remark: why there are no metrics, or no gaps; None where there are.
    """

    name: str
    counts: Mapping[str, Count]
    classes: Sequence[str]
    metrics: Estimates
    gaps: Mapping[str, Paired]
    remark: str | None

    def to_json(self) -> dict[str, Any]:
        """As metrics/reports has it."""
        flat = flatten(self.metrics)
        return {
            "name": self.name,
            "counts": {name: count._asdict() for name, count in self.counts.items()},
            "classes": list(self.classes),
            "metrics": flat.values,
            "undefined": flat.undefined,
            "against_rest": {
                metric: gap.to_json() | {"p_value_holm": gap.difference.p_value_holm}
                for metric, gap in self.gaps.items()
            },
            "remark": self.remark,
        }


class PartitionFigures(NamedTuple):
    """Of all groups that one way of cutting makes."""

    title: str
    how: str
    groups: Sequence[GroupFigures]


class Subgroups(NamedTuple):
    """Of every way of cutting the test images of a case."""

    partitions: Sequence[PartitionFigures]

    def to_json(self) -> dict[str, Any]:
        """As metrics/reports has it."""
        return {
            "fewest_patients": FEWEST,
            "partitions": [
                {
                    "title": part.title,
                    "how": part.how,
                    "groups": [group.to_json() for group in part.groups],
                }
                for part in self.partitions
            ],
        }


def score_subgroups(
    test: pd.DataFrame, parts: Sequence[Partition], task: Task, bootstrap: Bootstrap
) -> Subgroups:
    """Figures of each group, and its difference from the rest.

    Intervals and p-values are of whole patients, some of whom may have images in a group and in the
    rest. For each metric of TESTED the p-values of all groups of all parts are a family, adjusted
    by Holm's method.

    Args:
        test: rows of predictions, several of an image where several models are not averaged.
        parts: of these rows.
        task: what is told apart.
        bootstrap: draws and their seed.
    """
    scorer = _Scorer(test, task, bootstrap)
    found = [
        PartitionFigures(part.title, part.how, list(scorer.score(part)))
        for part in progress(parts, "subgroups", len(parts))
    ]
    return Subgroups(_adjust(found))


class _Scorer:
    """The test images of a case, any part of which can be scored."""

    def __init__(self, test: pd.DataFrame, task: Task, bootstrap: Bootstrap) -> None:
        self.task, self.bootstrap = task, bootstrap
        self.images = test["image_id"].to_numpy(str)
        self.scored = score_rows(test, task)
        self.truth = np.asarray(self.scored.y_true)
        self.patients = np.asarray(self.scored.group_ids)

    def score(self, part: Partition) -> Iterator[GroupFigures]:
        """Every group that has an image."""
        tested: dict[tuple[bytes, bytes], str] = {}  # sides of a difference to a group's name
        for number in np.unique(part.groups):
            yield self._score_group(part.names[number], part.groups == number, tested)

    def _score_group(
        self, name: str, rows: Rows, tested: dict[tuple[bytes, bytes], str]
    ) -> GroupFigures:
        counts = self._count(rows)
        own, others = self._enough(rows), self._enough(~rows)
        names = [self.task.class_names[index] for index in own]
        if len(own) < 2:
            remark = f"not scored: fewer than two classes of at least {FEWEST} patients"
            return GroupFigures(name, counts, names, {}, {}, remark)
        drawn = self._draw(rows, own)
        shared = [index for index in own if index in others]
        if len(shared) < 2:
            remark = f"the rest has fewer than two of these classes with {FEWEST} patients"
            return GroupFigures(name, counts, names, estimate(drawn), {}, remark)
        images = np.isin(self.truth, shared)
        one, other = (rows & images).tobytes(), (~rows & images).tobytes()
        if (other, one) in tested:
            remark = f"the difference is that of {tested[other, one]}, with the other sign"
            return GroupFigures(name, counts, names, estimate(drawn), {}, remark)
        tested[one, other] = name
        beside = drawn if shared == own else self._draw(rows, shared)
        rest = self._draw(~rows, shared)
        gaps = compare(beside.only(TESTED), rest.only(TESTED), paired=True)
        return GroupFigures(name, counts, names, estimate(drawn), gaps, None)

    def _count(self, rows: Rows) -> dict[str, Count]:
        of_class = {
            name: rows & (self.truth == index) for index, name in enumerate(self.task.class_names)
        }
        return {
            name: Count(len(np.unique(self.images[own])), len(np.unique(self.patients[own])))
            for name, own in of_class.items()
        }

    def _enough(self, rows: Rows) -> list[int]:
        """The classes that count in some rows."""
        counts = self._count(rows).values()
        return [index for index, count in enumerate(counts) if count.patients >= FEWEST]

    def _draw(self, rows: Rows, classes: Sequence[int]) -> Draws:
        """METRICS of the rows of some classes, under draws of all patients of the case."""
        chosen = rows & np.isin(self.truth, classes)
        part = Scored(*(np.asarray(column)[chosen] for column in self.scored))
        drawn = draw_figures(
            lambda weights: _compute(part, self.task, classes, weights[:, chosen]),
            self.patients,
            metric_requirements(self.task),
            self.bootstrap,
            _supports(part, self.task, classes),
        )
        return drawn.only(METRICS)


def _compute(
    scored: Scored, task: Task, classes: Sequence[int], weights: NDArray[np.int32]
) -> dict[str, FloatArray]:
    """Every metric of images of some classes; AUROC with the other classes ruled out."""
    figures = compute_metrics(*scored[:3], task, weights)
    if len(classes) == len(task.class_names):
        return figures
    among, of_classes = _rule_out(scored, task, classes)
    return figures | {"auroc": compute_metrics(*among[:3], of_classes, weights)["auroc"]}


def _supports(scored: Scored, task: Task, classes: Sequence[int]) -> dict[str, Support]:
    """What these figures rest on."""
    found = metric_supports(scored.y_true, scored.predictions, task, scored.group_ids)
    if len(classes) == len(task.class_names):
        return found
    among, of_classes = _rule_out(scored, task, classes)
    own = metric_supports(among.y_true, among.predictions, of_classes, among.group_ids)
    return found | {"auroc": own["auroc"]}


def _rule_out(scored: Scored, task: Task, classes: Sequence[int]) -> tuple[Scored, Task]:
    """The same images where all but some classes are out of the question."""
    number = {index: position for position, index in enumerate(classes)}
    probabilities = only_classes(scored.probabilities, classes)
    names = tuple(task.class_names[index] for index in classes)
    truth = np.array([number[index] for index in np.asarray(scored.y_true)])
    among = Scored(truth, probabilities, probabilities.argmax(axis=1), scored.group_ids)
    return among, Task(names, number.get(task.positive, 0))


def _adjust(found: Sequence[PartitionFigures]) -> list[PartitionFigures]:
    """Put the adjusted p-value of each test beside its own."""
    adjusted = {}
    for metric in TESTED:
        p_values = {
            f"{p} {g}": group.gaps[metric].difference.p_value
            for p, part in enumerate(found)
            for g, group in enumerate(part.groups)
            if group.gaps
        }
        adjusted[metric] = adjust_holm(p_values)
    return [
        part._replace(
            groups=[
                group._replace(
                    gaps={
                        metric: gap.with_family(adjusted[metric][f"{p} {g}"], None)
                        for metric, gap in group.gaps.items()
                    }
                )
                for g, group in enumerate(part.groups)
            ]
        )
        for p, part in enumerate(found)
    ]
