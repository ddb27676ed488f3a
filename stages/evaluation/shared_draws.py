"""Draws of cases and of shortcuts, made once for all comparisons that they are in."""

import pandas as pd

from stages.dataset.task import Task
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.scored import draw_metrics, score_rows
from stages.evaluation.statistics.bootstrap import Draws
from stages.evaluation.statistics.records import Bootstrap


class SharedDraws:
    """The main metrics of whoever said something of a set of images, all on the same draws."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self.bootstrap = bootstrap
        self._made: dict[tuple[str, frozenset[str]], Draws] = {}

    def of(self, who: str, rows: pd.DataFrame, task: Task) -> Draws:
        """What `who` is worth on some images; `rows` are all that it says of these images."""
        key = who, frozenset(rows["image_id"])
        if key not in self._made:
            drawn = draw_metrics(score_rows(rows, task), task, self.bootstrap)
            self._made[key] = drawn.only(HEADLINE_METRICS)
        return self._made[key]
