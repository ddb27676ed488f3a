"""How often the 95 % intervals of the figures hold the truth, on simulated test sets.

Each set has patients drawn at random, with labels by patient, and two models whose scores of an
image are normal, shifted by the label: AUROCs and all other true values are known. Images of a
patient share half of the variance of their scores, and so do the two models. The intervals are
those that `evaluate` and `compare` write, made by the same functions; `--percentile` takes the
percentiles of bootstrap draws instead. With --write the result is what the report reads.
"""

import argparse
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from stages.config.csv_file import read_csv
from stages.config.writing import write_csv
from stages.dataset.task import Task
from stages.evaluation.metrics import HEADLINE_METRICS, compute_metrics
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.statistics.bootstrap import Draws, compare, draw_figures, estimate
from stages.evaluation.statistics.records import Bootstrap, Estimate
from stages.reporting.coverage import COVERAGE

TASK = Task(("normal", "covid"), positive=1)
METRICS = (
    *("accuracy", "balanced_accuracy", "f1_macro", "mcc", "sensitivity", "specificity"),
    *("precision", "auroc", "average_precision", "log_loss", "brier"),
)
SIZES = (20, 60, 100, 250, 900)
PREVALENCES = (0.5, 0.25, 0.1)
AUROCS = (0.80, 0.97)
GAP = 0.05  # the second model's AUROC is so much lower
IMAGES_PER_PATIENT = 4  # 1 + Poisson(3)
SHARED = 0.5  # of the variance of scores: by images of a patient, and by the two models
TRUTH_POINTS = 200_000
REPLICATES = {20: 1000, 60: 1000, 100: 1000, 250: 600, 900: 400}

FloatArray = NDArray[np.float64]


class Design(NamedTuple):
    """What the sets have in common."""

    n: int  # images, on average where clustered
    clustered: bool
    prevalence: float
    auroc: float  # of the first model


def main() -> None:
    """Simulate every design, print and, if asked to, write."""
    args = _parse()
    designs = itertools.product(args.sizes, (False, True), PREVALENCES, AUROCS)
    rows: list[dict[str, object]] = []
    for design in itertools.starmap(Design, designs):
        start, replicates = time.process_time(), args.replicates or REPLICATES[design.n]
        found = list(simulate(design, replicates, args.percentile))
        rows += found
        said = " ".join(
            f"{'d_' * (row['figure'] == 'difference')}{row['metric']} {row['coverage']:.3f}"
            for row in found
        )
        print(f"{tuple(design)} {time.process_time() - start:.0f} s: {said}", flush=True)
    table = pd.DataFrame(rows)
    good = table["coverage"].between(0.93, 0.97).mean()
    print(f"{len(table)} cells, {good:.0%} of them between 93 and 97 %")
    if args.write:
        kept = read_csv(COVERAGE)
        kept = kept[~kept["n"].isin(args.sizes)]
        columns = ["figure", "metric", *Design._fields]
        write_csv(COVERAGE, pd.concat([kept, table]).sort_values(columns, ignore_index=True))


