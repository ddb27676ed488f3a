"""Where a case on the public X-rays goes wrong, and whom it agrees with where radiologists looked.

python -m tests.benchmarks.real_errors xray3-lite0-folds    # in the clone of its run
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from stages.config.csv_file import read_csv
from stages.config.paths import Paths
from stages.dataset.predictions import load_tables

DOUBTED, OTHER = "pneumonia", "normal"  # labels that a program read from reports


class Errors(NamedTuple):
    """Test images by what is said of them.

    Attributes:
        images: tested.
        wrong: of these.
        between_doubted: wrong, the label and the prediction both being of `DOUBTED` and `OTHER`.
        by_every_training: images that each training which tested them has wrong.
    """

    images: int
    wrong: int
    between_doubted: int
    by_every_training: int


class Agreement(NamedTuple):
    """Of the pictures that radiologists have looked at.

    Attributes:
        read: so many.
        with_label: the prediction is the label.
        with_readers: it is pneumonia where they see an opacity, and nowhere else.
        clear: labelled pneumonia, though they see none.
        clear_as_doubted: of these, those that are predicted to be pneumonia.
    """

    read: int
    with_label: int
    with_readers: int
    clear: int
    clear_as_doubted: int


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("case")
    parser.add_argument("--truth", type=Path, default=Path("data/real/xray3-truth"))
    options = parser.parse_args()
    folder = Paths(Path()).case_predictions(options.case)
    tables = load_tables(folder)
    manifest = read_csv(folder / "manifest.csv")
    print(count_errors(tables.whole, tables.runs))
    readings = pd.read_csv(options.truth / "radiologists.csv")
    print(count_agreement(tables.whole, manifest, readings))


def count_errors(whole: pd.DataFrame, runs: pd.DataFrame) -> Errors:
    """Of the tables of a case: what it says of each test image, and what each training does."""
    tested = whole[whole["split"] == "test"]
    wrong = tested[tested["label"] != tested["prediction"]]
    doubted = wrong[["label", "prediction"]].isin((DOUBTED, OTHER)).all(axis=1)
    of_runs = runs[runs["split"] == "test"]
    missed = (of_runs["label"] != of_runs["prediction"]).groupby(of_runs["image_id"]).all()
    return Errors(len(tested), len(wrong), int(doubted.sum()), int(missed.sum()))


def count_agreement(
    whole: pd.DataFrame, manifest: pd.DataFrame, readings: pd.DataFrame
) -> Agreement:
    """Of test images whose file (`source_path` of the manifest) radiologists have looked at."""
    tested = whole[whole["split"] == "test"]
    files = manifest[["image_id", "source_path"]]
    read = tested.merge(files, on="image_id").merge(
        readings, left_on="source_path", right_on="file"
    )
    sees, says = read["airspace_opacity"] == "YES", read["prediction"] == DOUBTED
    is_clear = (read["label"] == DOUBTED) & ~sees
    return Agreement(
        len(read),
        int((read["label"] == read["prediction"]).sum()),
        int((sees == says).sum()),
        int(is_clear.sum()),
        int((is_clear & says).sum()),
    )


if __name__ == "__main__":
    main()
