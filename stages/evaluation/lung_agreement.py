"""How well the lungs found agree with the true ones, of the images of which these are known."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.dataset.image_set import ImageSet
from stages.evaluation.statistics.bootstrap import estimate_mean
from stages.evaluation.statistics.records import Bootstrap, Estimate
from stages.evaluation.statistics.rounding import DECIMALS

WORST = 5


class WorstLungs(NamedTuple):
    """An image whose lungs were found badly: path inside the source, Dice, and what was doubted."""

    file: str
    dice: float
    quality: str


class LungAgreement(NamedTuple):
    """Dice of the lungs found with the true ones, in the whole pictures of a view.

    Attributes:
        n: images of which the lungs are known.
        n_groups: patients of these.
        n_untrusted: of these images, how many whose lungs were said to be in doubt.
        dice: the mean over images, groups drawn whole.
        median: over images.
        sd: standard deviation over images, with n - 1; None of one image.
        worst: up to WORST images, the lowest Dice first.
    """

    n: int
    n_groups: int
    n_untrusted: int
    dice: Estimate
    median: float
    sd: float | None
    worst: list[WorstLungs]

    def to_json(self) -> dict[str, Any]:
        """As `lungs` in a file of metrics/audit has it."""
        facts = self._asdict()
        return {**facts, "worst": [entry._asdict() for entry in self.worst]} | {
            "dice": self.dice.value,
            "dice_low": self.dice.low,
            "dice_high": self.dice.high,
        }


def measure_lungs(view: ImageSet, bootstrap: Bootstrap) -> LungAgreement | None:
    """Sum up `lung_dice` of a view's boxes.csv; None where the lungs of no image are known."""
    assert view.boxes is not None  # a view has boxes
    dice = pd.to_numeric(view.boxes["lung_dice"], errors="coerce").to_numpy(np.float64)
    rows = np.flatnonzero(~np.isnan(dice))
    if not len(rows):
        return None
    groups = view.manifest["group_id"].to_numpy(str)[rows]
    quality = view.boxes["quality"].to_numpy(str)
    lowest = rows[np.argsort(dice[rows], kind="stable")][:WORST]
    return LungAgreement(
        n=len(rows),
        n_groups=len(np.unique(groups)),
        n_untrusted=int((quality[rows] != "ok").sum()),
        dice=estimate_mean(dice[rows], groups, bootstrap),
        median=round(float(np.median(dice[rows])), DECIMALS),
        sd=round(float(np.std(dice[rows], ddof=1)), DECIMALS) if len(rows) > 1 else None,
        worst=[
            WorstLungs(
                view.manifest["source_path"].iloc[row],
                round(float(dice[row]), DECIMALS),
                quality[row],
            )
            for row in lowest
        ],
    )