def simulate(design: Design, replicates: int, percentile: bool) -> Iterator[dict[str, object]]:
    """A row per figure: how many of its intervals held the truth, and how wide they were."""
    rng = np.random.default_rng([design.n, design.clustered, *(round(100 * x) for x in design[2:])])
    truths = [true_values(auroc, design.prevalence) for auroc in _aurocs(design)]
    widths: dict[tuple[str, str], list[float]] = defaultdict(list)
    held: dict[tuple[str, str], int] = defaultdict(int)

    def judge(figure: str, metric: str, interval: Estimate, truth: float) -> None:
        if interval.low is not None and interval.high is not None:
            widths[figure, metric].append(interval.high - interval.low)
            # Published ends are rounded to six decimals.
            held[figure, metric] += interval.low - 1e-6 <= truth <= interval.high + 1e-6

    for _ in range(replicates):
        first, second = (_draw(scored, percentile) for scored in draw_set(design, rng))
        for metric, found in estimate(first.only(METRICS)).items():
            judge("metric", metric, found, truths[0][metric])
        pairs = compare(first.only(HEADLINE_METRICS), second.only(HEADLINE_METRICS), paired=True)
        for metric, pair in pairs.items():
            judge("difference", metric, pair.difference, truths[0][metric] - truths[1][metric])
    for figure, metric in [("metric", m) for m in METRICS] + [
        ("difference", m) for m in HEADLINE_METRICS
    ]:
        own = widths[figure, metric]
        yield {
            "figure": figure,
            "metric": metric,
            **design._asdict(),
            "coverage": round(held[figure, metric] / len(own), 4) if own else math.nan,
            "mean_width": round(float(np.mean(own)), 4) if own else math.nan,
            "without_interval": round(1 - len(own) / replicates, 4),
            "replicates": replicates,
        }


def draw_set(design: Design, rng: np.random.Generator) -> list[Scored]:
    """What two models say of the same images of new patients."""
    count = design.n // IMAGES_PER_PATIENT if design.clustered else design.n
    extra = rng.poisson(IMAGES_PER_PATIENT - 1, count) if design.clustered else np.zeros(count, int)
    groups = np.repeat(np.arange(count), 1 + extra)
    labels = rng.random(count) < design.prevalence
    while labels.all() or not labels.any():  # as `prepare` has it, a test set has every class
        labels = rng.random(count) < design.prevalence
    truth = labels[groups].astype(np.int64)

    def noise() -> FloatArray:
        of_image = rng.normal(size=len(groups))
        if not design.clustered:
            return of_image
        return SHARED**0.5 * rng.normal(size=count)[groups] + (1 - SHARED) ** 0.5 * of_image

    common = noise()
    sides = []
    for auroc in _aurocs(design):
        own = SHARED**0.5 * common + (1 - SHARED) ** 0.5 * noise()
        sides.append(_score(truth, own, auroc, groups))
    return sides


def true_values(auroc: float, prevalence: float) -> dict[str, float]:
    """Every metric of all patients there are: at even quantiles of both normal distributions."""
    counts = round((1 - prevalence) * TRUTH_POINTS), round(prevalence * TRUTH_POINTS)
    truth = np.repeat([0, 1], counts)
    noise = np.concatenate([ndtri((np.arange(count) + 0.5) / count) for count in counts])
    scored = _score(truth, noise, auroc, np.arange(len(truth)))
    return {name: float(row[0]) for name, row in compute_metrics(*scored[:3], TASK).items()}


def _aurocs(design: Design) -> tuple[float, float]:
    return design.auroc, design.auroc - GAP


def _score(
    truth: NDArray[np.int64], noise: FloatArray, auroc: float, groups: NDArray[np.int64]
) -> Scored:
    """Scores with that AUROC, as probabilities that are right where classes are as frequent."""
    shift = 2**0.5 * float(ndtri(auroc))
    covid = expit(shift * (noise + shift * (truth - 0.5)))
    return Scored(truth, np.column_stack((1 - covid, covid)), (covid >= 0.5).astype(int), groups)


def _draw(scored: Scored, percentile: bool) -> Draws:
    bootstrap = Bootstrap(draws=500, seed=0)
    if not percentile:
        return draw_metrics(scored, TASK, bootstrap)
    return draw_figures(
        lambda weights: compute_metrics(*scored[:3], TASK, weights),
        scored.group_ids,
        dict.fromkeys(compute_metrics(*scored[:3], TASK), "images"),
        bootstrap,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20], choices=SIZES)
    parser.add_argument("--replicates", type=int, default=20, help="sets per design; 0: in full")
    parser.add_argument("--percentile", action="store_true", help="of draws, for comparison")
    parser.add_argument(
        "--write", action="store_true", help=f"put these sizes into {COVERAGE.name}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
