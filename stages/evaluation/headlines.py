"""Each case beside the best shortcut of its view: what is left once the shortcut is taken off."""

from typing import Any, NamedTuple

from stages.evaluation.outcomes import Outcomes
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.bootstrap import compare
from stages.evaluation.statistics.records import Paired


class Headline(NamedTuple):
    """One case.

    Attributes:
        n: test images.
        shortcut: the one with the highest cross-validated AUROC over the whole view.
        auroc: of the case and of the shortcut, on the case's own test images.
    """

    n: int
    shortcut: str
    auroc: Paired

    def to_json(self) -> dict[str, Any]:
        """As metrics/headlines.json has it."""
        return {
            "n": self.n,
            "shortcut": self.shortcut,
            **self.auroc.first.named("auroc"),
            **self.auroc.second.named("shortcut_auroc"),
            **self.auroc.difference.named("difference"),
            "detectable": self.auroc.difference.detectable,
        }


def build_headlines(outcomes: Outcomes, draws: SharedDraws) -> dict[str, Headline]:
    """AUROC of each case and of its view's best shortcut, on the case's own test images.

    The shortcut is scored on the same images, by models that saw none of their groups; so a case
    of an optimistic protocol has no headline.
    """
    return {
        name: _build_headline(outcomes, name, draws)
        for name, case in outcomes.cases.items()
        if not case.is_optimistic
    }


def _build_headline(outcomes: Outcomes, case: str, draws: SharedDraws) -> Headline:
    view, found = outcomes.params.case(case).view, outcomes.cases[case]
    shortcut = outcomes.shortcuts[view]
    beside = shortcut.rows[shortcut.rows["image_id"].isin(found.test["image_id"])]
    sides = (
        draws.of(case, found.test, found.task),
        draws.of(f"{view}/{shortcut.name}", beside, found.task),  # no case has such a name
    )
    own, other = (side.only(("auroc",)) for side in sides)
    n = int(found.test["image_id"].nunique())
    return Headline(n, shortcut.name, compare(own, other, paired=True)["auroc"])
