"""What the labels allow: how often a reader without fault would agree with them.

The labels pneumonia and normal of the public X-rays were read from reports by a program; on 30 of
the pictures radiologists have said since whether there is an airspace opacity. A reader who sees
every opacity, and nothing else of use, is right as often as these two agree. A network may know
more: age, view and the like go with the label too, and some of them show in the picture. This
reader is given both, and decides by Bayes' rule.

Assumed: opacity and metadata are independent given the label; the 30 pictures stand for all, each
class as it is; nothing else in a picture tells the label; every covid is told from the rest, as the
files alone nearly do. The interval is of draws of the two rates, from the 30 readings by Jeffreys'
prior (Brown, Cai and DasGupta 2001), together with draws of whole patients.

    python -m tests.benchmarks.label_ceiling    # reads data/real/xray3 and xray3-truth
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.evaluation.statistics.bootstrap import bootstrap_weights
from stages.evaluation.statistics.records import Bootstrap

FloatArray = NDArray[np.float64]
DOUBTED, OTHER, CERTAIN = "Pneumonia", "No_findings", "Covid-19"
NUMBERS, KINDS = ["age", "follow_up", "original_width", "original_height"], ["sex", "view"]
FOLDS, SEED, DRAWS = 5, 42, 4000
JEFFREYS = 0.5


class Readings(NamedTuple):
    """How many pictures of either label were read, and in how many an opacity was seen."""

    doubted: int
    seen_in_doubted: int
    other: int
    seen_in_other: int


def main() -> None:
    """Print the readings, what metadata tell, and the accuracy of the reader who has both."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", type=Path, default=Path("data/real/xray3"))
    parser.add_argument("--truth", type=Path, default=Path("data/real/xray3-truth"))
    options = parser.parse_args()
    table = pd.read_csv(options.images / "metadata.csv")
    label = table["file"].str.split("/").str[0]
    n_certain, read = int((label == CERTAIN).sum()), label.isin((DOUBTED, OTHER))
    table, is_doubted = table[read], (label[read] == DOUBTED).to_numpy()
    readings = count_readings(pd.read_csv(options.truth / "radiologists.csv"))
    shares = metadata_shares(table, is_doubted)
    print(readings)
    print(f"labels and readings agree in {agreement(readings)}")
    print(
        f"metadata alone: AUROC {roc_auc_score(is_doubted, shares):.3f}, "
        f"accuracy {np.mean((shares > 0.5) == is_doubted):.3f} of {len(shares)} images"
    )
    value, (low, high) = ceiling(readings, shares, is_doubted, table["patient"])
    print(f"reader with both: {value:.3f} ({low:.3f} to {high:.3f}) of {DOUBTED} and {OTHER}")
    whole = [
        (n_certain + len(shares) * share) / (n_certain + len(shares))
        for share in (value, low, high)
    ]
    print("all three classes: {:.3f} ({:.3f} to {:.3f})".format(*whole))


def count_readings(table: pd.DataFrame) -> Readings:
    """Of the radiologists' table: columns file (its folder is the label) and airspace_opacity."""
    is_doubted = table["file"].str.startswith(f"{DOUBTED}/")
    is_seen = table["airspace_opacity"] == "YES"
    counts = (is_doubted, is_doubted & is_seen, ~is_doubted, ~is_doubted & is_seen)
    return Readings(*(int(count.sum()) for count in counts))


def agreement(readings: Readings) -> str:
    """How many readings say what the label says."""
    right = readings.seen_in_doubted + readings.other - readings.seen_in_other
    return f"{right} of {readings.doubted + readings.other}"


def metadata_shares(table: pd.DataFrame, is_doubted: NDArray[np.bool_]) -> FloatArray:
    """(N,) probability of the doubted label by metadata alone, of folds by patient."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), KINDS)
    )
    shares: FloatArray = cross_val_predict(
        make_pipeline(columns, LogisticRegression(C=0.1)),
        table,
        is_doubted,
        groups=table["patient"],
        cv=StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED),
        method="predict_proba",
    )[:, 1]
    return shares


def ceiling(
    readings: Readings,
    shares: FloatArray,
    is_doubted: NDArray[np.bool_],
    patients: "pd.Series[str]",
) -> tuple[float, tuple[float, float]]:
    """The expected share of labels that the reader with both names, and its 95 % interval.

    Args:
        readings: of both labels.
        shares: (N,) probability of the doubted label by metadata, in (0, 1).
        is_doubted: (N,) the labels.
        patients: (N,) whose pictures they are; drawn whole.
    """
    value = expected_hits(
        readings.seen_in_doubted / readings.doubted,
        readings.seen_in_other / readings.other,
        shares,
        is_doubted,
    ).mean()
    rng = np.random.default_rng(SEED)
    rates = [
        rng.beta(seen + JEFFREYS, n - seen + JEFFREYS, DRAWS)
        for n, seen in (readings[:2], readings[2:])
    ]
    weights = bootstrap_weights(patients, Bootstrap(DRAWS, SEED))
    drawn = [
        np.average(expected_hits(*pair, shares, is_doubted), weights=row)
        for *pair, row in zip(*rates, weights, strict=True)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(value), (float(low), float(high))


def expected_hits(
    seen_in_doubted: float, seen_in_other: float, shares: FloatArray, is_doubted: NDArray[np.bool_]
) -> FloatArray:
    """(N,) probability that Bayes' rule, from metadata and the opacity, names each label.

    Args:
        seen_in_doubted: share of the pictures of the doubted label that show an opacity.
        seen_in_other: that of the others.
        shares: (N,) probability of the doubted label by metadata, in (0, 1).
        is_doubted: (N,) the labels.
    """
    hits = np.zeros(len(shares))
    for doubted, other in (
        (seen_in_doubted, seen_in_other),
        (1 - seen_in_doubted, 1 - seen_in_other),
    ):
        with np.errstate(divide="ignore"):  # a rate of 0 or 1 decides alone
            says_doubted = logit(shares) + np.log(doubted) - np.log(other) > 0
        hits += np.where(is_doubted, doubted, other) * (says_doubted == is_doubted)
    return hits


if __name__ == "__main__":
    main()
