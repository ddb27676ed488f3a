"""Each case beside the best shortcuts of its view: what is left once the shortcut is taken off.

A shortcut is a plain model in cross-validation by group over the whole view, and the best of them
is chosen there, on the test images too: the floor is, if anything, too high.
"""

from typing import Any, NamedTuple

from stages.config.progress import progress
from stages.evaluation.outcomes import Outcomes, Shortcut
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.bootstrap import compare
from stages.evaluation.statistics.records import Paired


class Headline(NamedTuple):
    """One case.

    Attributes:
        n: test images.
        shortcut: the one with the highest cross-validated AUROC over the whole view.
        auroc: of the case and of the shortcut, on the case's own test images.
        most_accurate: the one, or the baseline, that is right most often of all classes at once.
        accuracy: of the case and of that one, on the same images.
    """

    n: int
    shortcut: str
    auroc: Paired
    most_accurate: str
    accuracy: Paired

    def to_json(self) -> dict[str, Any]:
        """As metrics/headlines.json has it."""
        return {
            "n": self.n,
            "shortcut": self.shortcut,
            **self.auroc.first.named("auroc"),
            **self.auroc.second.named("shortcut_auroc"),
            **self.auroc.difference.named("difference"),
            "detectable": self.auroc.difference.detectable,
            "most_accurate": self.most_accurate,
            **self.accuracy.first.named("accuracy"),
            **self.accuracy.second.named("shortcut_accuracy"),
            **self.accuracy.difference.named("accuracy_difference"),
        }


def build_headlines(outcomes: Outcomes, draws: SharedDraws) -> dict[str, Headline]:
    """AUROC and accuracy of each case and of its view's best shortcuts, on its own test images.

    A shortcut is scored on the same images, by models that saw none of their groups; so a case
    of an optimistic protocol has no headline.
    """
    honest = [name for name, case in outcomes.cases.items() if not case.is_optimistic]
    return {
        name: _build_headline(outcomes, name, draws)
        for name in progress(honest, "cases and shortcuts", len(honest))
    }


def _build_headline(outcomes: Outcomes, case: str, draws: SharedDraws) -> Headline:
    view = outcomes.params.case(case).view
    best, most_accurate = outcomes.shortcuts[view], outcomes.most_accurate[view]
    return Headline(
        n=int(outcomes.cases[case].test["image_id"].nunique()),
        shortcut=best.name,
        auroc=_compare(outcomes, case, best, "auroc", draws),
        most_accurate=most_accurate.name,
        accuracy=_compare(outcomes, case, most_accurate, "accuracy", draws),
    )


def _compare(
    outcomes: Outcomes, case: str, shortcut: Shortcut, metric: str, draws: SharedDraws
) -> Paired:
    """One figure of a case and of a shortcut, on the case's own test images."""
    view, found = outcomes.params.case(case).view, outcomes.cases[case]
    beside = shortcut.rows[shortcut.rows["image_id"].isin(found.test["image_id"])]
    sides = (
        draws.of(case, found.test, found.task),
        draws.of(f"{view}/{shortcut.name}", beside, found.task),  # no case has such a name
    )
    own, other = (side.only((metric,)) for side in sides)
    return compare(own, other, paired=True)[metric]
