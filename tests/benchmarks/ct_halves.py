"""Divide the CT slices into two halves that look unlike: coarse grain in soft tissue, and little.

The set names neither hospitals nor scanners. What differs most between its slices, lungs aside, is
the grain of muscle, heart and fat: a sharp reconstruction kernel or a low dose leaves it, a smooth
kernel takes it out. Slices that the pipeline puts in one group stay together. Other slices of the
same person may still lie on both sides, so tests between the halves are of other pictures, not of
other people.

    python -m tests.benchmarks.ct_halves            # reads and writes data/real/
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, convolve

from stages.config.load import load_params
from stages.config.paths import Paths
from stages.dataset.image_set import load_image_set
from stages.dataset.split import deal_folds
from stages.dataset.task import Task
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.shortcuts import THUMBNAIL_PX, probe_probabilities
from stages.evaluation.statistics.bootstrap import estimate
from stages.evaluation.statistics.records import Bootstrap
from stages.prepare import prepare_dataset

PARAMS = Path("metrics/real/params.yaml")
FOLDS = 5
SOFT_TISSUE = 140  # grey level from which on a pixel of these slices is no lung and no air
EDGE_PX = 2  # left out at the rim of soft tissue, where any picture changes quickly
# Insensitive to slopes, so that what is left in flat tissue is grain (Immerkaer 1996, eq. 2).
SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
COARSE = 3.0  # grey levels; between the two modes of the public set, 2 and 6
HALVES = ("grainy", "smooth")


def main() -> None:
    """Write data/real/ct-grainy and data/real/ct-smooth; print counts and how unlike they are."""
    options = _parse()
    params = load_params(options.params)
    dataset = params.dataset(options.dataset)
    source = Path(dataset.source.path)
    with TemporaryDirectory() as scratch:
        prepare_dataset(params, options.dataset, Paths(Path(scratch)))
        prepared = load_image_set(Paths(Path(scratch)).prepared(options.dataset))
        slices, thumbnails = prepared.manifest, _thumbnails(np.asarray(prepared.images))
    grain = [measure_grain(_read_grey(source / path)) for path in slices["source_path"]]
    slices = slices.assign(half=divide(np.array(grain), slices["group_id"]))
    for half in HALVES:
        link_slices(source, slices[slices["half"] == half], options.out / f"ct-{half}")
    print(pd.crosstab(slices["half"], slices["label"]).to_string())
    print(describe_difference(slices, thumbnails, Bootstrap(2000, params.seed)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--params", type=Path, default=PARAMS, help="where the data set stands")
    parser.add_argument("--dataset", default="ct", help="its name there")
    parser.add_argument("--out", type=Path, default=Path("data/real"), help="folder of the halves")
    return parser.parse_args()


def measure_grain(image: NDArray[np.float64]) -> float:
    """Median size of the second differences in soft tissue, grey levels; 0 where there is none.

    Args:
        image: (H, W) from 0 to 255.
    """
    tissue = binary_erosion(image >= SOFT_TISSUE, iterations=EDGE_PX)
    return (
        float(np.median(np.abs(convolve(image, SECOND_DIFFERENCES))[tissue]))
        if tissue.any()
        else 0.0
    )


def divide(grain: NDArray[np.float64], group_ids: "pd.Series[str]") -> list[str]:
    """The half of each of (N,) slices, by the median grain of its group."""
    of_group = pd.Series(grain, group_ids.index).groupby(group_ids).transform("median")
    return [HALVES[0] if value >= COARSE else HALVES[1] for value in of_group]


def link_slices(source: Path, slices: pd.DataFrame, folder: Path) -> None:
    """Make a folder of class folders of links, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in slices["source_path"]:
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / path).resolve())


def describe_difference(
    slices: pd.DataFrame, thumbnails: NDArray[np.float64], bootstrap: Bootstrap
) -> str:
    """How well a logistic regression tells the halves apart, and that alone the label."""
    groups = slices["group_id"].to_numpy(str)
    grainy = (slices["half"] == HALVES[0]).to_numpy(np.int64)
    folds = deal_folds(slices["half"].to_numpy(str), groups, FOLDS, seed=bootstrap.seed)
    shares = probe_probabilities(thumbnails, grainy, folds)
    task = Task((HALVES[1], HALVES[0]), 1)
    scored = Scored(grainy, shares, shares.argmax(axis=1), groups)
    auroc = estimate(draw_metrics(scored, task, bootstrap).only(("auroc",)))["auroc"]
    side = f"{THUMBNAIL_PX} x {THUMBNAIL_PX}"
    return (
        f"the halves told apart by a logistic regression on {side} thumbnails, by group: "
        f"AUROC {auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f})"
    )


def _read_grey(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float64)


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 256) of (N, S, S)."""
    side = (THUMBNAIL_PX, THUMBNAIL_PX)
    reduced = [Image.fromarray(image).resize(side, Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, np.float64).ravel() for image in reduced])


if __name__ == "__main__":
    main()
